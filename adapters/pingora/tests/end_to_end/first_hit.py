"""Asks again and again until an object comes from the cache, and prints the milliseconds since BEGAN (monotonic, in
seconds): first_hit.py PORT COUNT BEGAN. Another object each time, since asking for one that is not there puts it there."""
import http.client
import random
import sys
import time

port, count, began = int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3])
asked = 0
while time.monotonic() - began < 120:
    try:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
        n = random.randint(1, count)
        connection.request("GET", f"/objects/{n}", headers={"Host": "127.0.0.1"})
        answer = connection.getresponse()
        body = answer.read()
        asked += 1
        assert answer.status == 200 and body == b"%d " % n + b"x" * 1000, "a wrong body"
        said = (answer.getheader("X-Cache") or "") + (answer.getheader("Via") or "")
        # Traffic Server says it in its code: cH from disk, cR from memory.
        if "hit" in said.lower() or "[cH" in said or "[cR" in said:
            print(f"{1000 * (time.monotonic() - began):.0f} ({asked - 1} misses before)")
            break
    except (ConnectionError, http.client.HTTPException, OSError):
        time.sleep(0.001)
else:
    sys.exit("no hit in two minutes")

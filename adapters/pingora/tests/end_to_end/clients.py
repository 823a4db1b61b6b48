"""Clients that ask for bodies and check every one, until the file STOP is there: clients.py PORT BODIES STOP

A body is wrong if its answer is whole by HTTP's own rules and its bytes are not those of the origin's file. An answer that is
cut off as the proxy dies is seen as such by its client, and counted. Anything wrong, or no hit at all, is exit code 1."""
import collections
import http.client
import os
import random
import sys
import threading
import time

port, folder, stop = int(sys.argv[1]), sys.argv[2], sys.argv[3]
files = {name: open(os.path.join(folder, name), "rb").read() for name in sorted(os.listdir(folder)) if name < "1k-8"}
counts = collections.Counter()
wrong = []
lock = threading.Lock()


def ask(connection, chance):
    name = chance.choice(list(files))
    whole = files[name]
    # Also under names that were never asked for: fills are under way at every kill.
    query = f"?{chance.randint(0, 12)}"
    headers, wanted, status = {"Host": "127.0.0.1"}, whole, 200
    if chance.random() < 0.3:
        first = chance.randrange(len(whole))
        last = min(len(whole) - 1, first + chance.randrange(200_000))
        headers["Range"], wanted, status = f"bytes={first}-{last}", whole[first : last + 1], 206
    connection.request("GET", f"/bodies/{name}{query}", headers=headers)
    answer = connection.getresponse()
    body = answer.read()
    said = answer.getheader("X-Cache") or "none"
    if answer.status != status or body != wanted:
        with lock:
            wrong.append(f"{name}{query} {headers}: {answer.status}, {len(body)} bytes of {len(wanted)}, {said}")
    return said


def client(seed):
    chance = random.Random(seed)
    connection = None
    while not os.path.exists(stop):
        try:
            if connection is None:
                connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
            said = ask(connection, chance)
        except (http.client.HTTPException, OSError) as error:
            said = "cut off" if isinstance(error, http.client.IncompleteRead) else "no answer"
            connection.close()
            connection = None
            time.sleep(0.01)
        with lock:
            counts[said] += 1


clients = [threading.Thread(target=client, args=(n,)) for n in range(8)]
for one in clients:
    one.start()
for one in clients:
    one.join()
print("answers:", ", ".join(f"{counts[word]} {word}" for word in sorted(counts)))
print("wrong or truncated bodies:", len(wrong))
for line in wrong[:10]:
    print(" ", line)
sys.exit(1 if wrong or not counts["hit"] else 0)

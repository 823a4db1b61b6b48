"""Fetches /objects/1 to /objects/COUNT once, checks each body, and prints how many a second: fill.py PORT COUNT"""
import socket
import sys
import threading
import time

PAD = b" " + b"x" * 1000
port, count = int(sys.argv[1]), int(sys.argv[2])
LANES = 16
wrong = []


def lane(first):
    stream = socket.create_connection(("127.0.0.1", port))
    stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    rest = b""
    for n in range(first, count + 1, LANES):
        stream.sendall(b"GET /objects/%d HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n" % n)
        while b"\r\n\r\n" not in rest:
            more = stream.recv(65536)
            assert more, "the connection ended"
            rest += more
        head, _, rest = rest.partition(b"\r\n\r\n")
        length = next(int(line[15:]) for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:"))
        while len(rest) < length:
            more = stream.recv(65536)
            assert more, "the connection ended"
            rest += more
        body, rest = rest[:length], rest[length:]
        if not head.startswith(b"HTTP/1.1 200") or body != b"%d" % n + PAD:
            wrong.append(n)


began = time.monotonic()
lanes = [threading.Thread(target=lane, args=(n,)) for n in range(1, LANES + 1)]
for one in lanes:
    one.start()
for one in lanes:
    one.join()
assert not wrong, f"wrong bodies: {wrong[:10]}"
print(round(count / (time.monotonic() - began)))

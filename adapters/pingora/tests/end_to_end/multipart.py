"""Whether a multipart/byteranges answer holds these ranges of a file: multipart.py HEADER BODY FILE FIRST-LAST..."""
import re
import sys

header, body, whole = (open(path, "rb").read() for path in sys.argv[1:4])
boundary = re.search(rb"(?i)multipart/byteranges; *boundary=\"?([^\"\r\n;]+)", header).group(1)
parts = body.split(b"--" + boundary)[1:]
assert parts[-1].startswith(b"--"), "the last boundary is missing"
wanted = [tuple(map(int, text.split("-"))) for text in sys.argv[4:]]
assert len(parts) - 1 == len(wanted), f"{len(parts) - 1} parts"
for part, (first, last) in zip(parts, wanted):
    head, _, data = part.partition(b"\r\n\r\n")
    assert f"bytes {first}-{last}/{len(whole)}".encode() in head, head
    assert data.removesuffix(b"\r\n") == whole[first : last + 1], f"other bytes in {first}-{last}"
print("same")

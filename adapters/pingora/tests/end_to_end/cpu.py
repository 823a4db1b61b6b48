"""Seconds of CPU that a process and its children have used; with --memory the MiB that they hold for themselves."""
import os
import sys
import time

ticks = os.sysconf("SC_CLK_TCK")


def stat(pid):
    with open(f"/proc/{pid}/stat") as file:
        return file.read().rsplit(")", 1)[1].split()


def family(root):
    parents = {}
    for name in filter(str.isdigit, os.listdir("/proc")):
        try:
            parents[int(name)] = int(stat(name)[1])
        except OSError:
            pass
    some = {root}
    while True:
        more = {pid for pid, parent in parents.items() if parent in some} | some
        if more == some:
            return some
        some = more


pids = family(int(sys.argv[-1]))
if sys.argv[1] == "--memory":
    total = 0
    for pid in pids:
        with open(f"/proc/{pid}/status") as file:
            total += sum(int(line.split()[1]) for line in file if line.startswith("RssAnon:"))
    print(total // 1024)
else:
    # Of children that ended meanwhile as well.
    print(sum(sum(map(int, stat(pid)[11:15])) for pid in pids) / ticks, time.monotonic())

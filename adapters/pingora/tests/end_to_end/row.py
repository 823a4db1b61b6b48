"""A row of the table, from what wrk printed: row.py FILE PROXY BODY CONNECTIONS STATE BEFORE AFTER"""
import re
import sys

path, proxy, body, connections, state, before, after = sys.argv[1:]
text = open(path).read()
rate = float(re.search(r"Requests/sec:\s+([\d.]+)", text).group(1))
p99 = re.search(r"(?m)^\s+99%\s+(\S+)", text).group(1)
number, unit = re.search(r"Transfer/sec:\s+([\d.]+)(\w+)", text).groups()
mib = float(number) * {"KB": 1 / 1024, "MB": 1, "GB": 1024, "B": 1 / 1048576}[unit]
(cpu0, at0), (cpu1, at1) = (map(float, pair.split()) for pair in (before, after))
share = (cpu1 - cpu0) / (at1 - at0)
# CPU for a thousand requests is what is left to compare where wrk and the proxy share the processors.
cost = 1000 * (cpu1 - cpu0) / (rate * (at1 - at0)) * 1000
print(f"| {proxy} | {body} | {connections} | {state} | {rate:.0f} | {p99} | {mib:.0f} | {100 * share:.0f} %, {cost:.0f} ms per 1000 |")

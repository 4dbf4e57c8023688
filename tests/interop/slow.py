# SPDX-License-Identifier: Apache-2.0
"""One reader of 10 KB/s beside 100 fast connections of the same tunnel: what it costs in memory, and the fast ones."""
import json
import os
import subprocess
import sys
import threading
import time

from culvert_node import BIN, wait_for

LOADGEN = os.path.join(BIN, "loadgen")
FAST_PORT, FAST = 9100, 100
SOURCE = 9300
SOURCE_PORT = SOURCE + 4  # see enum service of loadgen: sends for ever, to whoever connects
# Reads 10 KB/s, so many seconds' worth at least; says how much it got.
SLOW = """
import socket, sys, time
conn = socket.create_connection((sys.argv[1], int(sys.argv[2])))
seconds, total = float(sys.argv[3]), 0
end = time.monotonic() + seconds
while time.monotonic() < end or total < 8000 * seconds:
    total += len(conn.recv(1024))
    time.sleep(0.1)
print(total)
"""
# The same without the reader.
IDLE = "import sys, time; time.sleep(float(sys.argv[3])); print(0)"
# Several connections that read 4 MB as fast as they can: the buffers that a worker's connections share are in use after that.
BULK = """
import socket, sys
conns = [socket.create_connection((sys.argv[1], int(sys.argv[2]))) for _ in range(8)]
for conn in conns:
    left = 4 << 20
    while left > 0:
        left -= len(conn.recv(65536)) or left
"""


def rss_kb(pid):
    """Resident memory."""
    with open(f"/proc/{pid}/status", encoding="ascii") as f:
        return next(int(line.split()[1]) for line in f if line.startswith("VmRSS"))


class Fast(threading.Thread):
    """Round trips on 100 connections."""

    def __init__(self, client, server, seconds):
        super().__init__()
        self.done = None
        self.argv = client.enter(LOADGEN, "rr", server.ip4, str(FAST_PORT), str(FAST), "64", str(seconds))
        self.start()

    def run(self):
        self.done = subprocess.run(self.argv, capture_output=True, text=True, check=False)

    def result(self):
        """loadgen's, once it is over."""
        self.join()
        if self.done.returncode:
            raise RuntimeError(f"{' '.join(self.argv)}: exit {self.done.returncode}: {self.done.stderr.strip()}")
        return json.loads(self.done.stdout)


def serve(server):
    """[the servers' processes], in the pod `server`. The source gives way to all others: an application that is made to send a lot
    is not what is measured beside it."""
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    return [server.popen(LOADGEN, "serve", str(FAST_PORT), **quiet),
            server.popen("nice", "-n", "19", LOADGEN, "serve", str(SOURCE), **quiet)]


def at_rest(server, pids):
    """How much memory each of `pids` has once the fast connections have what they need."""
    wait_for(lambda: len(server.run("ss", "-Htn", "state", "established", "sport", "=", f":{FAST_PORT}").splitlines()) >= FAST, 30,
             "the fast connections")
    looks = [[rss_kb(pid) for pid in pids]]
    while len(looks) < 100 and (len(looks) < 4 or looks[-1] != looks[-4]):
        time.sleep(0.3)
        looks.append([rss_kb(pid) for pid in pids])
    return looks[-1]


def run(client, server, pids, seconds, has_slow=True):
    """Fast connections for so long, and from the second second on a slow reader beside them, or nothing. Return: (how much
    memory the ztunnels `pids` grew by at most since then in kB, bytes that the slow one got, loadgen's result)."""
    client.run(sys.executable, "-c", BULK, server.ip4, str(SOURCE_PORT))
    fast = Fast(client, server, seconds + 3)
    before = at_rest(server, pids)
    slow = client.popen(sys.executable, "-c", SLOW if has_slow else IDLE, server.ip4, str(SOURCE_PORT), str(seconds),
                        stdout=subprocess.PIPE, text=True)
    growth = 0
    while slow.poll() is None:
        growth = max(growth, *(rss_kb(pid) - was for pid, was in zip(pids, before)))
        time.sleep(0.1)
    return growth, int(slow.stdout.read()), fast.result()

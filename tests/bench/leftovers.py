# SPDX-License-Identifier: Apache-2.0
"""What a run that was ended in the middle of something has left, or one that was killed: processes, namespaces, pinned BPF
objects, folders, cgroups. Whatever the benchmark makes has a name that begins with one of these."""
import contextlib
import glob
import os
import shutil
import signal
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "interop"))
from cgroup import Cgroup
from culvert_node import base_dir, clean_pins, pin_dir
from topology import remove_stale

NAMESPACES = "cb"
TAG = "bench-"  # of nodes and cgroups
GRACE_S = 15    # a `culvert node` gives its own 10 s


def children():
    """Processes that this one has started and that still run."""
    found = []
    for thread in os.listdir("/proc/self/task"):
        with contextlib.suppress(OSError), open(f"/proc/self/task/{thread}/children", encoding="ascii") as f:
            found += map(int, f.read().split())
    return [pid for pid in found if is_alive(pid)]


def is_alive(pid):
    """A zombie is not: whoever started it may still ask how it ended."""
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as f:
            return f.read().rsplit(")", 1)[1].split()[0] not in "ZX"
    except OSError:
        return False


def end_children():
    """Ask them to end, what was stopped too, and kill those that do not."""
    for signals, seconds in (((signal.SIGTERM, signal.SIGCONT), GRACE_S), ((signal.SIGKILL,), GRACE_S)):
        for pid in children():
            for signo in signals:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signo)
        end = time.monotonic() + seconds
        while children() and time.monotonic() < end:
            time.sleep(0.05)


def remove():
    """All of it, a killed run's too."""
    end_children()
    remove_stale(NAMESPACES)
    for pins in glob.glob(pin_dir(TAG + "*") + "/*"):
        clean_pins(pins)
    for path in glob.glob(base_dir(TAG + "*")):
        shutil.rmtree(path, ignore_errors=True)
    for path in glob.glob(Cgroup.path_of(TAG + "*")):
        with contextlib.suppress(OSError):
            os.rmdir(path)

#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""The first and only process of a test VM: mounts, loads modules, runs the tests, prints how they went, switches off.

Lines for the machine outside begin with `@`: `@alive` every few seconds, `@begin NAME`, `@verifier PROGRAM INSTRUCTIONS`,
`@result NAME ok|FAILED SECONDS`, `@done`.
"""
import ctypes
import os
import subprocess
import sys
import threading
import time
import traceback

BASE = "/culvert" if os.path.isdir("/culvert") else os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..")
sys.path[:0] = [os.path.join(BASE, "tests", "interop"), os.path.join(BASE, "tools", "kernels")]
import smoke

MOUNTS = (("proc", "/proc"), ("sysfs", "/sys"), ("devtmpfs", "/dev"), ("tmpfs", "/run"), ("tmpfs", "/tmp"),
          ("cgroup2", "/sys/fs/cgroup"), ("bpf", "/sys/fs/bpf"))
BIN = os.path.join(BASE, "build", "bin")
ALIVE_S = 20
SYS_FINIT_MODULE = 313
POWER_OFF = 0x4321FEDC
libc = ctypes.CDLL(None, use_errno=True)


def say(*words):
    """A line for the machine outside."""
    print("@" + " ".join(map(str, words)), flush=True)


def prepare():
    """The machine as tests expect it."""
    print()  # the firmware has left the cursor in a line
    os.environ.update(PATH="/usr/bin", PYTHONDONTWRITEBYTECODE="1", HOME="/root")
    for kind, path in MOUNTS:
        subprocess.run(["mount", "-t", kind, kind, path], check=True)
    for name in sorted(os.listdir("/modules")):
        fd = os.open(f"/modules/{name}", os.O_RDONLY)
        if libc.syscall(SYS_FINIT_MODULE, fd, b"", 0):
            print(f"module {name}: {os.strerror(ctypes.get_errno())}")
        os.close(fd)
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    os.makedirs("/run/netns")


def test_bpf(level, *argv, **kwargs):
    """Run tests/bpf in this kernel, as what it is or as an older one."""
    env = dict(os.environ, **({"CULVERT_KERNEL_LEVEL": level} if level else {}))
    return subprocess.run([f"{BIN}/test-bpf", *argv], env=env, check=True, text=True, **kwargs)


def load(level):
    """Load every program, say what the verifier walks."""
    for line in test_bpf(level, "--instructions", stdout=subprocess.PIPE).stdout.splitlines():
        say("verifier", line)


def run(name, test, level):
    """One test; its failure does not keep the others from running."""
    begin = time.monotonic()
    say("begin", name)
    try:
        test(level)
        say("result", name, "ok", f"{time.monotonic() - begin:.0f}")
    except Exception:  # whatever it is, it is told and counted
        traceback.print_exc()
        say("result", name, "FAILED", f"{time.monotonic() - begin:.0f}")


def live():
    """Tell a machine that works long at something from one that has stopped."""
    while True:
        time.sleep(ALIVE_S)
        say("alive")


def main():
    prepare()
    threading.Thread(target=live, daemon=True).start()
    tests = {"load": load, "bpf": test_bpf, "mesh": smoke.main}
    for name in os.environ["culvert_tests"].split(","):
        run(name, tests[name], os.environ.get("culvert_level", ""))
    say("done")


if __name__ == "__main__":
    try:
        main()
    except Exception:  # the VM ends without `@done`
        traceback.print_exc()
    libc.sync()
    libc.reboot(POWER_OFF)

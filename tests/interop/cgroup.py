# SPDX-License-Identifier: Apache-2.0
"""Parts of the cgroup tree that count as the whole of it for who works in them. Culvert's programs are attached to the root of the
cgroup2 file system: all agents of this machine's see every socket of it, which on nodes of their own they would not, and a
program that lets no other beside it is in the way of them all. So a contestant of the benchmark, and a test of such a program, has a
machine of its own in this, too."""
import os
import time

from topology import TREE

ENTER = 'echo $$ > "$0/cgroup.procs" && exec "$@"'
AS_ROOT = 'umount "$0" && mount -t cgroup2 none "$0" && exec "$@"'  # in namespaces that end with the process


def root():
    """Where cgroup2 is mounted."""
    with open("/proc/mounts", encoding="ascii") as f:
        return next(path for _, path, kind, *_ in map(str.split, f) if kind == "cgroup2")


class Cgroup:
    """Made on demand, removed by close() when the last process has gone."""

    def __init__(self, name):
        self.path = self.path_of(name)
        os.makedirs(self.path, exist_ok=True)

    @staticmethod
    def path_of(name):
        """Where one of this name is; another checkout's is elsewhere."""
        return os.path.join(root(), f"culvert-{TREE}-{name}")

    def within(self, *argv):
        """Argument list that runs a command in it."""
        return ["sh", "-c", ENTER, self.path, *argv]

    def as_root(self):
        """The beginning of an argument list, for a command that is to take it for the whole tree."""
        return self.within("unshare", "--cgroup", "--mount", "--propagation", "slave", "sh", "-c", AS_ROOT, root())

    def close(self):
        """Whoever was in it has been told to end."""
        end = time.monotonic() + 10
        while time.monotonic() < end:
            try:
                os.rmdir(self.path)
                return
            except OSError:
                time.sleep(0.05)

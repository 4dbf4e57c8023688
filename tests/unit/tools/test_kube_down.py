# SPDX-License-Identifier: Apache-2.0
"""tools/kube/down where something stays: it is named. In namespaces of its own, so that a cluster beside this test is not ended."""
import os
import re
import subprocess
import sys

import pytest

DOWN = os.path.abspath(os.path.join(os.path.dirname(__file__), "..", "..", "..", "tools", "kube", "down"))
ALONE = ("unshare", "--mount", "--net", "--pid", "--fork", "--kill-child", "--mount-proc", "bash", "-euc")
# its folders are empty ones, and it can change no other; the kernel shows the interfaces of the namespace in a new /sys
HIDE = "mount -o remount,bind,ro /; mount -t tmpfs none /run; mount -t tmpfs none /var/lib; mount -t sysfs none /sys; "
STATE, DATA = "/run/culvert-kube", "/var/lib/culvert-kube"

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")


def down(script):
    """Return: exit code, the lines that it said."""
    done = subprocess.run([*ALONE, f"{HIDE}{script}\n{DOWN}"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                          check=False, timeout=60)
    return done.returncode, done.stdout.splitlines()


def test_nothing_stays_of_what_can_go():
    assert down("true") == (0, [])
    assert down(f"mkdir -p {STATE}/pids {DATA}/n9/x; ip netns add cvk-n9; ip link add cvk0 type bridge") == (0, [])


def test_what_stays_is_named():
    waits = f"{sys.executable} -c 'import time; time.sleep(600)'"  # a python3 of PATH may be a script that becomes another
    code, said = down(f"""mkdir -p {STATE} {DATA}/n9/busy; mount -t tmpfs none {DATA}/n9/busy
ip netns add cvk-odd; ip link add cvk-odd type bridge
(exec -a /some/where/kubelet {waits} {STATE}/n9.conf) & kubelet=$!
(exec -a less {waits} {STATE}/logs/etcd.log) &
until grep -qs ^/some/where /proc/$kubelet/cmdline; do sleep 0.1; done""")
    assert code == 1 and said[:-1] == [f"kube: cannot remove {what}" for what in (
        f"folder {DATA}", f"mount {DATA}/n9/busy", "network namespace cvk-odd", "network interface cvk-odd")], said
    # who only reads a file of the cluster is no part of it
    assert re.fullmatch(rf"kube: cannot remove process \d+: /some/where/kubelet -c .* {STATE}/n9.conf", said[-1])

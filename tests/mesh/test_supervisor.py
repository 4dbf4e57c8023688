# SPDX-License-Identifier: Apache-2.0
"""`culvert node`: starts, restarts, takes over and stops its three processes. Fake daemons, no lab."""

import contextlib
import os
import shutil
import signal
import subprocess
from pathlib import Path

import pytest
from labkit.mesh import wait_until

BIN = Path(os.environ.get("CULVERT_BIN", Path(__file__).resolve().parents[2] / "build/bin"))
NAMES = ("culvert-control", "culvert-agent", "culvert-ztunnel")
DAEMON = """#!/bin/sh
echo "$@" >>"$0.args"
trap 'exit 0' TERM
while :; do sleep 0.2; done
"""


def is_alive(pid):
    try:
        return "State:\tZ" not in Path(f"/proc/{pid}/status").read_text(encoding="utf-8")
    except OSError:
        return False


class Node:
    def __init__(self, folder):
        self.folder, self.run_dir, self.log = folder, folder / "run", folder / "log"
        (folder / "config").mkdir()
        shutil.copy(BIN / "culvert", folder / "culvert")
        for name in NAMES:
            self.write_daemon(name, DAEMON)
        self.supervisors = []

    def write_daemon(self, name, text):
        path = self.folder / name
        path.write_text(text, encoding="utf-8")
        path.chmod(0o755)

    def command(self, *options):
        return [str(self.folder / "culvert"), "node", "--node", "n", "--run-dir", str(self.run_dir), *options]

    def start(self):
        with open(self.log, "ab") as log:
            p = subprocess.Popen(self.command("--config-dir", str(self.folder / "config")), stderr=log)
        self.supervisors.append(p)
        return p

    def pid(self, name):
        try:
            pid = int((self.run_dir / f"{name}.pid").read_text(encoding="utf-8").split()[0])
        except (OSError, IndexError):
            return None
        return pid if is_alive(pid) else None

    def args(self, name):
        """What a fake daemon was started with so far; it says so itself, when it comes to run."""
        try:
            return (self.folder / f"{name}.args").read_text(encoding="utf-8")
        except OSError:
            return ""

    def pids(self):
        pids = [self.pid(name) for name in NAMES]
        return pids if all(pids) else None

    def close(self):
        for p in self.supervisors:
            if p.poll() is None:
                p.terminate()
                p.wait(60)
        for pid in filter(None, map(self.pid, NAMES)):
            with contextlib.suppress(ProcessLookupError):
                os.killpg(pid, signal.SIGKILL)


@pytest.fixture
def node(tmp_path):
    if os.geteuid() != 0:
        pytest.skip("only root may run a node")
    node = Node(tmp_path)
    yield node
    node.close()


def test_a_dead_process_is_started_again(node):
    node.start()
    pids = wait_until(node.pids)
    for name, old in zip(NAMES, pids):
        os.killpg(old, signal.SIGKILL)
        wait_until(lambda: node.pid(name) and node.pid(name) != old)
    assert "signal=KILL" in node.log.read_text(encoding="utf-8")
    wait_until(lambda: "--ztunnel-user culvert-ztunnel" in node.args("culvert-agent"))


def test_a_new_supervisor_takes_the_running_ones_over(node):
    first = node.start()
    pids = wait_until(node.pids)
    first.kill()
    first.wait()
    second = node.start()
    wait_until(lambda: node.log.read_text(encoding="utf-8").count("process taken over") == 3)
    assert node.pids() == pids
    os.killpg(pids[1], signal.SIGKILL)
    wait_until(lambda: node.pid(NAMES[1]) and node.pid(NAMES[1]) != pids[1])
    second.terminate()
    assert second.wait(60) == 0
    assert not any(is_alive(pid) for pid in pids)


def test_a_stale_pid_file_is_not_believed(node):
    node.run_dir.mkdir()
    (node.run_dir / "culvert-agent.pid").write_text(f"{os.getpid()} 1\n", encoding="utf-8")
    node.start()
    assert wait_until(node.pids)[1] != os.getpid()


def test_sigterm_stops_all_and_a_stubborn_one_is_killed(node):
    node.write_daemon(NAMES[2], "#!/bin/sh\ntrap '' TERM\nwhile :; do sleep 1; done\n")
    supervisor = subprocess.Popen(node.command("--config-dir", str(node.folder), "--grace", "1"),
                                  stderr=subprocess.DEVNULL)
    node.supervisors.append(supervisor)
    pids = wait_until(node.pids)
    supervisor.terminate()
    assert supervisor.wait(60) == 0
    assert not any(is_alive(pid) for pid in pids)


def test_a_process_that_cannot_start_ends_the_node(node):
    node.write_daemon(NAMES[1], "#!/bin/sh\necho 'no BTF here' >&2\nexit 1\n")
    supervisor = node.start()
    assert supervisor.wait(60) == 1
    text = node.log.read_text(encoding="utf-8")
    assert "no BTF here" in text and "a process cannot start\tprocess=culvert-agent" in text
    assert node.pids() is None


def test_a_second_supervisor_is_refused_in_one_line(node):
    node.start()
    wait_until(node.pids)
    done = subprocess.run(node.command("--config-dir", str(node.folder)), capture_output=True, text=True, check=False)
    assert done.returncode == 1 and done.stderr.count("\n") == 1 and "already running" in done.stderr


@pytest.mark.parametrize("options,what", [
    ([], "--config-dir is needed"),
    (["--config-dir", "/nonexistent"], "/nonexistent is not a folder"),
    (["--config-dir", "/tmp", "--workers", "99"], "99 is not in 1..64"),
    (["--config-dir", "/tmp", "--node", "a/b"], "is not a node name"),
])
def test_mistakes_are_one_clear_line(node, options, what):
    done = subprocess.run(node.command(*options), capture_output=True, text=True, check=False)
    assert done.returncode != 0 and what in done.stderr

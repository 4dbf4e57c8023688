# SPDX-License-Identifier: Apache-2.0
"""The program itself against an API server of these tests."""
import contextlib
import json
import os
import pty
import subprocess
import sys

import pytest

sys.path.insert(0, os.path.dirname(__file__))
from fake_api import FakeApi  # noqa: E402

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))))
BIN = os.environ.get("CULVERT_BIN", f"{ROOT}/build/bin")


def without_lab():
    """In front of the program: hides the nodes of a lab that is up on this machine, which it would ask before the cluster."""
    if os.geteuid() or not os.path.isdir("/run/culvert"):
        return ()
    return ("unshare", "--mount", "sh", "-c", 'mount -t tmpfs none /run/culvert; exec "$@"', "sh")


class Cli:
    """`culvert` with a kubeconfig that leads to the fake."""

    def __init__(self, api, folder):
        self.api, self.folder = api, folder
        self.config = f"{folder}/config"
        self.write(self.config, api.url)

    @staticmethod
    def write(path, url, name="c", **user):
        with open(path, "w", encoding="ascii") as f:
            json.dump({"current-context": name, "contexts": [{"name": name, "context": {"cluster": name, "user": name}}],
                       "clusters": [{"name": name, "cluster": {"server": url}}], "users": [{"name": name, "user": user}]}, f)

    def _done(self, args, program, env, **kw):
        return subprocess.run([*without_lab(), f"{BIN}/{program}" if "/" not in program else program, *args],
                              timeout=60, check=False, cwd=self.folder, env={"PATH": os.environ["PATH"],
                              "HOME": str(self.folder), "KUBECONFIG": self.config, **env}, **kw)

    def on_terminal(self, *args, **env):
        """Return: what a terminal gets, of a few lines."""
        leader, follower = pty.openpty()
        with open(leader, "rb", buffering=0) as screen:
            with open(follower, "wb", buffering=0) as out:
                assert self._done(args, "culvert", env, stdout=out, stderr=out, stdin=subprocess.DEVNULL).returncode == 0
            said = b""
            with contextlib.suppress(OSError):  # EIO: nobody has it open any more
                while True:
                    said += screen.read(4096)
        return said.decode()

    def run(self, *args, code=0, text=None, program="culvert", **env):
        """Return: stdout, with stderr at its end."""
        done = self._done(args, program, env, input=text or "", stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        assert done.returncode == code, f"{args} ended with {done.returncode}: {done.stdout}{done.stderr}"
        return done.stdout + done.stderr

    def json(self, *args, **kw):
        return json.loads(self.run(*args, "-o", "json", **kw))


@pytest.fixture
def api():
    server = FakeApi()
    yield server
    server.close()


@pytest.fixture
def cli(api, tmp_path):
    return Cli(api, tmp_path)

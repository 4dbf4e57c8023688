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
from fake_api import MESH, FakeApi, namespace, pod  # noqa: E402

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))))
BIN = os.environ.get("CULVERT_BIN", f"{ROOT}/build/bin")
OURS = {"culvert.io/installed": "default"}
AGENT = {"node": "n1", "ztunnel": "connected", "pods": [
    {"namespace": "shop", "name": "web", "state": "captured", "error": ""},
    {"namespace": "shop", "name": "slow", "state": "pending", "error": "waiting for ztunnel"}], "errors": []}
CONTROL = {"errors": [{"kind": "PeerAuthentication", "namespace": "shop", "name": "p", "field": "spec.mtls.mode",
                       "message": "expected STRICT", "severity": "error"}],
           "ca": {"root_not_after": "2036-01-01T00:00:00Z"}, "objects": {"Pod": 3},
           "clients": [{"node": "n1", "type": "ztunnel", "id": "zt1", "version": "v7", "acked": 4, "nacked": 0, "error": ""},
                       {"node": "n2", "type": "agent", "id": "agent~n2", "acked": 1, "nacked": 2, "error": "bad address"}]}
DUMP = {"workloads": [{"namespace": "shop", "name": "web", "workloadIps": ["10.0.0.1"], "node": "n1", "protocol": "HBONE"}],
        "services": [], "policies": [], "certificates": [], "workloadState": {}}
POLICIES = {"workload": {}, "policies": [{"key": "shop/deny-all", "action": "deny", "scope": "workload", "rules": []}]}


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
        """Return: stdout, with stderr at its end; `code`: how it must end, None: that is not looked at."""
        done = self._done(args, program, env, input=text or "", stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        assert code in (None, done.returncode), f"{args} ended with {done.returncode}: {done.stdout}{done.stderr}"
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


@pytest.fixture
def mesh(api):
    """A mesh of two nodes, and a pod in it."""
    def on_exec(_pod, container, command):
        if command[1:] == ["version", "--short"]:
            return 0, "v7\n", ""
        if command[1:] == ["bpf", "maps"]:
            return 0, "cv_services\n", ""
        assert command[:2] == ["/usr/local/bin/culvert", "__admin"] and command[3] == "GET", command
        answers = {("control", "/status"): CONTROL, ("agent", "/status"): AGENT, ("ztunnel", "/config_dump"): DUMP,
                   ("ztunnel", "/explain/policies"): POLICIES, ("agent", "/past"): {},
                   ("ztunnel", "/connections"): [], ("ztunnel", "/connections/ended"): {}}
        assert container == {"control": "discovery"}.get(command[2], command[2])
        return 0, "200\n" + json.dumps(answers[(command[2], command[4].split("?")[0])]), ""
    api.on_exec = on_exec
    api.put(namespace(MESH))
    api.put({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "istiod", "namespace": MESH, "labels": OURS}})
    api.put({"apiVersion": "apps/v1", "kind": "DaemonSet", "metadata": {"name": "ztunnel", "namespace": MESH, "labels": OURS}})
    api.put(namespace("shop", istio_injection="enabled"))
    api.put(pod("shop", "web", labels={"app": "web"}))
    api.put({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "web", "namespace": "shop"},
             "spec": {"selector": {"app": "web"}, "clusterIP": "10.96.0.9", "ports": [{"name": "http", "port": 80}]}})
    return api

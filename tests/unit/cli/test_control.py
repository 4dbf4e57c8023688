# SPDX-License-Identifier: Apache-2.0
"""culvert-control with a folder: what it takes from MeshConfig when it starts."""
import contextlib
import json
import subprocess
import time

from conftest import BIN

MESH = """apiVersion: v1
kind: ConfigMap
metadata: {name: istio, namespace: istio-system}
data:
  mesh: |
    rootNamespace: mesh-root
"""


@contextlib.contextmanager
def control(folder, *args):
    """What follows `folder`/config. Return: a function that asks it for its status; None: it does not answer yet."""
    sock = f"{folder}/n1/control/admin.sock"

    def status():
        done = subprocess.run(["curl", "-s", "--unix-socket", sock, "http://c/status"], stdout=subprocess.PIPE, timeout=10, check=False)
        return json.loads(done.stdout) if done.returncode == 0 else None

    with subprocess.Popen([f"{BIN}/culvert-control", "--node=n1", f"--config-dir={folder}/config", f"--run-dir={folder}/n1",
                           f"--ca-dir={folder}/ca", *args], stderr=subprocess.DEVNULL) as process:
        try:
            yield status
        finally:
            process.terminate()


def wait_for(ask, what):
    """Return: what it answers once that is something."""
    end = time.monotonic() + 20
    while time.monotonic() < end:
        answer = ask()
        if answer:
            return answer
        time.sleep(0.05)
    raise AssertionError(f"{what} did not come")


def errors(status, field):
    return [e["message"] for e in (status() or {}).get("errors", []) if e["field"] == f"data.mesh.{field}"]


def test_mesh_config_is_followed_where_it_is_whatever_the_root_namespace(tmp_path):
    (tmp_path / "config").mkdir()
    mesh = tmp_path / "config/mesh.yaml"
    mesh.write_text(MESH, encoding="ascii")
    with control(tmp_path) as status:
        assert wait_for(status, "its status")["errors"] == []
        mesh.write_text(MESH + "    connectTimeout: 3s\n", encoding="ascii")
        wait_for(lambda: errors(status, "connectTimeout"), "the news of a field")
        mesh.write_text(MESH.replace("mesh-root", "other"), encoding="ascii")
        assert '"mesh-root" stays' in wait_for(lambda: errors(status, "rootNamespace"), "the word on the new one")[0]


def test_mesh_config_is_looked_for_where_the_mesh_is_installed(tmp_path):
    (tmp_path / "config").mkdir()
    (tmp_path / "config/mesh.yaml").write_text(MESH.replace("istio-system", "mesh") + "    connectTimeout: 3s\n", encoding="ascii")
    with control(tmp_path, "--namespace=mesh") as status:
        wait_for(lambda: errors(status, "connectTimeout"), "the news of a field")
        assert not errors(status, "rootNamespace")

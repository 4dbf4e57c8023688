# SPDX-License-Identifier: Apache-2.0
"""One cluster for all tests here; each test has a namespace of its own."""
import os
import subprocess
import sys
import uuid

import pytest

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, os.path.join(ROOT, "tools", "kube"))
from kubelab import layout  # noqa: E402
from kubelab.cluster import Cluster  # noqa: E402

KEEP = bool(os.environ.get("CULVERT_KUBE_KEEP"))


def tool(name, *args):
    return subprocess.run([os.path.join(ROOT, "tools", "kube", name), *args], stdout=subprocess.PIPE, text=True,
                          check=True, timeout=3000).stdout


@pytest.fixture(scope="session")
def cluster():
    if not (KEEP and os.path.exists(layout.ADMIN_CONF)):
        tool("down")
        tool("up")
    yield Cluster()
    if not KEEP:
        tool("down")


@pytest.fixture(scope="session")
def mesh(cluster):
    """Culvert, installed as a user would."""
    cluster.install()
    return cluster


@pytest.fixture
def namespace(cluster):
    name = f"t{uuid.uuid4().hex[:8]}"
    cluster.run("create", "namespace", name)
    yield name
    cluster.run("delete", "namespace", name, "--wait=false")

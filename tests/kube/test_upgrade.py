# SPDX-License-Identifier: Apache-2.0
"""From an older build, whose agent and ztunnel speak another version to each other, to this one by `culvert upgrade`, under load:
no connection fails, no byte is plain. The older one is built once, from this repository's history, into the cache."""
import fcntl
import os
import re
import shutil
import subprocess

import pytest
from kubelab import images, layout
from kubelab.cluster import Canary, Load, culvert, eager, eventually, pod, service

SYSTEM = "istio-system"
HEADER = "include/culvert/zds.h"
CACHE = os.path.expanduser("~/.cache/culvert/kube")
BUILD_S = 1500
TAG = "older"


def git(*words):
    done = subprocess.run(["git", "-C", layout.ROOT, *words], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, check=False)
    return done.stdout if done.returncode == 0 else ""


def zds_version(header):
    found = re.search(r"^#define ZDS_VERSION\s+(\d+)", header, re.MULTILINE)
    return int(found[1]) if found else None


def older_commit():
    """The newest whose agent speaks a lower version than this tree's."""
    with open(f"{layout.ROOT}/{HEADER}", encoding="utf-8") as f:
        today = zds_version(f.read())
    for commit in git("log", "--format=%H", "--", HEADER).split():
        version = zds_version(git("show", f"{commit}:{HEADER}"))
        if version is not None and version < today:
            return commit
    pytest.skip("no commit here has an older agent: the clone is shallow, or there is no git")


def build(commit, folder):
    """Into folder, whole or not at all."""
    work = f"{folder}.work"
    shutil.rmtree(work, ignore_errors=True)
    os.makedirs(work)
    tree = subprocess.run(["git", "-C", layout.ROOT, "archive", commit], stdout=subprocess.PIPE, check=True).stdout
    subprocess.run(["tar", "-xC", work], input=tree, check=True)
    done = subprocess.run(["make", "-C", work, f"-j{os.cpu_count()}", "all"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          text=True, check=False, timeout=BUILD_S)
    if done.returncode != 0:
        pytest.skip(f"{commit} cannot be built here: {done.stdout[-300:]}")
    os.rename(f"{work}/build/bin", folder)
    shutil.rmtree(work)


@pytest.fixture(scope="module")
def older():
    """Folder of the older build's programs."""
    commit = older_commit()
    folder = f"{CACHE}/culvert-{commit}"
    os.makedirs(CACHE, exist_ok=True)
    with open(f"{folder}.lock", "w", encoding="ascii") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not os.path.exists(folder):
            build(commit, folder)
    return folder


@pytest.fixture
def older_mesh(bare, older, tmp_path):
    """The older one, as its own command line installs it."""
    archive = str(tmp_path / "older.tar")
    images.write_archive(images.culvert_images(older, TAG), archive)
    for node in bare.nodes:
        images.load(node, archive)
    done = subprocess.run([f"{older}/culvert", "--kubeconfig", layout.ADMIN_CONF, "install", "--set", f"tag={TAG}", "-y"],
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False, timeout=400)
    assert done.returncode == 0, done.stdout
    yield bare
    culvert("uninstall", "--purge", "-y")


def tags(cluster):
    """Of the images of our pods that are there."""
    return {c["image"].rsplit(":", 1)[1] for p in cluster.get("pods", "-n", SYSTEM)["items"] for c in p["spec"]["containers"]}


def test_an_older_build_is_upgraded_without_a_failed_request(older_mesh, namespace):
    """The new control plane serves old nodes, then new nodes' agents take over what old ones had pinned, while pods of both
    nodes dial each other; one starts in the middle of it."""
    cluster = older_mesh
    cluster.run("label", "namespace", namespace, "istio.io/dataplane-mode=ambient")
    cluster.apply(*(pod(namespace, f"web{n}", "nginx", f"n{n}") for n in (1, 2)), *(service(namespace, f"web{n}") for n in (1, 2)),
                  *(pod(namespace, f"client{n}", "client", f"n{n}") for n in (1, 2)))
    names = [f"{kind}{n}" for kind in ("web", "client") for n in (1, 2)]
    cluster.wait_ready(namespace, *names)
    for name in names:
        eventually(lambda n=name: cluster.is_captured(namespace, n), what=f"{name} is captured")
    for one, other in ((1, 2), (2, 1), (1, 1)):
        eventually(lambda o=one, t=other: cluster.curl(namespace, f"client{o}", f"http://web{t}"), what="an answer")
    uids, ip = cluster.restarts(namespace), {n: cluster.service_ip(namespace, f"web{n}") for n in (1, 2)}
    address = cluster.get("pod", "-n", namespace, "web1")["status"]["podIP"]
    assert tags(cluster) == {TAG}
    with Canary(cluster) as canary, Load(cluster, namespace, "client1", ip[2], path=f"/{canary.word}") as one, \
            Load(cluster, namespace, "client2", ip[1], path=f"/{canary.word}") as two, \
            Load(cluster, namespace, "client1", ip[1], path=f"/{canary.word}") as same:
        loads = (one, two, same)
        eventually(lambda: all(len(load.results) > 20 for load in loads), what="requests")
        culvert("upgrade", "--set", "tag=1", "-y")
        cluster.apply(eager(namespace, "eager", "n2", address, canary.word))
        eventually(lambda: tags(cluster) == {"1"}, what="the older pods are gone")
        cluster.wait_ready(namespace, "eager")
        done = [len(load.results) for load in loads]
        eventually(lambda: all(len(load.results) > n + 50 for load, n in zip(loads, done)), what="requests after it")
    assert [load.failed() for load in loads] == [[], [], []]
    assert not canary.was_seen(), "plaintext crossed the link"
    assert canary.ports_of(address) <= {"15008"}, "a connection was begun round the mesh"
    after = cluster.restarts(namespace)
    assert {uid: after.get(uid) for uid in uids} == uids
    for name in (*names, "eager"):
        assert cluster.is_captured(namespace, name)

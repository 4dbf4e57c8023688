# SPDX-License-Identifier: Apache-2.0
"""tools/kube/build: which version it is about, and what that consists of. Nothing is built here: the cache has it all, or a Go
that makes empty programs."""
import os
import subprocess

import pytest

BUILD = os.path.abspath(os.path.join(os.path.dirname(__file__), "..", "..", "..", "tools", "kube", "build"))
PROGRAMS = ("kube-apiserver", "kube-controller-manager", "kube-scheduler", "kubelet", "kube-proxy", "kubectl", "coredns")
RUNTIME = ("containerd", "containerd-shim-runc-v2")
GO = """#!/bin/sh
echo "$@" >>"$FAKE_GO_LOG"
case $1 in
env) echo go1.99.0 ;;
mod) [ "$2" != download ] || { echo 'go 1.26.0' >"$FAKE_GO_LOG.mod" && echo "\\"GoMod\\": \\"$FAKE_GO_LOG.mod\\","; } ;;
build) while [ "$1" != -o ]; do shift; done; touch "$2" && chmod +x "$2" ;;
install) for last; do :; done; last=${last%@*}; mkdir -p "$GOBIN" && touch "$GOBIN/${last##*/}" && chmod +x "$GOBIN/${last##*/}" ;;
esac
"""


def build(cache, *words, version=None, **more):
    """What it prints."""
    env = {key: value for key, value in os.environ.items() if key != "CULVERT_KUBE_VERSION"}
    env |= {"CULVERT_CACHE": str(cache), **({"CULVERT_KUBE_VERSION": version} if version else {}), **more}
    return subprocess.run([BUILD, *words], env=env, stdout=subprocess.PIPE, text=True, check=True, timeout=60).stdout.strip()


@pytest.fixture
def cache(tmp_path):
    """With programs of every version that is tested, of one that is older and of one that may be newer."""
    for version in {*build(tmp_path, "--versions").split(), "v1.2.3", "v1.37.2"}:
        folder = tmp_path / "kube" / version
        folder.mkdir(parents=True)
        for name in (*PROGRAMS, *RUNTIME):
            (folder / name).touch(mode=0o755)
    return tmp_path


def test_the_version_is_that_of_the_word_then_of_the_environment_then_the_usual_one(cache):
    usual, *_, oldest = build(cache, "--versions").split()
    for words, version, wanted in (((), None, usual), ((), oldest, oldest), (("v1.2.3",), oldest, "v1.2.3"),
                                   (("v1.2.3",), None, "v1.2.3")):
        assert build(cache, *words, version=version) == f"{cache}/kube/{wanted}"


def test_three_minor_versions_follow_each_other(tmp_path):
    minors = [int(version.split(".")[1]) for version in build(tmp_path, "--versions").split()]
    assert minors == [minors[0], minors[0] - 1, minors[0] - 2]


def with_go(tmp_path):
    """An environment in which that Go is the first one there is."""
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "go").write_text(GO, encoding="ascii")
    (tmp_path / "bin" / "go").chmod(0o755)
    return {"PATH": f"{tmp_path}/bin:{os.environ['PATH']}", "FAKE_GO_LOG": f"{tmp_path}/log"}


@pytest.mark.parametrize("version, more", [("v1.35.4", ()), ("v1.36.3", RUNTIME), ("v1.37.2", RUNTIME)])
def test_containerd_is_built_for_the_versions_that_want_a_newer_one_than_debian_has(tmp_path, version, more):
    env = with_go(tmp_path)
    folder = build(tmp_path, version, **env)
    assert sorted(os.listdir(folder)) == sorted([*PROGRAMS, *more])
    first = (tmp_path / "log").read_text(encoding="ascii")
    assert ("github.com/containerd/containerd/v2/cmd/containerd@v2." in first) is bool(more)
    assert build(tmp_path, version, **env) == folder
    assert (tmp_path / "log").read_text(encoding="ascii") == first, "all of it was there"


@pytest.mark.parametrize("lost", ["coredns", "containerd-shim-runc-v2"])
def test_what_the_cache_lacks_is_built_and_nothing_else(cache, lost):
    (cache / "kube" / "v1.37.2" / lost).unlink()
    build(cache, "v1.37.2", **with_go(cache))
    made = [line for line in (cache / "log").read_text(encoding="ascii").splitlines() if line.startswith(("build", "install"))]
    assert len(made) == 1 and f"/{lost}@v" in made[0]


def test_istiod_is_called_so(tmp_path):
    assert os.path.isfile(path := build(tmp_path, "--istiod", **with_go(tmp_path))) and os.path.basename(path) == "istiod"

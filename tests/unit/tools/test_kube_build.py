# SPDX-License-Identifier: Apache-2.0
"""tools/kube/build: which version it is about. Nothing is built here: the cache has it all."""
import os
import subprocess

import pytest

BUILD = os.path.abspath(os.path.join(os.path.dirname(__file__), "..", "..", "..", "tools", "kube", "build"))
PROGRAMS = ("kube-apiserver", "kube-controller-manager", "kube-scheduler", "kubelet", "kube-proxy", "kubectl", "coredns")


def build(cache, *words, version=None):
    """What it prints."""
    env = {key: value for key, value in os.environ.items() if key != "CULVERT_KUBE_VERSION"}
    env |= {"CULVERT_CACHE": str(cache), **({"CULVERT_KUBE_VERSION": version} if version else {})}
    return subprocess.run([BUILD, *words], env=env, stdout=subprocess.PIPE, text=True, check=True, timeout=60).stdout.strip()


@pytest.fixture
def cache(tmp_path):
    """With programs of every version that is tested, and of one that is not."""
    for version in (*build(tmp_path, "--versions").split(), "v1.2.3"):
        folder = tmp_path / "kube" / version
        folder.mkdir(parents=True)
        for name in PROGRAMS:
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

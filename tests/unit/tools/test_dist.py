# SPDX-License-Identifier: Apache-2.0
"""The archive of the command line: the same input gives the same bytes; what a user is promised is in it."""
import os
import pathlib
import shutil
import subprocess
import tarfile

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[3]
NAME = "culvert-v1.2-amd64"


def make(folder, out, **env):
    return subprocess.run([ROOT / "tools/deploy/dist", "--arch", "amd64", "--bin", folder, "--strip", "strip", "--version", "v1.2", out],
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, check=False, env={**os.environ, **env})


@pytest.fixture(name="programs", scope="module")
def programs_fixture(tmp_path_factory):
    """A program that needs a library and no build; what it does is not of interest here."""
    folder = tmp_path_factory.mktemp("bin")
    shutil.copy("/usr/bin/curl", folder / "culvert")
    return folder


@pytest.fixture(name="made", scope="module")
def made_fixture(programs, tmp_path_factory):
    out = tmp_path_factory.mktemp("out")
    done = make(programs, out, SOURCE_DATE_EPOCH="86400")
    assert done.returncode == 0, done.stderr
    return out / f"{NAME}.tar.gz"


def test_twice_is_the_same_bytes(programs, made, tmp_path):
    os.utime(programs / "culvert", (1, 1))
    done = make(programs, tmp_path, SOURCE_DATE_EPOCH="86400")
    assert (tmp_path / f"{NAME}.tar.gz").read_bytes() == made.read_bytes() and done.stdout.strip().endswith(f"{NAME}.tar.gz")


def test_one_folder_has_the_program_by_both_names_chart_profiles_samples_and_licence(made, tmp_path):
    with tarfile.open(made) as tar:
        entries = {i.name: i for i in tar}
        tar.extractall(tmp_path)
    assert list(entries) == sorted(entries) and {name.split("/")[0] for name in entries} == {NAME}
    assert {(i.uid, i.gid, i.uname, i.gname, i.mtime) for i in entries.values()} == {(0, 0, "", "", 86400)}
    top = tmp_path / NAME
    assert os.readlink(top / "bin/istioctl") == "culvert" and os.access(top / "bin/culvert", os.X_OK)
    assert not os.access(top / "LICENSE", os.X_OK)
    for ours, source in (("LICENSE", "LICENSE"), ("samples/demo/nginx-demo.yaml", "tools/samples/demo/nginx-demo.yaml"),
                         ("chart/profiles/demo.yaml", "tools/deploy/chart/profiles/demo.yaml")):
        assert (top / ours).read_bytes() == (ROOT / source).read_bytes()
    charts = {p.relative_to(ROOT / "tools/deploy") for p in (ROOT / "tools/deploy/chart").rglob("*") if p.is_file()}
    assert charts == {p.relative_to(top) for p in (top / "chart").rglob("*") if p.is_file()}


def test_its_readme_says_which_it_is_what_it_needs_and_what_it_cannot_do(made):
    with tarfile.open(made) as tar:
        text = tar.extractfile(f"{NAME}/README.md").read().decode()
    assert text.startswith("# Culvert v1.2\n") and "libcurl.so.4" in text and "L4 only" in text


def test_no_program_is_told(tmp_path):
    done = make(tmp_path, tmp_path / "out")
    assert done.returncode == 1 and "culvert" in done.stderr and not list((tmp_path / "out").iterdir())

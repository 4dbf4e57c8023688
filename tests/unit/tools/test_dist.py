# SPDX-License-Identifier: Apache-2.0
"""The archive of the command line: the same input gives the same bytes; what a user is promised is in it; one line fetches it."""
import contextlib
import functools
import http.server
import os
import pathlib
import shutil
import subprocess
import tarfile
import threading

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[3]
NAME = "culvert-v1.2-amd64"


def make(folder, out, *words, **env):
    return subprocess.run([ROOT / "tools/deploy/dist", "--arch", "amd64", "--bin", folder, "--strip", "strip", "--version", "v1.2",
                           *words, out],
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


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_):  # pylint: disable=arguments-differ
        pass


@contextlib.contextmanager
def served(folder):
    """Its files at a URL."""
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=folder)) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def fetch(url, here, **env):
    """As a user does, by one line."""
    names = ("CULVERT_VERSION", "CULVERT_URL", "TARGET_ARCH")
    clean = {name: value for name, value in os.environ.items() if name not in names}
    return subprocess.run(["sh", "-c", 'curl -sSfL "$0/download" | sh -', url], cwd=here, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                          text=True, check=False, env={**clean, "no_proxy": "127.0.0.1", **env})


@pytest.fixture(name="site")
def site_fixture(programs, tmp_path):
    """(URL, what is there, an empty folder)."""
    here, out = tmp_path / "here", tmp_path / "out"
    here.mkdir()
    out.mkdir()
    with served(out) as url:
        done = make(programs, out, "--url", url)
        assert done.returncode == 0, done.stderr
        yield url, out, here


@pytest.mark.parametrize("env", ({"TARGET_ARCH": "amd64"}, {"TARGET_ARCH": "x86_64", "CULVERT_VERSION": "v1.2"}))
def test_one_line_fetches_the_newest_or_the_one_that_is_named(site, env):
    url, _, here = site
    done = fetch(url, here, **env)
    assert done.returncode == 0, done.stderr
    assert [p.name for p in here.iterdir()] == [NAME] and os.access(here / NAME / "bin/culvert", os.X_OK)
    assert f"export PATH={here}/{NAME}/bin:$PATH" in done.stdout


@pytest.mark.parametrize("env, says", (({"CULVERT_VERSION": "v9"}, "has no culvert-v9-amd64.tar.gz"), ({"TARGET_ARCH": "mips"}, "mips"),
                                       ({"CULVERT_URL": "http://127.0.0.1:1"}, "has no latest")))
def test_what_is_not_there_is_told_and_nothing_is_left(site, env, says):
    url, _, here = site
    done = fetch(url, here, **{"TARGET_ARCH": "amd64", **env})
    assert done.returncode == 1 and says in done.stderr and not list(here.iterdir())


def test_other_bytes_than_the_checksum_s_are_not_unpacked(site):
    url, out, here = site
    path = out / f"{NAME}.tar.gz"
    path.write_bytes(path.read_bytes()[:-1] + b"?")
    done = fetch(url, here, TARGET_ARCH="amd64")
    assert done.returncode == 1 and "checksum" in done.stderr and not list(here.iterdir())


def test_half_of_the_script_does_nothing(tmp_path):
    text = (ROOT / "tools/deploy/download").read_text(encoding="utf-8")
    assert text.endswith("\n}\n\nmain\n")
    done = subprocess.run(["sh"], input=text.removesuffix("main\n"), cwd=tmp_path, stdout=subprocess.PIPE, text=True, check=False)
    assert (done.returncode, done.stdout, list(tmp_path.iterdir())) == (0, "", [])


def test_a_script_that_does_not_know_where_from_asks(tmp_path):
    done = subprocess.run([ROOT / "tools/deploy/download"], cwd=tmp_path, stderr=subprocess.PIPE, text=True, check=False,
                          env={"PATH": os.environ["PATH"]})
    assert done.returncode == 1 and "CULVERT_URL" in done.stderr

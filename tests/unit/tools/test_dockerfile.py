# SPDX-License-Identifier: Apache-2.0
"""tools/deploy/Dockerfile names nothing that is not there. To build it takes Debian's image from a registry: not done here."""
import os
import re
import subprocess

import pytest

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))))
DEPLOY = os.path.join(ROOT, "tools", "deploy")


@pytest.fixture(name="lines", scope="module")
def lines_fixture():
    """Instructions, each in one line, with their words."""
    with open(f"{DEPLOY}/Dockerfile", encoding="utf-8") as f:
        text = "".join(line for line in f if not line.startswith("#"))
    return [line.split(maxsplit=1) for line in text.replace("\\\n", " ").splitlines() if line.strip()]


def said_by(lines, word):
    return [rest for first, rest in lines if first == word]


def make_prints(*words):
    env = {k: v for k, v in os.environ.items() if not k.startswith(("MAKE", "MFLAGS"))}
    return subprocess.run(["make", "-n", *words], cwd=ROOT, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                          check=True, timeout=120).stdout


def test_what_it_copies_is_in_the_tree(lines):
    copied = [rest.split() for rest in said_by(lines, "COPY") if not rest.startswith("--from")]
    assert [words[-1] for words in copied] == ["tools/setup", "."]
    for path in (path for words in copied for path in words[:-1]):
        assert os.path.exists(f"{ROOT}/{path}"), path


def test_what_it_runs_is_there(lines):
    setup, made = said_by(lines, "RUN")[1:]
    program, word = setup.split()
    with open(f"{ROOT}/{program}", encoding="utf-8") as f:
        assert os.access(f.name, os.X_OK) and re.search(rf"^\s*{word}\)", f.read(), re.M)
    words = made.replace('"', "").replace("$(nproc)", "1").replace("$VERSION", "v1").replace("$SOURCE_DATE_EPOCH", "86400").split()
    assert words[0] == "make"
    last = make_prints(*words[1:]).replace("\\\n", "").strip().splitlines()[-1]
    assert "tools/deploy/image" in last and "--version 'v1'" in last and "--rootfs" in last and "SOURCE_DATE_EPOCH=86400" in last


def test_what_it_takes_of_the_build_is_made(lines):
    made = said_by(lines, "WORKDIR")[0] + "/build/image"
    taken = [rest.split()[1] for rest in said_by(lines, "COPY") if rest.startswith("--from=build ")]
    with open(f"{DEPLOY}/image", encoding="utf-8") as f:
        image = f.read()
    assert sorted(taken) == [f"{made}/culvert.spdx.json", f"{made}/rootfs/"]
    assert "{args.out}/culvert.spdx.json" in image and "{out}/rootfs" in image


def test_it_starts_what_our_own_image_starts(lines):
    with open(f"{DEPLOY}/image", encoding="utf-8") as f:
        made = re.search(r"images\.Image\(args\.name, (\[.*?\]),.*?\"([\d:]+)\"\)", f.read(), re.S)
    assert said_by(lines, "ENTRYPOINT") == [made[1]] and said_by(lines, "USER") == [made[2]]
    with open(f"{ROOT}/tools/kube/kubelab/images.py", encoding="utf-8") as f:
        assert f'"Env": ["{said_by(lines, "ENV")[0]}"]' in f.read()

# SPDX-License-Identifier: Apache-2.0
"""What can be built for another machine with its compiler alone: the BPF objects, which are the same, and a program without libraries.
The other programs need that machine's libraries (`tools/setup arm64`)."""
import glob
import os
import re
import shutil
import subprocess

import pytest

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))))
ARCH, TRIPLE, MACHINE = (("amd64", "x86_64-linux-gnu", "X86-64") if os.uname().machine == "aarch64" else
                         ("arm64", "aarch64-linux-gnu", "AArch64"))
SOURCES = ("userspace/agent/maker/main.c", "userspace/agent/netns.c", "userspace/agent/sockets.c")  # culvert-maker's
LIBRARY = ("userspace/lib/base/*.c", "userspace/lib/net/*.c")  # and what it takes some of


@pytest.fixture(scope="module")
def make():
    """Runs make for the other machine."""
    if not shutil.which(f"{TRIPLE}-gcc"):
        pytest.skip(f"no {TRIPLE}-gcc: tools/setup {ARCH}")
    env = {k: v for k, v in os.environ.items() if not k.startswith(("MAKE", "MFLAGS"))}

    def run(*words):
        done = subprocess.run(["make", "-j2", *words], cwd=ROOT, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                              check=False, timeout=600)
        assert done.returncode == 0, done.stdout
    return run


def test_bpf_objects_are_the_same(make):
    make("build/bpf/culvert.bpf.o")
    make(f"ARCH={ARCH}", f"build/{ARCH}/bpf/culvert.bpf.o")
    with open(f"{ROOT}/bpf/build.mk", encoding="utf-8") as f:
        names = [os.path.basename(name) for name in re.findall(r"\S+\.bpf\.c", f.read())]
    assert len(names) > 5
    for name in (*(n[:-1] + "o" for n in names), "culvert.bpf.o"):
        with open(f"{ROOT}/build/bpf/{name}", "rb") as here, open(f"{ROOT}/build/{ARCH}/bpf/{name}", "rb") as there:
            assert here.read() == there.read(), f"{name} differs"


def test_a_program_is_that_machines(make, tmp_path):
    with open(f"{ROOT}/userspace/agent/maker/build.mk", encoding="utf-8") as f:
        assert set(re.findall(r"\S+\.c", f.read())) == set(SOURCES)
    library = [os.path.relpath(path, ROOT) for pattern in LIBRARY for path in sorted(glob.glob(f"{ROOT}/{pattern}"))]
    own, lib = ([f"build/{ARCH}/obj/{path[:-2]}.o" for path in paths] for paths in (SOURCES, library))
    make(f"ARCH={ARCH}", *own, *lib)
    subprocess.run([f"{TRIPLE}-gcc-ar", "rcs", tmp_path / "library.a", *lib], cwd=ROOT, check=True)
    subprocess.run([f"{TRIPLE}-gcc", "-pie", *own, tmp_path / "library.a", "-o", tmp_path / "maker"], cwd=ROOT, check=True)
    said = subprocess.run(["readelf", "-h", tmp_path / "maker"], stdout=subprocess.PIPE, text=True, check=True).stdout
    assert re.search(rf"Machine: .*{MACHINE}", said)

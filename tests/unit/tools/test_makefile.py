# SPDX-License-Identifier: Apache-2.0
"""What the Makefile makes again, and for which machine."""
import glob
import os
import re
import subprocess

import pytest

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))))
HOST, OTHER = ("arm64", "amd64") if os.uname().machine == "aarch64" else ("amd64", "arm64")


def database(*words):
    """make's own view of its rules. Return: standard output, standard error."""
    env = {k: v for k, v in os.environ.items() if not k.startswith(("MAKE", "MFLAGS"))}
    done = subprocess.run(["make", "-npq", *words, "gen"], cwd=ROOT, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                          text=True, check=False)
    return done.stdout, done.stderr


def needed_by(target, rules):
    return next(line for line in rules.splitlines() if line.startswith(f"{target}:")).split()[1:]


@pytest.mark.parametrize("words, build", [((), "build"), (("SAN=1",), "build/san"), ((f"ARCH={OTHER}",), f"build/{OTHER}"),
                                          ((f"ARCH={HOST}",), "build")])
def test_an_archive_is_made_again_when_a_list_of_sources_changes(words, build):
    rules, _ = database(*words)
    lists = {os.path.relpath(p, ROOT) for folder in ("userspace/lib/*", "userspace/agent", "ztunnel", "bpf")
             for p in glob.glob(f"{ROOT}/{folder}/build.mk")}
    assert len(lists) > 5
    for archive in ("libculvert.a", "agent.a", "ztunnel.a"):
        assert lists <= set(needed_by(f"{build}/{archive}", rules))
    assert "bpf/build.mk" in needed_by(f"{build}/bpf/culvert.bpf.o", rules)


def test_another_machine_has_a_compiler_and_libraries_of_its_own():
    triple = {"arm64": "aarch64-linux-gnu", "amd64": "x86_64-linux-gnu"}[OTHER]
    rules, _ = database(f"ARCH={OTHER}")
    assert f"\nCC := {triple}-gcc\n" in rules and f"PKG_CONFIG := PKG_CONFIG_LIBDIR=/usr/lib/{triple}/pkgconfig" in rules


@pytest.mark.parametrize("words", [(), ("SAN=1",), ("ARCH=arm64",)])
def test_what_is_for_one_machine_only_is_left_out_of_the_others(words):
    is_there = "ARCH=arm64" not in words and HOST == "amd64" and os.path.exists("/usr/include/intel-ipsec-mb.h")
    rules, _ = database(*words)
    tls = {os.path.basename(p) for p in needed_by(re.findall(r"^(build\S*/libculvert.a):", rules, re.M)[0], rules)
           if "/lib/tls/gcm" in p}
    assert tls == ({"gcm.o", "gcm_cipher.o", "gcm_records.o"} if is_there else {"gcm_none.o"})


def test_what_stands_in_where_the_library_is_not_has_every_function_of_it(tmp_path):
    """No build of this machine has it, if the library is there: that of another machine must not be the first to miss one."""
    folder, out = f"{ROOT}/userspace/lib/tls", tmp_path / "none.o"
    subprocess.run(["gcc", "-std=gnu11", "-D_GNU_SOURCE", "-Wall", "-Wextra", "-Wno-unused-parameter", "-Wmissing-prototypes", "-Werror",
                    f"-I{ROOT}/include", f"-I{ROOT}/userspace/lib", "-c", f"{folder}/gcm_none.c", "-o", out], check=True)
    names = subprocess.run(["nm", "--defined-only", "--extern-only", "--format=just-symbols", out], stdout=subprocess.PIPE, text=True,
                           check=True).stdout.split()
    declared = set()
    for header in ("gcm.h", "records.h"):
        with open(f"{folder}/{header}", encoding="utf-8") as f:
            declared |= set(re.findall(r"^(?!static|\t| \*|/\*).*\b(tls_\w+)\(", f.read(), re.M))
    assert len(declared) > 3 and set(names) == declared


@pytest.mark.parametrize("words, said", [(("ARCH=mips",), "ARCH=mips: amd64 or arm64"),
                                         ((f"ARCH={OTHER}", "SAN=1"), "not with SAN=1 or FUZZ=1")])
def test_what_cannot_be_built_is_told(words, said):
    assert said in database(*words)[1]

# SPDX-License-Identifier: Apache-2.0
"""tools/run-tests ends with its summary and names what failed, whatever becomes of a suite, a program or its own stdout."""
import json
import os
import re
import signal
import subprocess
import time

import pytest

ROOT = os.path.abspath(os.path.join(os.path.dirname(__file__), "..", "..", ".."))
# The program itself with suites of the test's own: BODY sees it as `m`.
LOAD = """
import importlib.machinery, importlib.util, os, sys
sys.dont_write_bytecode = True
loader = importlib.machinery.SourceFileLoader("run_tests", sys.argv[1])
m = importlib.util.module_from_spec(importlib.util.spec_from_loader("run_tests", loader))
loader.exec_module(m)
m.LOGS = sys.argv[2]
def program(name, code, **kwargs):
    return m.run(name, [sys.executable, "-c", code], m.tally_line, **kwargs)
GOOD = "print('1 passed, 0 failed, 0 skipped')"
"""
RUN = "\nsys.argv[1:] = list(m.SUITES)\nsys.exit(m.main())\n"


def start(logs, body, **kwargs):
    """run-tests with these suites."""
    argv = ["/usr/bin/python3", "-c", LOAD + body + RUN, os.path.join(ROOT, "tools", "run-tests"), str(logs)]
    return subprocess.Popen(argv, text=True, **{"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **kwargs})


def finish(process):
    """(exit code, lines)."""
    out, err = process.communicate(timeout=120)
    assert err == "", err
    return process.returncode, out.splitlines()


def test_a_suite_that_raises_fails_and_the_others_run(tmp_path):
    code, lines = finish(start(tmp_path, "m.SUITES = {'a': lambda: 1 / 0, 'b': lambda: program('b', GOOD)}"))
    assert code == 1
    assert lines[-3:] == ["failed:", "  a: ZeroDivisionError: division by zero", "1 passed, 1 failed, 0 skipped"]


def test_nothing_is_lost_in_a_non_blocking_stdout(tmp_path):
    body = """
code = "print('x' * 2000000); print('2 passed, 1 failed, 0 skipped'); raise SystemExit(1)"
m.SUITES = {'a': lambda: program('a', code)}
os.set_blocking(1, False)
"""
    process = start(tmp_path, body)
    time.sleep(0.5)  # the pipe is full by now
    code, lines = finish(process)
    assert code == 1 and "x" * 2000000 in lines
    assert lines[-3:] == ["failed:", "  a", "2 passed, 1 failed, 0 skipped"]


def test_a_closed_stdout_ends_no_test(tmp_path):
    body = "m.SUITES = {n: lambda n=n: program(n, GOOD) for n in ('a', 'b')}"
    read, write = os.pipe()
    os.close(read)
    process = start(tmp_path, body, stdout=write)
    os.close(write)
    assert process.wait(120) == 0 and process.stderr.read() == ""
    assert (tmp_path / "run-tests.log").read_text().splitlines()[-1] == "2 passed, 0 failed, 0 skipped"


def test_a_signal_ends_the_program_and_is_in_the_summary(tmp_path):
    body = """
code = "import os, time; print('pid', os.getpid(), flush=True); time.sleep(600)"
m.SUITES = {'a': lambda: program('a', GOOD), 'b': lambda: program('b', code, live=True)}
"""
    process = start(tmp_path, body)
    pid = None
    while not pid:
        line = process.stdout.readline()
        pid = int(line.split()[1]) if line.startswith("pid") else None
    process.send_signal(signal.SIGTERM)
    code, lines = finish(process)
    assert code == 1
    assert lines[-3:] == ["failed:", "  b: ended by SIGTERM", "1 passed, 1 failed, 0 skipped"]
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


def test_suites_side_by_side_run_at_the_same_time_and_each_is_said_in_one_piece(tmp_path):
    body = """
# Each makes a file and waits for the other's.
code = '''
import os, sys, time
mine, other = sys.argv[1:]
open(mine, "w").close()
while not os.path.exists(other):
    time.sleep(0.01)
print("1 passed, 0 failed, 0 skipped")
'''
def suite(name, mine, other):
    def part(number):
        with m.OUT.in_one_piece():
            m.OUT.say(f"{name}{number} begins")
            return m.run(name + number, [sys.executable, "-c", code, m.LOGS + f"/{mine}{number}", m.LOGS + f"/{other}{number}"],
                         m.tally_line)
    return m.side_by_side(part, "12", 2)
m.SUITES = {"a": lambda: suite("a", "x", "y"), "b": lambda: program("b", GOOD.replace("0 failed", "1 failed")),
            "c": lambda: suite("c", "y", "x"), "d": lambda: program("d", GOOD)}
sys.argv[1:] = ["a,b+c", "d"]
sys.exit(m.main())
"""
    code, lines = finish(start(tmp_path, body))
    lines = [re.sub(r"  \(.*", "", line) for line in lines]
    assert code == 1 and lines[0] == "== a, b beside c"
    for name in "ac":
        first, second = ([f"{name}{i} begins", f"  ok   {name}{i}: 1 passed, 0 failed, 0 skipped"] for i in "12")
        assert lines[lines.index(f"== {name}") + 1:][:4] in (first + second, second + first)
    assert lines.index("== b") > lines.index("== a")
    assert lines[-5:] == ["== d", "  ok   d: 1 passed, 0 failed, 0 skipped", "failed:", "  b", "6 passed, 1 failed, 0 skipped"]


def test_a_signal_ends_all_that_run_side_by_side(tmp_path):
    body = """
code = "import os, sys, time; open(sys.argv[1] + str(os.getpid()), 'w').close(); time.sleep(600)"
def suite():
    return m.run("program", [sys.executable, "-c", code, m.LOGS + "/pid-"], m.tally_line)
m.SUITES = {name: suite for name in "abcd"}
sys.argv[1:] = ["a,b+c", "d"]
sys.exit(m.main())
"""
    process = start(tmp_path, body)
    while len(found := list(tmp_path.glob("pid-*"))) < 2:
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    code, lines = finish(process)
    assert code == 1
    assert lines[-4:] == ["failed:", "  a: ended by SIGINT", "  c: ended by SIGINT", "0 passed, 2 failed, 0 skipped"]
    for path in found:
        with pytest.raises(ProcessLookupError):
            os.kill(int(path.name.removeprefix("pid-")), 0)


def test_what_took_longest_is_begun_first(tmp_path):
    (tmp_path / "times.json").write_text('{"short": 1.5, "long": 2000}')
    body = """
m.SUITES = {'a': lambda: (print(m.TIMES.longest_first(['short', 'new', 'long'])), program('long', GOOD))[1]}
"""
    _, lines = finish(start(tmp_path, body))
    assert "['new', 'long', 'short']" in lines
    times = json.loads((tmp_path / "times.json").read_text())
    assert times["short"] == 1.5 and times["long"] < 2000


def test_a_program_that_says_nothing_for_long_is_ended_and_its_test_named(tmp_path):
    body = """
m.SILENT_S = 10
code = "import time; print('test_one PASSED'); print('test_two ', end='', flush=True); time.sleep(600)"
m.SUITES = {'a': lambda: program('a', code, live=True)}
"""
    code, lines = finish(start(tmp_path, body))
    assert code == 1 and "  a: silent for 10 s at test_two" in lines and lines[-1] == "0 passed, 1 failed, 0 skipped"


def test_off_a_terminal_passed_tests_have_no_line(tmp_path):
    body = """
code = "print('t::a PASSED [ 50%]'); print('t::b FAILED [100%]'); print('FAILED tests/t::b - assert 0'); " + GOOD[:-2] + "')"
m.SUITES = {'a': lambda: program('a', code.replace('0 failed', '1 failed'), live=True)}
"""
    _, lines = finish(start(tmp_path, body))
    assert not any("PASSED" in line for line in lines)
    assert "t::b FAILED [100%]" in lines and lines[-2] == "  a: tests/t::b"


@pytest.mark.parametrize("env, seed, is_kept", [({}, "1", False), ({"FUZZ_SEED": "0"}, "0", True)])
def test_the_usual_run_fuzzes_with_the_same_inputs_each_time(tmp_path, env, seed, is_kept):
    (tmp_path / "fuzz-x").write_text('#!/bin/sh\nfor a; do :; done; echo "$@"; ls "$a"; touch "$a/found"\n')
    (tmp_path / "fuzz-x").chmod(0o755)
    body = f"""
m.ROOT = {str(tmp_path)!r}
m.SUITES = {{name: lambda: m.fuzz_one({str(tmp_path / "fuzz-x")!r}) for name in ('a', 'b')}}
"""
    clean = {name: value for name, value in os.environ.items() if name != "FUZZ_SEED"}
    assert finish(start(tmp_path, body, env={**clean, **env}))[0] == 0
    words = (tmp_path / "fuzz-x.log").read_text().split()
    assert f"-seed={seed}" in words and ("found" in words) == is_kept


@pytest.mark.parametrize("text, names", [
    ("[ RUN      ] test_x\n[  FAILED  ] test_x\n[==========] 2 test(s) run.\n[  FAILED  ] tests: 1 test(s), listed below:\n"
     "[  FAILED  ] test_x\n", ["p: test_x"]),
    ("connect4 is refused\n  stage.c:1: no\n  FAILED connect4 is refused\n1 passed, 1 failed, 0 skipped\n",
     ["p: connect4 is refused"]),
    ("  FAIL limits: 1 findings  (0.1 s)\n", ["p: limits"]),
    ("FAILED tests/mesh/test_a.py::test_b[x - y] - assert False\nERROR tests/mesh/test_a.py::test_c\n",
     ["p: tests/mesh/test_a.py::test_b[x - y]", "p: tests/mesh/test_a.py::test_c"]),
    ("Segmentation fault\n", ["p"]),
])
def test_failed_tests_are_named_from_the_output(tmp_path, text, names):
    body = f"print(m.failed_names('p', {text!r}) == {names!r})\nsys.exit()"
    assert finish(start(tmp_path, body)) == (0, ["True"])

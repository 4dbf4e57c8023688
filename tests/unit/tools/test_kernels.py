# SPDX-License-Identifier: Apache-2.0
"""The verifier's figures: what grows needs a reason. Emulated machines: how far they are, and which are given up."""
import importlib.machinery
import importlib.util
import os
import subprocess
import sys

import pytest

FOLDER = os.path.join(os.path.dirname(__file__), "..", "..", "..", "tools", "kernels")
sys.path.insert(0, FOLDER)
from verifier import Figures

KERNELS = ("6.1", "6.12")
FILE = """\
# comment
program                6.1     6.12
cv_one                1000     2000
cv_two                 100      100
  up to 6.1=300 6.12=110: it reads two headers now
  grown: and one before
"""


@pytest.fixture(name="path")
def fixture_path(tmp_path):
    """A file with two programs."""
    path = tmp_path / "verifier.txt"
    path.write_text(FILE, encoding="utf-8")
    return str(path)


def figures_after(path, kernel, measured):
    """(complaints, {program: {kernel: figure}} as the file then says)."""
    figures = Figures(KERNELS, path)
    complaints = figures.take(kernel, measured)
    figures.write()
    return complaints, Figures(KERNELS, path).figures


def test_within_a_tenth_nothing_changes(path):
    complaints, found = figures_after(path, "6.1", {"cv_one": 1100})
    assert not complaints
    assert found["cv_one"] == {"6.1": 1000, "6.12": 2000}


def test_growth_is_a_complaint_and_is_not_written(path):
    complaints, found = figures_after(path, "6.1", {"cv_one": 1101})
    assert len(complaints) == 1 and "cv_one on 6.1: 1000 -> 1101" in complaints[0]
    assert found["cv_one"]["6.1"] == 1000


def lines_after(path, kernel, measured):
    """(complaints, what then stands below cv_two)."""
    complaints, _ = figures_after(path, kernel, measured)
    with open(path, encoding="utf-8") as f:
        return complaints, f.read().partition("cv_two")[2].splitlines()[1:]


def test_a_reason_covers_growth_up_to_its_number_on_its_kernel(path):
    complaints, found = figures_after(path, "6.1", {"cv_two": 300})
    assert not complaints and found["cv_two"] == {"6.1": 300, "6.12": 100}
    assert "cv_two on 6.12: 100 -> 300" in figures_after(path, "6.12", {"cv_two": 300})[0][0]


def test_a_figure_above_the_reason_is_a_complaint(path):
    assert "cv_two on 6.1: 100 -> 301" in figures_after(path, "6.1", {"cv_two": 301})[0][0]


def test_a_reason_is_for_one_growth(path):
    assert lines_after(path, "6.1", {"cv_two": 290}) == (
        [], ["  up to 6.12=110: it reads two headers now", "  grown: and one before"])
    assert lines_after(path, "6.12", {"cv_two": 100}) == ([], ["  grown: it reads two headers now", "  grown: and one before"])
    assert "cv_two on 6.1: 290 -> 320" in figures_after(path, "6.1", {"cv_two": 320})[0][0]


@pytest.mark.parametrize("figure", [95, 120, 272, 50])
def test_a_reason_for_more_than_a_tenth_above_the_figure_is_a_complaint(path, figure):
    complaints, lines = lines_after(path, "6.1", {"cv_two": figure})
    assert complaints == [f"cv_two on 6.1: {figure} instructions, and bpf/verifier.txt has a reason for 300: "
                          f"say 6.1={figure} there, or nothing"]
    assert lines[0] == "  up to 6.1=300 6.12=110: it reads two headers now"


def test_what_shrinks_is_written(path):
    complaints, found = figures_after(path, "6.12", {"cv_one": 1500})
    assert not complaints and found["cv_one"]["6.12"] == 1500


def test_new_programs_get_figures_and_gone_ones_lose_theirs(path):
    complaints, found = figures_after(path, "6.1", {"cv_two": 300, "cv_new": 7})
    assert not complaints
    assert found["cv_new"] == {"6.1": 7} and found["cv_one"] == {"6.12": 2000}


def test_a_broken_line_is_named(path):
    with open(path, "a", encoding="utf-8") as f:
        f.write("cv_three many\n")
    with pytest.raises(RuntimeError, match=r"verifier.txt:7: expected"):
        Figures(KERNELS, path)


@pytest.mark.parametrize("line,what", [("  up to 300: it is old", "expected"), ("  up to 6.11=300: it is none", "none of 6.1 6.12"),
                                       ("  up to 6.1=300:", "expected")])
def test_a_broken_reason_is_named(path, line, what):
    with open(path, "a", encoding="utf-8") as f:
        f.write(line + "\n")
    with pytest.raises(RuntimeError, match=f"verifier.txt:7: .*{what}"):
        Figures(KERNELS, path)


@pytest.fixture(name="kernels")
def fixture_kernels(monkeypatch):
    """tools/kernels/kernels as a module."""
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    loader = importlib.machinery.SourceFileLoader("kernels", os.path.join(FOLDER, "kernels"))
    module = importlib.util.module_from_spec(importlib.util.spec_from_loader("kernels", loader))
    loader.exec_module(module)
    return module


def test_progress_names_the_test_that_runs(kernels, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(kernels, "PROGRESS_S", 0)
    (tmp_path / "log").write_text("@begin bpf\r\n3/9 a_name_resolves\r\n@alive\r\n4/9 half a li", encoding="utf-8")
    watch = kernels.Watch("6.12", tmp_path / "log")
    assert watch.look() is None
    watch.file.close()
    assert capsys.readouterr().out.endswith(" s: bpf 3/9 a_name_resolves\n")


@pytest.mark.parametrize("limit", ["SILENT_S", "SECONDS"])
def test_a_machine_that_has_stopped_is_ended(kernels, tmp_path, monkeypatch, capsys, limit):
    monkeypatch.setattr(kernels, limit, 0)
    (tmp_path / "log").touch()
    with subprocess.Popen(["sleep", "600"]) as machine:
        kernels.attend(machine, kernels.Watch("6.12", tmp_path / "log"))
        assert machine.returncode == -9
    assert "kernels: stopped, " in capsys.readouterr().out


def booted(kernels, monkeypatch, log_path, *said):
    """What boot_again() makes of machines that say `said`, one after the other."""
    left = list(said)

    def boot(*_):
        log_path.write_text(left[0], encoding="utf-8")
        return left.pop(0)
    monkeypatch.setattr(kernels, "boot", boot)
    return kernels.boot_again("6.1", None, "off", str(log_path)), left


HUNG = "@result load ok\nKernel panic - not syncing: softlockup: hung tasks\n"


def test_a_machine_that_hung_is_booted_once_more(kernels, tmp_path, monkeypatch, capsys):
    last = "@result load ok\n@result bpf ok\n"
    assert booted(kernels, monkeypatch, tmp_path / "log", HUNG, last) == (last, [])
    assert (tmp_path / "log.hung").read_text(encoding="utf-8") == HUNG
    assert "a processor hung" in capsys.readouterr().out


@pytest.mark.parametrize("said", [(HUNG, HUNG, "@result bpf ok\n"), ("@result load ok\nKernel panic\n", "@result bpf ok\n")])
def test_a_machine_that_hangs_again_or_ends_otherwise_is_not(kernels, tmp_path, monkeypatch, said):
    assert booted(kernels, monkeypatch, tmp_path / "log", *said) == (said[-2], [said[-1]])


def test_a_test_without_a_result_has_failed(kernels):
    said = "@begin bpf\r\n1/1 one\r\n@result bpf ok 3\r\n@begin mesh\r\nKernel panic\r\n"
    assert kernels.told(said, ["bpf", "mesh"], None, "6.1") == ({"bpf": True, "mesh": False}, [])


def test_what_failed_is_shown_with_what_it_printed(kernels):
    said = ["@begin bpf", "1/2 good", "  noise", "2/2 bad", "  bad.c:7: map_size: 1, 0", "@alive", "  FAILED bad", "1 passed, 1 failed",
            "@result bpf FAILED 3", "@begin mesh", "mesh: two nodes", "AssertionError: no answer", "@result mesh FAILED 9", "@done"]
    assert kernels.failures("\r\n".join(said)) == [*said[3:5], *said[6:9], *said[10:13]]


def test_a_machines_last_words_are_shown(kernels):
    assert kernels.failures("@begin bpf\n1/2 good\n2/2 bad\nKernel panic\n") == ["2/2 bad", "Kernel panic"]
    assert not kernels.failures("@begin bpf\n1/1 good\n@result bpf ok 3\n@done\n")

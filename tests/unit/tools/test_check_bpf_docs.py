# SPDX-License-Identifier: Apache-2.0
"""tools/check-bpf-docs: what a table of bpf/README.md lacks, or has too much, is named."""
import importlib.machinery
import importlib.util
import os

import pytest

TOOL = os.path.join(os.path.dirname(__file__), "..", "..", "..", "tools", "check-bpf-docs")
_loader = importlib.machinery.SourceFileLoader("check_bpf_docs", TOOL)
check = importlib.util.module_from_spec(importlib.util.spec_from_loader(_loader.name, _loader))
_loader.exec_module(check)


def lines_of(text, start):
    """The first line of TEXT that begins so."""
    return next(line for line in text.splitlines(keepends=True) if line.startswith(start))


@pytest.fixture(name="said")
def fixture_said(monkeypatch, capsys):
    """Return: what the tool says of the README that CHANGE makes of ours, and its exit code."""
    text = check.read(check.README)

    def run(change):
        monkeypatch.setattr(check, "read", lambda path, read=check.read: change(text) if path == check.README else read(path))
        code = check.main()
        monkeypatch.undo()
        return capsys.readouterr().out, code
    return run


def test_the_tables_are_whole(said):
    assert said(lambda text: text) == ("", 0)


@pytest.mark.parametrize("row,heading", [("cv_verdicts", "Maps"), ("cv_guard", "Programs"), ("no_steer", "Reasons")])
def test_what_is_missing_is_named(said, row, heading):
    out, code = said(lambda text: text.replace(lines_of(text, f"| {row} |"), ""))
    assert code == 1 and f"bpf/README.md: {heading}: {row} is missing\n" in out


def test_what_is_not_there_is_named(said):
    out, code = said(lambda text: text.replace("| cv_verdicts |", "| cv_verdicts, cv_dreams |"))
    assert (out, code) == ("bpf/README.md: Maps: there is no cv_dreams\n", 1)


@pytest.mark.parametrize("name,limit", [("cv_generation", "1"), ("cv_pods", "4096"), ("cv_ranges", "16384"), ("cv_conns", "65536"),
                                        ("cv_direct_told", "65536"), ("cv_nameservers", "4096"), ("cv_counters", "64"),
                                        ("cv_events", "256 KiB"), ("cv_direct_events", "1 MiB")])
def test_another_limit_is_named(said, name, limit):
    out, code = said(lambda text: text.replace(lines_of(text, f"| {name} |"), f"| {name} | key -> value | 2 | full |\n"))
    assert (out, code) == (f"bpf/README.md: Maps: {name} holds {limit}, not 2\n", 1)


@pytest.mark.parametrize("name,since,before", [("cv_uplink", "5.8", "5.7"),  # the ring buffer
                                               ("cv_lookup", "5.12", "5.11"),  # an atomic that says what was there
                                               ("cv_sockops", "5.14", "5.13"),  # a helper that came later there
                                               ("cv_connect4, cv_connect6", "5.12", "5.8")])  # in functions that they call
def test_a_kernel_that_is_too_old_is_named(said, name, since, before):
    out, code = said(lambda text: text.replace(lines_of(text, f"| {name} |"), f"| {name} | hook | what | {before} |\n"))
    assert (out, code) == ("".join(f"bpf/README.md: Programs: {n} needs {since}, not {before}\n" for n in name.split(", ")), 1)


def test_an_object_that_is_not_built_is_named(said, monkeypatch):
    monkeypatch.setattr(check, "OBJECT", "build/bpf/none.o")
    assert said(lambda text: text) == ("build/bpf/none.o is missing: make gen\n", 1)


def test_an_empty_cell_is_named(said):
    out, code = said(lambda text: text.replace("-> generation of the verdicts that count | 1 | never: an array |", "-> that | 1 | |"))
    assert (out, code) == ("bpf/README.md: Maps: cv_generation has an empty cell\n", 1)

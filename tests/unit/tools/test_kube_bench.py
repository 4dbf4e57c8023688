# SPDX-License-Identifier: Apache-2.0
"""tests/kube/bench.py: what it says of its figures. No cluster is started here."""
import importlib.util
import os

SOURCE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "kube", "bench.py")


def bench():
    spec = importlib.util.spec_from_file_location("kube_bench", SOURCE)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_a_figure_that_is_asked_for_has_a_verdict(capsys):
    row = bench().row
    row("quick", [1.0, 2.0, 30.0], "ms", ("p50", 20))
    row("slow at last", [1.0, 2.0, 30.0], "ms", ("p99", 20))
    row("none may fail", [0, 1], "", ("max", 0))
    row("only told", [3.0], "MB")
    said = capsys.readouterr().out.splitlines()
    assert [line[73:].strip() for line in said] == [
        "p50 <= 20: ok", "p99 <= 20: MISSED, 30.0", "max <= 0: MISSED, 1.0", ""]
    assert said[0].split()[:3] == ["quick", "2.0", "30.0"]

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


def test_sandboxes_are_read_from_the_log_of_either_containerd():
    head = 'time="2026-11-25T13:55:{}Z" level=info msg="RunPodSandbox for '
    old, new = "&PodSandboxMetadata{{Name:{},Uid:1,Namespace:ours,Attempt:0,}}", r'name:\"{}\" uid:\"1\" namespace:\"ours\"'
    for form in (old, new):
        log = [head.format("06.25") + form.format("ours1") + '"\n', head.format("06.5") + form.format("other1") + '"\n',
               head.format("07.5") + form.format("ours1") + r' returns sandbox id \"c6\""' + "\n",
               head.format("08.5") + form.format("ours2") + '"\n']
        assert bench().read_sandboxes(log, "ours") == [1250.0]

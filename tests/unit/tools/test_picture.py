# SPDX-License-Identifier: Apache-2.0
"""The demo's live picture fits an ordinary terminal; its rates are those of the link, not of what was captured."""

import io
import pathlib
import re
import struct
import sys
import types

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[3] / "tools" / "lab"))

from labkit.picture import EVERY, NEW_PART, Picture, Traffic  # noqa: E402

PODS = [types.SimpleNamespace(key=f"namespace/{name}", namespace="namespace", name=name, deployment=name, node=node, ip4=ip4, ip6="::")
        for name, node, ip4 in (("client", "n1", "10.244.1.100"), ("server", "n2", "10.244.2.100"))]


class Terminal(io.StringIO):
    def isatty(self):
        return True


def captured(path, whole):
    """A capture of one TCP segment's headers alone; the packet was this long."""
    ip = struct.pack("!BBHHHBBH4B4B", 0x45, 0, whole - 14, 0, 0, 64, 6, 0, 10, 244, 1, 100, 10, 244, 2, 100)
    frame = bytes(12) + b"\x08\x00" + ip + struct.pack("!HHIIBBHHH", 40000, 15008, 1, 0, 0x50, 0x10, 0, 0, 0)
    path.write_bytes(bytes(24) + struct.pack("<IIII", 0, 0, len(frame), whole) + frame)


@pytest.mark.parametrize("columns, lines, is_live", [(80, 24, True), (200, 60, True), (79, 24, False), (80, 23, False)])
def test_no_line_is_wider_than_the_terminal(monkeypatch, tmp_path, columns, lines, is_live):
    monkeypatch.setenv("COLUMNS", str(columns))
    monkeypatch.setenv("LINES", str(lines))
    picture = Picture(Terminal())
    assert picture.is_live == is_live
    captured(tmp_path / "wire", 1054)
    picture.view = lambda: (PODS, types.SimpleNamespace(captures=[types.SimpleNamespace(path=tmp_path / "wire")]), None)
    picture.height = 15
    drawn = [re.sub(r"\x1b\[\d+m", "", line) for line in picture._draw()]
    assert len(drawn) == picture.height and any("10.244.1.100" in line and "10.244.2.100" in line for line in drawn)
    assert not is_live or max(map(len, drawn)) <= columns


def test_what_was_not_captured_counts(tmp_path):
    captured(tmp_path / "wire", 1054)
    edges = Traffic().update(types.SimpleNamespace(captures=[types.SimpleNamespace(path=tmp_path / "wire")]), PODS)
    assert edges == {("namespace/client", "namespace/server", "tls"): 1000 * NEW_PART / EVERY}

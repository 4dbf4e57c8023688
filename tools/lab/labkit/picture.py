# SPDX-License-Identifier: Apache-2.0
"""A live picture of the nodes at the top of a terminal: pods, edges between nodes, encrypted or not, rates."""

import json
import shutil
import sys
import threading
import time

from .wire import read_pcap

EVERY = 0.5
NEW_PART = 0.3  # of the shown rate: the rest is what was before, so that it does not flicker
WIDTH = 100
BOLD, DIM, GREEN, RED, YELLOW, PLAIN = "\x1b[1m", "\x1b[2m", "\x1b[32m", "\x1b[31m", "\x1b[33m", "\x1b[0m"


def rate(per_second):
    """Bytes per second for people."""
    for unit in ("B/s", "kB/s", "MB/s", "GB/s"):
        if per_second < 1000 or unit == "GB/s":
            return f"{per_second:6.1f} {unit}"
        per_second /= 1000
    return ""


class Traffic:
    """Bytes per edge and second, from the captures as they grow."""

    def __init__(self):
        self.read = {}
        self.edges = {}

    def update(self, wire, pods):
        """Return: {(pod, pod, kind): bytes per second}; an edge stays for a while with rate 0."""
        names = {ip: p for p in pods for ip in (p.ip4, p.ip6)}
        for entry in self.edges.values():
            entry[0] *= 1 - NEW_PART
        for capture in wire.captures:
            done = self.read.get(capture.path, 24)
            for segment, done in read_pcap(capture.path, done):
                self._count(segment, names)
            self.read[capture.path] = done
        now = time.monotonic()
        self.edges = {e: v for e, v in self.edges.items() if now - v[1] < 6}
        return {e: v[0] / EVERY for e, v in self.edges.items()}

    def _count(self, segment, names):
        src, dst = names.get(segment.src), names.get(segment.dst)
        if not src or not dst or not segment.length:
            return
        kind = "tls" if 15008 in (segment.sport, segment.dport) else "plain"
        if segment.sport == 15008 or (segment.dport != 15008 and segment.sport < segment.dport):
            src, dst = dst, src  # an edge points at the server
        entry = self.edges.setdefault((src.key, dst.key, kind), [0, 0])
        entry[0] += segment.length * NEW_PART
        entry[1] = time.monotonic()


class Picture:
    """Draws in a thread; say() prints below it. Without a terminal say() just prints."""

    def __init__(self, stream=sys.stdout):
        self.stream = stream
        size = shutil.get_terminal_size()
        self.is_live = stream.isatty() and size.lines >= 24 and size.columns >= 80
        self.lock = threading.Lock()
        self.stopping = threading.Event()
        self.thread = None
        self.height = 0
        self.traffic = Traffic()
        self.view = lambda: ([], None, None)

    def start(self, view, height=15):
        """@view gives (pods, wire, mesh) of the moment."""
        self.view = view
        if not self.is_live:
            return
        self.height = height
        rows = shutil.get_terminal_size().lines
        self.stream.write(f"\x1b[2J\x1b[{height + 1};{rows}r\x1b[{height + 1};1H")
        self.stream.flush()
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    def stop(self):
        """Give the terminal back."""
        if not self.thread:
            return
        self.stopping.set()
        self.thread.join(5)
        self.thread = None
        rows = shutil.get_terminal_size().lines
        self.stream.write(f"\x1b[r\x1b[{rows};1H\n")
        self.stream.flush()

    def say(self, text=""):
        """One line of evidence."""
        with self.lock:
            self.stream.write(text + "\n")
            self.stream.flush()

    @staticmethod
    def columns():
        """Width of the terminal."""
        return shutil.get_terminal_size().columns

    def colour(self, code, text):
        """Colour on a terminal, nothing elsewhere."""
        return f"{code}{text}{PLAIN}" if self.stream.isatty() else text

    def _run(self):
        while not self.stopping.wait(EVERY):
            try:
                lines = self._draw()
            except (OSError, ValueError, KeyError, AttributeError, json.JSONDecodeError):
                continue  # the lab changes under us: the next round shows it
            with self.lock:
                self.stream.write("\x1b7" + "".join(f"\x1b[{i + 1};1H\x1b[2K{line}" for i, line in enumerate(lines)) + "\x1b8")
                self.stream.flush()

    def _draw(self):
        pods, wire, mesh = self.view()
        captured = {}
        for node in mesh or ():
            try:
                captured[node.name] = node.captured()
            except (OSError, ValueError, KeyError):
                captured[node.name] = set()
        lines = [f"{BOLD}culvert demo{PLAIN}   {GREEN}● in the mesh{PLAIN}   {DIM}○ not{PLAIN}   "
                 f"{GREEN}═▶ TLS 1.3 on 15008{PLAIN}   {RED}─▶ plaintext{PLAIN}", ""]
        columns = [self._column(n, [p for p in pods if p.node == n], captured.get(n, set())) for n in ("n1", "n2")]
        width = min(self.columns() // 2, 46)
        for i in range(max(map(len, columns))):
            lines.append("".join((c[i][0] + " " * max(width - c[i][1], 0)) if i < len(c) else " " * width for c in columns))
        lines.append("")
        edges = self.traffic.update(wire, pods) if wire else {}
        for (src, dst, kind), speed in sorted(edges.items(), key=lambda e: -e[1])[:self.height - len(lines) - 1]:
            arrow = f"{GREEN}═══▶{PLAIN}" if kind == "tls" else f"{RED}───▶{PLAIN}"
            names = [k.split("/")[1].rsplit("-", 2)[0] for k in (src, dst)]
            lines.append(f"  {names[0]:>10} {arrow} {names[1]:<10} {rate(speed)}")
        lines = lines[:self.height - 1] + [""] * max(self.height - 1 - len(lines), 0)
        return lines + ["─" * min(WIDTH, self.columns())]

    @staticmethod
    def _column(name, pods, captured):
        rows = [(f"{BOLD}node {name}{PLAIN}", 7)]
        for p in pods:
            mark = f"{GREEN}●{PLAIN}" if p.key in captured else f"{DIM}○{PLAIN}"
            text = f" {p.namespace + '/' + (p.deployment or p.name):<20} {p.ip4}"
            rows.append((f"  {mark}{text}", 3 + len(text)))
        return rows

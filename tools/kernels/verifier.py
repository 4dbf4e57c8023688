# SPDX-License-Identifier: Apache-2.0
"""bpf/verifier.txt: how many instructions the verifier walks for each program on each kernel, and what growth has a reason.

A figure in the file stays until it is left by more than 10 %: a smaller one is written, a bigger one fails unless the
program has a line `  up to KERNEL=NUMBER ...: REASON` that covers it on that kernel. What has no figure yet gets one. Such a
number is at most 10 % over what is measured, and goes once that is: it is for one growth, not for those to come. Without
numbers the line says `  grown: REASON`.
"""
import os
import re

from image import ROOT

PATH = os.path.join(ROOT, "bpf", "verifier.txt")
HEAD = """\
# Instructions that the verifier walks per program, measured by `make kernels`; 5.15 is 6.1 without what came after 5.15.
# Growth over 10 % fails unless a line below the program says `  up to KERNEL=NUMBER ...: REASON`, for each kernel that it is on;
# once that is measured `  grown: REASON` stays.
"""
GROWTH = 1.1
REASON = re.compile(r"\s+(?:grown|up to ((?:\S+=\d+ ?)+)): (\S.*)")


class Reason:
    """A line: why a program grew, and how far it still may, {kernel: number}."""

    def __init__(self, pairs, why):
        self.most = {kernel: int(number) for kernel, number in (pair.split("=") for pair in (pairs or "").split())}
        self.why = why

    def __str__(self):
        pairs = " ".join(f"{kernel}={number}" for kernel, number in self.most.items())
        return f"  up to {pairs}: {self.why}" if pairs else f"  grown: {self.why}"


class Figures:
    """The file's content: {program: {kernel: figure}}, {program: [Reason]}."""

    def __init__(self, kernels, path=PATH):
        self.path, self.kernels = path, list(kernels)
        self.figures, self.reasons = {}, {}
        if os.path.exists(path):
            with open(path, encoding="utf-8") as f:
                self._read(f)

    def _read(self, lines):
        columns, program = [], None
        for number, line in enumerate(lines, 1):
            words = line.split()
            if not words or line.startswith("#"):
                continue
            if words[0] == "program":
                columns = words[1:]
            elif program and (found := REASON.match(line)):
                reason = Reason(*found.groups())
                if not set(reason.most) <= set(columns):
                    raise RuntimeError(f"{self.path}:{number}: a reason for a kernel that is none of {' '.join(columns)}")
                self.reasons.setdefault(program, []).append(reason)
            elif len(words) == len(columns) + 1 and all(re.fullmatch(r"\d+|-", w) for w in words[1:]):
                program = words[0]
                self.figures[program] = {k: int(w) for k, w in zip(columns, words[1:]) if w != "-"}
            else:
                raise RuntimeError(f"{self.path}:{number}: expected `PROGRAM` and {len(columns)} figures, "
                                   "`  up to KERNEL=NUMBER ...: REASON` or `  grown: REASON`")

    def _reasoned(self, program, kernel):
        """The highest figure that a program has a reason for, 0 without one."""
        return max((reason.most.get(kernel, 0) for reason in self.reasons.get(program, [])), default=0)

    def _compare(self, program, kernel, figure):
        """A figure with the one in the file, which may become it. Return: what is wrong, or None."""
        found, reasoned = self.figures.setdefault(program, {}), self._reasoned(program, kernel)
        old = found.setdefault(kernel, figure)
        if figure > max(int(old * GROWTH), reasoned):
            return (f"{program} on {kernel}: {old} -> {figure} instructions (+{100 * figure // old - 100} %): make it smaller, or put "
                    f"`  up to {kernel}={figure}: REASON` below it in bpf/verifier.txt")
        if reasoned > figure * GROWTH:
            return (f"{program} on {kernel}: {figure} instructions, and bpf/verifier.txt has a reason for {reasoned}: "
                    f"say {kernel}={figure} there, or nothing")
        if not old / GROWTH <= figure <= old * GROWTH:
            found[kernel] = figure
        for reason in self.reasons.get(program, []):
            reason.most.pop(kernel, None)
        return None

    def take(self, kernel, measured):
        """Compare what was measured on a kernel and remember it. Return: complaints."""
        complaints = [self._compare(program, kernel, figure) for program, figure in measured.items()]
        for program in self.figures:
            if program not in measured and kernel in self.figures[program]:
                del self.figures[program][kernel]
        return [complaint for complaint in complaints if complaint]

    def write(self):
        """Put the file in order, programs that are gone left out."""
        lines = [f"{'program':<18}" + "".join(f"{k:>9}" for k in self.kernels)]
        for program, found in sorted(self.figures.items()):
            if found:
                lines.append(f"{program:<18}" + "".join(f"{found.get(k, '-'):>9}" for k in self.kernels))
                lines += map(str, self.reasons.get(program, []))
        with open(self.path, "w", encoding="utf-8") as f:
            f.write(HEAD + "\n".join(lines) + "\n")

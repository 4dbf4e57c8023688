# SPDX-License-Identifier: Apache-2.0
"""bpf/verifier.txt: how many instructions the verifier walks for each program on each kernel, and what growth has a reason.

A figure in the file stays until it is left by more than 10 %: a smaller one is written, a bigger one fails unless the
program has a line `  up to NUMBER: REASON` that covers it. What has no figure yet gets one.
"""
import os
import re

from image import ROOT

PATH = os.path.join(ROOT, "bpf", "verifier.txt")
HEAD = """\
# Instructions that the verifier walks per program, measured by `make kernels`; 5.15 is 6.1 without what came after 5.15.
# Growth over 10 % fails unless a line below the program says `  up to NUMBER: REASON`.
"""
GROWTH = 1.1


class Figures:
    """The file's content: {program: {kernel: figure}}, {program: [reason lines]}."""

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
            elif program and re.match(r"\s+up to \d+: \S", line):
                self.reasons.setdefault(program, []).append(line.rstrip())
            elif len(words) == len(columns) + 1 and all(re.fullmatch(r"\d+|-", w) for w in words[1:]):
                program = words[0]
                self.figures[program] = {k: int(w) for k, w in zip(columns, words[1:]) if w != "-"}
            else:
                raise RuntimeError(f"{self.path}:{number}: expected `PROGRAM` and {len(columns)} figures, or `  up to NUMBER: REASON`")

    def allowed(self, program, old):
        """The highest figure that needs no further reason."""
        reasoned = [int(re.search(r"up to (\d+)", line).group(1)) for line in self.reasons.get(program, [])]
        return max([int(old * GROWTH), *reasoned])

    def take(self, kernel, measured):
        """Compare what was measured on a kernel and remember it. Return: complaints."""
        complaints = []
        for program, figure in measured.items():
            old = self.figures.setdefault(program, {}).get(kernel)
            if old and figure > self.allowed(program, old):
                complaints.append(f"{program} on {kernel}: {old} -> {figure} instructions (+{100 * figure // old - 100} %): make it "
                                  f"smaller, or put `  up to {figure}: REASON` below it in bpf/verifier.txt")
            elif not old or not old / GROWTH <= figure <= old * GROWTH:
                self.figures[program][kernel] = figure
        for program in self.figures:
            if program not in measured and kernel in self.figures[program]:
                del self.figures[program][kernel]
        return complaints

    def write(self):
        """Put the file in order, programs that are gone left out."""
        lines = [f"{'program':<18}" + "".join(f"{k:>9}" for k in self.kernels)]
        for program, found in sorted(self.figures.items()):
            if found:
                lines.append(f"{program:<18}" + "".join(f"{found.get(k, '-'):>9}" for k in self.kernels))
                lines += self.reasons.get(program, [])
        with open(self.path, "w", encoding="utf-8") as f:
            f.write(HEAD + "\n".join(lines) + "\n")

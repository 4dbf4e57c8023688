# SPDX-License-Identifier: Apache-2.0
"""`make bench`: all contestants in one run, interleaved, medians and ratios: a table, report.json, report.html.

A figure alone says nothing on a shared machine: what counts are the ratios to `none` and to `ztunnel` of the same run.
"""
import argparse
import contextlib
import io
import json
import os
import platform
import resource
import signal
import statistics
import sys
import tempfile
import time

import attacks
import clock
import contestants
import control_scale
import cost
import curves
import effects
import enrol
import leftovers
import page
import peers
import report
import rows
import scale


def rss_idle(bench):
    """Memory of the client side's proxy and of its maps, before any load."""
    for c in bench.taking_part("rss_idle"):
        if c.rss_kb() is not None:
            bench.add("rss_idle", c, "rss_kB", c.rss_kb())
        if c.maps_kb() is not None:
            bench.add("rss_idle", c, "maps_kB", c.maps_kb())


def rss_10k(bench):
    """The same with idle connections, up to 10,000 of them."""
    numbers = curves.CONNECTIONS[-1:] if bench.options.quick else curves.CONNECTIONS
    for c in [c for c in bench.taking_part("rss_10k") if c.rss_kb() is not None]:
        try:
            curve, growth, maps = curves.over_connections(c, numbers, progress)
        except RuntimeError as e:
            bench.missing[f"{c.name} rss_10k"] = f"{e} (open files are limited to {resource.getrlimit(resource.RLIMIT_NOFILE)[1]})"
            continue
        bench.curves.append(curve)
        bench.add("rss_10k", c, "rss_kB", curve["points"][-1][1])
        bench.add("rss_10k", c, "growth_kB", growth)
        if maps is not None:
            bench.add("rss_10k", c, "maps_kB", maps)


def idle_cpu(bench):
    """CPU time of all processes of a contestant while nobody asks anything of them."""
    seconds = 2 if bench.options.quick else 10
    time.sleep(1)
    standing = [c for c in bench.taking_part("idle_cpu") if c.all_pids()]
    before = {c.name: sum(map(cost.process_seconds, c.all_pids())) for c in standing}
    time.sleep(seconds)
    for c in standing:
        used = sum(map(cost.process_seconds, c.all_pids())) - before[c.name]
        bench.add("idle_cpu", c, "cpu_us_per_s", used / seconds * 1e6)


def size_curves(bench):
    """Round trips over the message's size."""
    rounds, seconds = (1, 0.2) if bench.options.quick else (3, 0.3)
    bench.curves += curves.over_message_size(bench.taking_part("rr1_size"), rounds, seconds, bench.spare, progress)


def start_100_pods(bench):
    """From the start of a node, and of its agent, to 100 captured pods."""
    for metric, value in zip(("ms", "agent_ms"), enrol.start_with_many_pods(bench.work_dir, progress)):
        bench.add("start_100_pods", contestants.Culvert, metric, value)


def label_to_encrypted(bench):
    """From the label to the first tunnel."""
    for number in range(bench.options.rounds):
        progress(f"label {number + 1}/{bench.options.rounds}")
        bench.add("label_to_encrypted", contestants.Culvert, "ms", enrol.label_to_encrypted(bench.work_dir, 50 + number))


# What is measured once per run. id: (function of a Bench, metrics of the table). The first while all contestants stand,
# before the rounds and after them; ALONE when they are gone.
BEFORE = {"rss_idle": (rss_idle, ("rss_kB", "maps_kB"))}
AFTER = {"idle_cpu": (idle_cpu, ("cpu_us_per_s",)), "rss_10k": (rss_10k, ("rss_kB", "growth_kB", "maps_kB")), "rr1_size": (size_curves, ())}
ALONE = {"start_100_pods": (start_100_pods, ("ms", "agent_ms")), "label_to_encrypted": (label_to_encrypted, ("ms",)),
         **attacks.ROWS, **scale.ROWS, **effects.ROWS, **control_scale.ROWS}
SHOWN = {**{name: row.shown for name, row in rows.ROWS.items()},
         **{name: shown for part in (BEFORE, AFTER, ALONE) for name, (_, shown) in part.items()}}
# A quick run has the others only when they are named.
QUICK = ("rss_idle", "rr1", "rr1k", "rr32", "bulk1", "bulk16", "conn1", "conn16", "rr1_half_load", "http1", "http1_half_load",
         "idle_cpu", "rss_10k", "policy_effect", "endpoint_connection", "revocation", "decision")
QUICK_S, WHOLE_S = 240, 1500  # that a run with all its rows, contestants and rounds may take
ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Bench:
    """One run: the contestants that stand, and what has been measured."""

    def __init__(self, options, work_dir, missing):
        self.options, self.work_dir, self.missing = options, work_dir, missing
        self.standing, self.samples, self.role_samples, self.curves = [], {}, {}, []
        self.by_size = {}  # of effects.py, for the curves: {(row, contestant, metric): {the mesh's size: what each round took}}
        self.stack, self.stage = contextlib.ExitStack(), None  # of attacks.py
        self.strangers, self.clock, self.ended_by = 0, clock.Clock(), None
        self.spare = rows.Spare(15 if options.quick else 30)

    def at(self, part, said=""):
        """What the run is busy with from now on."""
        self.clock.at(part)
        progress(said or part)

    def add(self, row, contestant, metric, value):
        """One measured value."""
        self.samples.setdefault((row, contestant.name, metric), []).append(value)

    def median(self, row, name, metric):
        """Of what has been measured so far, None without."""
        values = self.samples.get((row, name, metric))
        return statistics.median(values) if values else None

    def half_rate(self, row, suffix):
        """Half of what ztunnel has reached in the row that this one is half of; or the slowest contestant, without it as well."""
        rates = {c.name: self.median(row.half_of, c.name, "per_s" + suffix) for c in self.standing}
        rate = (not row.is_of_slowest and rates.get("ztunnel")) or min((r for r in rates.values() if r), default=None)
        return rate and rate / 2

    def visit(self, contestant, name, is_pinned):
        """One run of one row."""
        row, suffix = rows.ROWS[name], "_pinned" if is_pinned else ""
        rate = self.half_rate(row, suffix) if row.half_of else None
        if row.half_of and not rate:
            self.missing[name] = f"needs row {row.half_of} in the same run"
            return
        with contestant.pinned() if is_pinned else contextlib.nullcontext():
            metrics, roles = rows.measure(contestant, row, self.options.seconds, self.spare, rate)
        for metric, value in metrics.items():
            self.add(name, contestant, metric + suffix, value)
        self.role_samples.setdefault((name + suffix, contestant.name), []).append(roles)

    def taking_part(self, row, is_pinned=False):
        """The contestants of a row."""
        def rows_of(c):
            return (c.quick_rows if self.options.is_cut else None) or c.rows

        taking = [c for c in self.standing if rows_of(c) is None or row in rows_of(c)]
        return [c for c in taking if c.name in rows.SCALED] if is_pinned and rows.ROWS[row].scaled else taking

    def rounds(self):
        """Interleaved: in each round every row visits every contestant."""
        visits = [(name, p) for name, row in rows.ROWS.items() if name in self.options.rows
                  for p in ((False, True) if row.is_pinned or (row.scaled and not self.options.quick) else (False,))]
        for number in range(self.options.rounds):
            self.strangers = max(self.strangers, cost.strangers())
            for name, is_pinned in visits:
                for c in self.taking_part(name, is_pinned):
                    self.at(name, f"round {number + 1}/{self.options.rounds} {name}{' pinned' if is_pinned else ''} {c.name}")
                    self.visit(c, name, is_pinned)

    def single(self, part):
        """Those of BEFORE, AFTER or ALONE that are wanted; a function of several rows once."""
        wanted = {}
        for name, (function, _) in part.items():
            if name in self.options.rows:
                wanted.setdefault(function, name)
        for function, name in wanted.items():
            self.at(name)
            function(self)

    def run(self, classes):
        """Everything that is wanted, all contestants standing side by side; they are closed again."""
        with contextlib.ExitStack() as standing:
            for octet, cls in enumerate(classes, 1):
                self.at(f"start {cls.name}")
                self.standing.append(cls(octet, self.work_dir))
                standing.callback(self.stop, self.standing[-1])
            self.single(BEFORE)
            self.rounds()
            self.single(AFTER)
        if contestants.Culvert in classes:
            with self.stack:
                self.single(ALONE)

    def stop(self, contestant):
        """It has been measured."""
        self.at(f"stop {contestant.name}")
        contestant.close()

    def heed(self, signo, _frame):
        """End the run. That may come once: what cleans up is let alone."""
        for other in ENDING:
            signal.signal(other, signal.SIG_IGN)
        self.ended_by = signal.Signals(signo).name
        raise KeyboardInterrupt

    def run_guarded(self, classes):
        """run() until it is over or a signal ends it. Nothing is left of it, whatever becomes of it."""
        for signo in ENDING:
            if signal.getsignal(signo) is not signal.SIG_IGN:  # nohup
                signal.signal(signo, self.heed)
        try:
            with contextlib.redirect_stdout(io.StringIO()):  # the nodes' logs, which tests want to see
                self.run(classes)
        except BaseException:  # what it interrupts may fail in other ways, too
            if not self.ended_by:
                raise
        finally:
            for signo in ENDING:
                signal.signal(signo, signal.SIG_IGN)
            leftovers.remove()
            self.at("")

    def report(self):
        """What report.json holds."""
        unit = {name + suffix: "s per GB" if row.mode == "bulk" else "us per operation"
                for name, row in rows.ROWS.items() for suffix in ("", "_pinned")}
        # effects.py measures direct connections whoever stands
        names = list(dict.fromkeys([c.name for c in self.standing] + [name for _, name, _ in self.samples]))
        seconds, parts = self.clock.report()
        return {"rows": report.rows(self.samples, {c.name: c.baseline for c in self.standing}, names),
                "roles": report.roles(self.role_samples, unit), "curves": self.curves, "missing": self.missing,
                "strangers": self.strangers, "rounds": self.options.rounds, "seconds": self.options.seconds,
                "left_out": self.options.left_out, "ended_by": self.ended_by, "took_s": seconds, "took": parts,
                "limit_s": self.options.limit_s,
                "machine": f"Linux {platform.release()}, {os.cpu_count()} cores, TCP {contestants.CONGESTION}"}


def progress(said):
    """One line that overwrites itself, where somebody watches."""
    if sys.stderr.isatty():
        print(f"\r\033[K{said}", end="", file=sys.stderr, flush=True)


def words(given, known, what):
    """The words of an option, each of which must be known; all that are known when it is empty."""
    chosen = given.replace(",", " ").split()
    for word in chosen:
        if word not in known:
            sys.exit(f"bench: {word}: no such {what}; expected of {' '.join(known)}")
    return chosen or list(known)


def parse():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="short rounds, under 4 minutes")
    parser.add_argument("--rows", default="", help="ids of the rows to run (default: all)")
    parser.add_argument("--contestants", default="", help="names of those to run (default: all)")
    parser.add_argument("--rounds", type=int, help="how many (default: 7, quick 5)")
    parser.add_argument("--out", default="build/bench", help="folder of report.json and report.html")
    options = parser.parse_args()
    is_all = not (options.rows or options.contestants or options.rounds)
    options.limit_s = (QUICK_S if options.quick else WHOLE_S) if is_all else None
    options.seconds = 0.25 if options.quick else 0.6
    options.rounds = options.rounds or (5 if options.quick else 7)
    named = words(options.rows, list(SHOWN), "row")
    options.is_cut = options.quick and not options.rows
    options.rows = [row for row in named if row in QUICK or not options.is_cut]
    options.left_out = [row for row in named if row not in options.rows]
    return options


def show(found, out):
    """The table, and the two files."""
    os.makedirs(out, exist_ok=True)
    with open(os.path.join(out, "report.json"), "w", encoding="utf-8") as f:
        json.dump(found, f, indent=1)
    with open(os.path.join(out, "report.html"), "w", encoding="utf-8") as f:
        f.write(page.page(found))
    names = list(dict.fromkeys(e["contestant"] for e in found["rows"]))
    order = [name for name in page.COLOURS if name in names]
    print(report.table(found["rows"], order, SHOWN))
    for line in [*report.curve_lines(found["curves"]), *report.scaling_lines(found["rows"])]:
        print(line)
    ours = (contestants.Culvert.name, contestants.LocalCulvert.name)
    for verdicts in (report.speed_verdicts(found["rows"]), report.verdicts(found["rows"], ours),
                     report.flat_verdicts(found["rows"], ours), report.duration_verdicts(found)):
        if verdicts:
            print(verdicts)
    for line in report.notes(found):
        print(line)
    print(f"report: {out}/report.json {out}/report.html")


def main():
    options = parse()
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limit))  # inherited by every contestant alike
    leftovers.remove()  # a killed run's
    (ours, missing), (others, not_found) = contestants.available(), peers.available()
    chosen = words(options.contestants, [cls.name for cls in ours + others], "contestant")
    with tempfile.TemporaryDirectory(prefix="culvert-bench-") as work_dir:
        os.chmod(work_dir, 0o755)
        bench = Bench(options, work_dir, {**missing, **not_found})
        try:
            bench.run_guarded([cls for cls in ours + others if cls.name in chosen])
        finally:
            show(bench.report(), options.out)
    if bench.ended_by:
        sys.exit(1)


if __name__ == "__main__":
    main()

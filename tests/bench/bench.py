# SPDX-License-Identifier: Apache-2.0
"""`make bench`: all contestants in one run, interleaved, medians and ratios. Writes report.json beside the table.

A figure alone says nothing on a shared machine: what counts are the ratios to `none` and to `ztunnel` of the same run.
"""
import argparse
import contextlib
import io
import json
import os
import resource
import signal
import statistics
import subprocess
import sys
import tempfile
import time

import contestants
import enrol
from topology import remove_stale

# id: (mode, port offset, arguments before the seconds)
ROWS = {
    "rr1": ("rr", 0, (1, 64)),
    "rr1k": ("rr", 0, (1, 1024)),
    "rr4k": ("rr", 0, (1, 4096)),
    "rr32": ("rr", 0, (32, 64)),
    "bulk1": ("bulk", 1, (1,)),
    "bulk16": ("bulk", 1, (16,)),
    "conn1": ("conn", 2, (1,)),
    "conn16": ("conn", 2, (16,)),
}
PINNED = ("rr1", "rr1k", "rr4k", "bulk1", "conn1")  # the rows of one connection: run on one core as well
RTT = ("p50_us", "p50_us_pinned")
SHOWN = {"rr1": (*RTT, "p99_us"), "rr1k": RTT, "rr4k": RTT, "rr32": ("per_s",),
         "bulk1": ("GBps", "GBps_pinned", "cpu_s_per_GB"), "bulk16": ("GBps", "cpu_s_per_GB"),
         "conn1": (*RTT, "cpu_us_per_op_pinned"), "conn16": ("per_s", "cpu_us_per_op"),
         "rss_idle": ("rss_kB",), "rss_10k": ("rss_kB",), "start_100_pods": ("ms",), "label_to_encrypted": ("ms",)}
IDLE_CONNECTIONS = 10000


def cpu_seconds():
    """Busy CPU time of the whole machine: softirq and kernel work of every role is in it."""
    with open("/proc/stat", encoding="ascii") as f:
        fields = [int(v) for v in f.readline().split()[1:]]
    idle = fields[3] + fields[4]
    return (sum(fields[:8]) - idle) / os.sysconf("SC_CLK_TCK")


def measure(contestant, row, seconds):
    """One run of one row: {metric: value}."""
    mode, offset, args = ROWS[row]
    before = cpu_seconds()
    result = json.loads(contestant.load(mode, offset, *args, seconds))
    busy = cpu_seconds() - before
    done = max(result["done"], 1)
    if mode == "bulk":
        return {"GBps": result["per_s"] / 1e9, "cpu_s_per_GB": busy / (done / 1e9)}
    metrics = {"p50_us": result["p50_us"], "p99_us": result["p99_us"], "per_s": result["per_s"],
               "cpu_us_per_op": busy / done * 1e6}
    if result["failed"]:
        metrics["failed"] = result["failed"]
    return metrics


def measure_rss(contestant, connections):
    """Resident memory with so many idle connections held open; they are closed again."""
    host, port = contestant.target(0)
    holder = contestant.client.popen(contestants.LOADGEN, "idle", host, str(port), str(connections),
                                     stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        if "ready" not in holder.stdout.readline():
            raise RuntimeError(f"{contestant.name}: could not hold {connections} connections")
        time.sleep(1)
        return contestant.rss_kb()
    finally:
        holder.stdin.close()
        holder.wait()


def report(samples, names, baselines):
    """[{id, contestant, metric, median, min, max, ratio_to_none, ratio_to_ztunnel}]; `baselines`: {contestant: its none}."""
    rows = []
    medians = {key: statistics.median(values) for key, values in samples.items()}
    for (row, name, metric), values in samples.items():
        entry = {"id": row, "contestant": name, "metric": metric, "median": round(medians[row, name, metric], 3),
                 "min": round(min(values), 3), "max": round(max(values), 3)}
        for label, other in (("none", baselines[name]), ("ztunnel", "ztunnel")):
            base = medians.get((row, other, metric))
            entry[f"ratio_to_{label}"] = round(entry["median"] / base, 3) if base else None
        rows.append(entry)
    return sorted(rows, key=lambda e: (list(SHOWN).index(e["id"]), e["metric"], names.index(e["contestant"])))


def ratios(entry):
    """The ratios of a table's cell."""
    found = [f"{entry['ratio_to_' + other]:.2f}{other[0]}" for other in ("none", "ztunnel")
             if entry[f"ratio_to_{other}"] and not entry["contestant"].startswith(other)]
    return f" {' '.join(found)}" if found else ""


def table(rows, names):
    """The report for a terminal: one line per row and metric, a column per contestant."""
    found = {(e["id"], e["metric"], e["contestant"]): e for e in rows}
    lines = [f"{'row':<20}{'metric':<14}" + "".join(f"{n:>22}" for n in names)]
    for row, metric in [(row, m) for row, metrics in SHOWN.items() for m in metrics]:
        if any((row, metric, name) in found for name in names):
            cells = []
            for name in names:
                e = found.get((row, metric, name))
                cells.append(f"{e['median']:,.4g}{ratios(e)}" if e else "-")
            lines.append(f"{row:<20}{metric:<14}" + "".join(f"{c:>22}" for c in cells))
    lines.append("0.50n: half of what no mesh has in the same run; 0.50z: half of what ztunnel has")
    return "\n".join(lines)


def progress(text):
    """One line that overwrites itself, where somebody watches."""
    if sys.stderr.isatty():
        print(f"\r\033[K{text}", end="", file=sys.stderr, flush=True)


def measure_enrolment(samples, work_dir, rounds):
    """Culvert alone: there is nothing to compare with without a control plane."""
    for number in range(rounds):
        progress(f"label {number + 1}/{rounds}")
        samples.setdefault(("label_to_encrypted", "culvert-cross", "ms"), []).append(
            enrol.label_to_encrypted(work_dir, 50 + number))
    samples["start_100_pods", "culvert-cross", "ms"] = [enrol.start_with_many_pods(work_dir, progress)]


def run_rounds(standing, rows, rounds, seconds, samples):
    """Interleaved: in each round every row visits every contestant."""
    for number in range(rounds):
        for row, is_pinned in [(row, p) for row in rows for p in (False, True) if not p or row in PINNED]:
            for c in standing:
                progress(f"round {number + 1}/{rounds} {row}{' pinned' if is_pinned else ''} {c.name}")
                with c.pinned() if is_pinned else contextlib.nullcontext():
                    metrics = measure(c, row, seconds)
                for metric, value in metrics.items():
                    samples.setdefault((row, c.name, metric + ("_pinned" if is_pinned else "")), []).append(value)


def measure_memory(standing, samples, missing, wanted):
    """Of the proxies, without load and holding idle connections."""
    for c in standing:
        if not c.proxy_pids():
            continue
        if "rss_idle" in wanted:
            samples["rss_idle", c.name, "rss_kB"] = [c.rss_kb()]
        if "rss_10k" not in wanted:
            continue
        progress(f"{IDLE_CONNECTIONS} idle {c.name}")
        try:
            samples["rss_10k", c.name, "rss_kB"] = [measure_rss(c, IDLE_CONNECTIONS)]
        except RuntimeError as e:
            missing[f"{c.name} rss_10k"] = str(e)


def words(text, known, what):
    """The words of an option, each of which must be known; all that are known when it is empty."""
    chosen = text.replace(",", " ").split()
    for word in chosen:
        if word not in known:
            sys.exit(f"bench: {word}: no such {what}; expected of {' '.join(known)}")
    return chosen or list(known)


def parse():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="short rounds, under 4 minutes")
    parser.add_argument("--rows", default="", help="ids of the rows to run (default: all)")
    parser.add_argument("--contestants", default="", help="names of those to run (default: all)")
    parser.add_argument("--rounds", type=int, help="how many (default: 7, quick 3)")
    parser.add_argument("--out", default="build/bench/report.json")
    options = parser.parse_args()
    options.seconds = 0.7 if options.quick else 2
    options.rounds = options.rounds or (3 if options.quick else 7)
    options.rows = words(options.rows, list(SHOWN), "row")
    return options


def run_contestants(options, classes, work_dir, samples, missing):
    """All of them stand at once; [contestant] as they were, closed again."""
    standing = []
    try:
        for octet, cls in enumerate(classes, 1):
            progress(f"start {cls.name}")
            standing.append(cls(octet, work_dir))
        measure_memory(standing, samples, missing, {"rss_idle"} & set(options.rows))
        run_rounds(standing, [row for row in ROWS if row in options.rows], options.rounds, options.seconds, samples)
        measure_memory(standing, samples, missing, {"rss_10k"} & set(options.rows))
    finally:
        with contextlib.redirect_stdout(io.StringIO()):  # the logs, which tests want to see
            for c in reversed(standing):
                c.close()
    return standing


def main():
    options = parse()
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limit))  # inherited by every contestant alike
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("stopped"))
    remove_stale("cb")
    classes, missing = contestants.available()
    chosen = words(options.contestants, [cls.name for cls in classes], "contestant")
    samples = {}
    os.makedirs(os.path.dirname(options.out), exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="culvert-bench-") as work_dir:
        os.chmod(work_dir, 0o755)
        standing = run_contestants(options, [c for c in classes if c.name in chosen], work_dir, samples, missing)
        if "label_to_encrypted" in options.rows and "culvert-cross" in chosen:
            measure_enrolment(samples, work_dir, options.rounds)
    progress("")
    rows = report(samples, [c.name for c in standing], {c.name: c.baseline for c in standing})
    with open(options.out, "w", encoding="utf-8") as f:
        json.dump({"rows": rows, "missing": missing, "rounds": options.rounds, "seconds": options.seconds}, f, indent=1)
    print(table(rows, [c.name for c in standing]))
    for name, why in missing.items():
        print(f"missing: {name}: {why}")
    print(f"report: {options.out}")


if __name__ == "__main__":
    main()

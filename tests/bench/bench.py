# SPDX-License-Identifier: Apache-2.0
"""`make bench`: all contestants in one run, interleaved, medians and ratios. Writes report.json beside the table.

A figure alone says nothing on a shared machine: what counts are the ratios to `none` and to `ztunnel` of the same run.
"""
import argparse
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
    "rr32": ("rr", 0, (32, 64)),
    "bulk1": ("bulk", 1, (1,)),
    "bulk16": ("bulk", 1, (16,)),
    "conn1": ("conn", 2, (1,)),
    "conn16": ("conn", 2, (16,)),
}
SHOWN = {"rr1": ("p50_us", "p99_us"), "rr1k": ("p50_us",), "rr32": ("per_s",), "bulk1": ("GBps", "cpu_s_per_GB"),
         "bulk16": ("GBps", "cpu_s_per_GB"), "conn1": ("p50_us", "cpu_us_per_op"), "conn16": ("per_s", "cpu_us_per_op"),
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


def report(samples, names):
    """[{id, contestant, metric, median, min, max, ratio_to_none, ratio_to_ztunnel}]."""
    rows = []
    medians = {key: statistics.median(values) for key, values in samples.items()}
    for (row, name, metric), values in samples.items():
        entry = {"id": row, "contestant": name, "metric": metric, "median": round(medians[row, name, metric], 3),
                 "min": round(min(values), 3), "max": round(max(values), 3)}
        for other in ("none", "ztunnel"):
            base = medians.get((row, other, metric))
            entry[f"ratio_to_{other}"] = round(entry["median"] / base, 3) if base else None
        rows.append(entry)
    return sorted(rows, key=lambda e: (list(SHOWN).index(e["id"]), e["metric"], names.index(e["contestant"])))


def table(rows, names):
    """The report for a terminal: one line per row and metric, a column per contestant."""
    found = {(e["id"], e["metric"], e["contestant"]): e for e in rows}
    lines = [f"{'row':<20}{'metric':<14}" + "".join(f"{n:>20}" for n in names)]
    for row, metrics in SHOWN.items():
        for metric in metrics:
            cells = []
            for name in names:
                e = found.get((row, metric, name))
                ratio = f" ({e['ratio_to_ztunnel']:.2f}z)" if e and e["ratio_to_ztunnel"] and name != "ztunnel" else ""
                cells.append(f"{e['median']:,.4g}{ratio}" if e else "-")
            lines.append(f"{row:<20}{metric:<14}" + "".join(f"{c:>20}" for c in cells))
    lines.append("(0.50z: half of what ztunnel has in the same run)")
    return "\n".join(lines)


def progress(text):
    """One line that overwrites itself."""
    print(f"\r\033[K{text}", end="", file=sys.stderr, flush=True)


def measure_enrolment(samples, work_dir, rounds):
    """Culvert alone: there is nothing to compare with without a control plane."""
    for number in range(rounds):
        progress(f"label {number + 1}/{rounds}")
        samples.setdefault(("label_to_encrypted", "culvert-cross", "ms"), []).append(
            enrol.label_to_encrypted(work_dir, 50 + number))
    samples["start_100_pods", "culvert-cross", "ms"] = [enrol.start_with_many_pods(work_dir, progress)]


def run_rounds(standing, rounds, seconds, samples):
    """Interleaved: in each round every row visits every contestant."""
    for number in range(rounds):
        for row in ROWS:
            for c in standing:
                progress(f"round {number + 1}/{rounds} {row} {c.name}")
                for metric, value in measure(c, row, seconds).items():
                    samples.setdefault((row, c.name, metric), []).append(value)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="short rounds, under 4 minutes")
    parser.add_argument("--out", default="build/bench/report.json")
    options = parser.parse_args()
    rounds, seconds = (3, 0.7) if options.quick else (7, 2)
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limit))  # inherited by every contestant alike
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("stopped"))
    remove_stale("cb")
    classes, missing = contestants.available()
    samples = {}
    standing = []
    os.makedirs(os.path.dirname(options.out), exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="culvert-bench-") as work_dir:
        os.chmod(work_dir, 0o755)
        try:
            for octet, cls in enumerate(classes, 1):
                standing.append(cls(octet, work_dir))
            for c in standing[1:]:
                samples[("rss_idle", c.name, "rss_kB")] = [c.rss_kb()]
            run_rounds(standing, rounds, seconds, samples)
            for c in standing[1:]:
                progress(f"{IDLE_CONNECTIONS} idle {c.name}")
                try:
                    samples[("rss_10k", c.name, "rss_kB")] = [measure_rss(c, IDLE_CONNECTIONS)]
                except RuntimeError as e:
                    missing[f"{c.name} rss_10k"] = str(e)
        finally:
            for c in reversed(standing):
                c.close()
        measure_enrolment(samples, work_dir, rounds)
    print(file=sys.stderr)
    names = [c.name for c in standing]
    rows = report(samples, names)
    with open(options.out, "w", encoding="utf-8") as f:
        json.dump({"rows": rows, "missing": missing, "rounds": rounds, "seconds": seconds}, f, indent=1)
    print(table(rows, names))
    for name, why in missing.items():
        print(f"missing: {name}: {why}")
    print(f"report: {options.out}")


if __name__ == "__main__":
    main()

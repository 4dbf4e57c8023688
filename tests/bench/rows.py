# SPDX-License-Identifier: Apache-2.0
"""The rows of the benchmark: what is run, which metrics of it are shown. A row is added by adding it to ROWS (visited in
each round, for each contestant) or, when it is measured once, to BEFORE, AFTER or
ALONE in bench.py."""
import dataclasses
import json
import math
import time

from cost import STEAL_SHARE, Meter

TRIES = 3  # of a run in which the host takes CPU time away
LEFT_OUT_MAX = 0.5  # share of its latencies that are left out, over which an open loop has no percentiles: 0 would be one, too


@dataclasses.dataclass(frozen=True)
class Row:
    """`args` of the load generator's `mode` before the seconds, against the server's PORT + `offset`."""

    mode: str
    offset: int
    args: tuple
    shown: tuple  # metrics of the terminal's table
    is_pinned: bool = False  # one connection: run on one core as well
    scaled: str = ""  # many: in a whole run those of SCALED run on one core as well, to tell what more are to this metric
    half_of: str = ""  # open loop, at half of the rate that ztunnel reaches in this row,
    is_of_slowest: bool = False  # or at half of what the slowest contestant does
    share: float = 1  # of the seconds that a run has


RTT = ("p50_us", "p50_us_pinned")
ROWS = {
    "rr1": Row("rr", 0, (1, 64), (*RTT, "p99_us"), is_pinned=True),
    "rr1k": Row("rr", 0, (1, 1024), RTT, is_pinned=True),
    "rr4k": Row("rr", 0, (1, 4096), RTT, is_pinned=True),
    "rr32": Row("rr", 0, (32, 64), ("per_s", "per_s_pinned", "cpu_us_per_op"), scaled="per_s"),
    "bulk1": Row("bulk", 1, (1,), ("GBps", "GBps_pinned", "cpu_s_per_GB"), is_pinned=True),
    "bulk16": Row("bulk", 1, (16,), ("GBps", "GBps_pinned", "cpu_s_per_GB"), scaled="GBps"),
    "conn1": Row("conn", 2, (1,), (*RTT, "cpu_us_per_op_pinned"), is_pinned=True),
    "conn16": Row("conn", 2, (16,), ("per_s", "cpu_us_per_op")),
    "rr1_half_load": Row("open", 0, (1, 64), ("p50_us", "p99_us", "p99_us_pinned"), is_pinned=True, half_of="rr1"),
    "http1": Row("http", 3, (16,), ("per_s", "cpu_us_per_op")),
    "http1_half_load": Row("open", 3, (16, 0), ("p50_us", "p99_us"), half_of="http1", is_of_slowest=True, share=0.5),
}
SCALED = ("none", "culvert-cross", "ztunnel")  # the pairs between two nodes; each takes 10 s of a run


@dataclasses.dataclass
class Spare:
    """Seconds that may still go into making runs again: a host that always takes something would triple the whole."""

    left: float = math.inf


def has_percentiles(result):
    """Whether enough is left of loadgen's latencies to speak of them."""
    return result.get("left_out", 0) <= LEFT_OUT_MAX


def run_undisturbed(contestant, load, spare):
    """Load it, again while the host takes too much away. Return: (loadgen's result, {role: CPU seconds}, share taken of the last)."""
    for _ in range(TRIES):
        begin = time.monotonic()
        meter = Meter(contestant)
        result = json.loads(contestant.load(*load))
        used = meter.read()
        if (meter.steal <= STEAL_SHARE and has_percentiles(result)) or spare.left <= 0:
            break
        spare.left -= time.monotonic() - begin
    return result, used, meter.steal


def measure(contestant, row, seconds, spare, rate=None):
    """One run of one row, at `rate` where it is an open loop. Return: ({metric: value}, {role: CPU seconds per GB or microseconds per
    operation})."""
    load = (row.mode, row.offset, *row.args, seconds * row.share, *([rate] if rate else []))
    result, used, steal = run_undisturbed(contestant, load, spare)
    done = max(result["done"], 1)
    if row.mode == "bulk":
        per = {role: s / (done / 1e9) for role, s in used.items()}
        metrics = {"GBps": result["per_s"] / 1e9, "cpu_s_per_GB": per["machine"]}
    else:
        per = {role: s / done * 1e6 for role, s in used.items()}
        metrics = {name: result[name] for name in (*(("p50_us", "p99_us") if has_percentiles(result) else ()), "per_s")}
        metrics["cpu_us_per_op"] = per["machine"]
    metrics.update({name: result[name] for name in ("failed", "unanswered", "left_out") if result.get(name)})
    if steal > STEAL_SHARE:
        metrics["steal_percent"] = steal * 100
    return metrics, per

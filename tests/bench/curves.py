# SPDX-License-Identifier: Apache-2.0
"""Curves over size: what a figure does when the size grows, and the exponent k of cost = a + b * size^k that fits best."""
import statistics
import subprocess
import time

from contestants import LOADGEN
from rows import Row, measure

MESSAGE_SIZES = (64, 1024, 4096, 16384, 65536, 262144)
CONNECTIONS = (100, 1000, 3000, 10000)
IDLE_S = 1.5  # what opening them took is over by then, for every contestant alike
FLAT_SHARE = 0.25  # of a: what grows by no more from the smallest size to the largest is flat


def noise(values):
    """How far rounds of the same lie apart: between their quartiles, because one that was disturbed says nothing of the others."""
    low, _, high = statistics.quantiles(values, n=4) if len(values) > 1 else (0, 0, 0)
    return high - low


def fit(xs, ys, rounds_differ=0):
    """(a, b, k) with the least sum of squared relative errors; k in steps of 0.02 up to 2, a not below 0. (a, 0, 0) where nothing grows, or
    no more than the rounds of one size differ or FLAT_SHARE of a: the k that suits the noise of a few points best may be any."""
    best = None
    for step in range(1, 101):
        k = step / 50
        a, b = line([x ** k for x in xs], ys)
        error = sum(((a + b * x ** k) / y - 1) ** 2 for x, y in zip(xs, ys) if y)
        if best is None or error < best[0]:
            best = error, (a, b, k)
    a, b, k = best[1]
    if b * (max(xs) ** k - min(xs) ** k) > max(rounds_differ, FLAT_SHARE * a):
        return a, b, k
    return *line([1] * len(xs), ys), 0


def line(us, ys):
    """(a, b) of a + b * u with the least squared relative error; through 0 when a would be negative."""
    weights = [1 / max(y, 1e-9) ** 2 for y in ys]
    total = sum(weights)
    mean_u = sum(w * u for w, u in zip(weights, us)) / total
    mean_y = sum(w * y for w, y in zip(weights, ys)) / total
    spread = sum(w * (u - mean_u) ** 2 for w, u in zip(weights, us))
    b = sum(w * (u - mean_u) * (y - mean_y) for w, u, y in zip(weights, us, ys)) / spread if spread else 0
    a = mean_y - b * mean_u
    if a < 0:
        a, b = 0, sum(w * u * y for w, u, y in zip(weights, us, ys)) / sum(w * u * u for w, u in zip(weights, us))
    return a, b


def curve(name, contestant, metric, points, rounds_differ=0):
    """One entry of the report's `curves`; `rounds_differ`: by how much those of a size do, where there are some."""
    entry = {"id": name, "contestant": contestant, "metric": metric, "points": [[x, round(y, 3)] for x, y in points]}
    if len(points) > 2:
        a, b, k = fit([x for x, _ in points], [y for _, y in points], rounds_differ)
        entry.update(a=float(f"{a:.4g}"), b=float(f"{b:.4g}"), exponent=k)
    return entry


def curve_of_rounds(name, contestant, metric, rounds):
    """The same of {size: values}: what is usual in their middle, and what their rounds differ by."""
    return curve(name, contestant, metric, [(size, statistics.median(values)) for size, values in rounds.items()],
                 statistics.median(map(noise, rounds.values())))


def over_message_size(standing, rounds, seconds, spare, progress):
    """Round trips of one connection on one core, p50, over the message's size."""
    found = {}
    for number in range(rounds):
        for size in MESSAGE_SIZES:
            for c in standing:
                progress(f"curve over size, round {number + 1}/{rounds}: {size} {c.name}")
                with c.pinned():
                    metrics, _ = measure(c, Row("rr", 0, (1, size), ()), seconds, spare)
                found.setdefault((c.name, size), []).append(metrics["p50_us"])
    return [curve_of_rounds("rr1_size", c.name, "p50_us_pinned", {size: found[c.name, size] for size in MESSAGE_SIZES}) for c in standing]


def memory_with(contestant, connections):
    """Memory of the client side's proxy with so many idle connections held open; they are closed again. Return: (resident kB, by how
    many kB the process's own grew, kB of its node's BPF maps or None)."""
    host, port = contestant.target(0)
    before = contestant.anonymous_kb()
    holder = contestant.client.popen(*contestant.cgroup.within(LOADGEN, "idle", host, str(port), str(connections)),
                                     stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        if "ready" not in holder.stdout.readline():
            raise RuntimeError(f"{contestant.name}: could not hold {connections} connections")
        time.sleep(IDLE_S)
        return contestant.rss_kb(), contestant.anonymous_kb() - before, contestant.maps_kb()
    finally:
        holder.stdin.close()
        holder.wait()


def over_connections(contestant, numbers, progress):
    """Resident memory over these numbers of idle connections. Return: (curve, by how many kB the process's own grew with the last of
    them, kB of BPF maps then or None)."""
    points = [(0, contestant.rss_kb())]
    for connections in numbers:
        progress(f"{connections} idle connections {contestant.name}")
        rss, growth, maps = memory_with(contestant, connections)
        points.append((connections, rss))
    return curve("rss_connections", contestant.name, "rss_kB", points), growth, maps

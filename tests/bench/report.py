# SPDX-License-Identifier: Apache-2.0
"""From samples to the report: medians, ratios inside the run, marks where the ground itself moved."""
import statistics
import textwrap

UNSTEADY = 0.10  # spread of the baseline over its median, from which on a result is marked


def spread(values):
    """Between the lowest and the highest, as a share of the median."""
    median = statistics.median(values)
    return (max(values) - min(values)) / median if median else 0.0


def rows(samples, baselines, order):
    """`samples`: {(row, contestant, metric): values}; `baselines`: {contestant: its no mesh}; `order`: contestants."""
    found = []
    medians = {key: statistics.median(values) for key, values in samples.items()}
    for (row, name, metric), values in samples.items():
        entry = {"id": row, "contestant": name, "metric": metric, "median": round(medians[row, name, metric], 3),
                 "min": round(min(values), 3), "max": round(max(values), 3), "rounds": len(values)}
        for label, other in (("none", baselines.get(name, "none")), ("ztunnel", "ztunnel")):
            base = medians.get((row, other, metric))
            entry[f"ratio_to_{label}"] = round(medians[row, name, metric] / base, 3) if base else None
        ground = samples.get((row, baselines.get(name, "none"), metric))
        entry["baseline_spread"] = round(spread(ground), 3) if ground else None
        entry["is_unsteady"] = bool(ground and spread(ground) > UNSTEADY)
        found.append(entry)
    return sorted(found, key=lambda e: (e["id"], e["metric"], order.index(e["contestant"])))


def roles(samples, unit_of):
    """CPU by role: `samples` {(row, contestant): [{role: value}]}; `unit_of` {row: what the values are}."""
    return [{"id": row, "contestant": name, "unit": unit_of[row],
             **{role: round(statistics.median(s[role] for s in found), 3) for role in found[0]}}
            for (row, name), found in samples.items()]


def figure(value):
    """Three digits, no exponent."""
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def ratios(entry):
    """The ratios of a table's cell."""
    found = [(entry[f"ratio_to_{other}"], other[0]) for other in ("none", "ztunnel")
             if entry[f"ratio_to_{other}"] and not entry["contestant"].startswith(other)]
    return "".join(f" {ratio:.{2 if ratio < 10 else 0}f}{letter}" for ratio, letter in found)


def cell(entry):
    """A figure with its ratios; `~` when the baseline was unsteady."""
    return f"{'~' if entry['is_unsteady'] else ''}{figure(entry['median'])}{ratios(entry)}" if entry else "-"


def table(entries, names, shown):
    """The report for a terminal: one line per row and metric, a column per contestant. `shown`: {row: metrics}."""
    found = {(e["id"], e["metric"], e["contestant"]): e for e in entries}
    lines = [f"{'row':<28}{'metric':<21}" + "".join(f"{n:>22}" for n in names)]
    for row, metric in [(row, m) for row, metrics in shown.items() for m in metrics]:
        if any((row, metric, name) in found for name in names):
            lines.append(f"{row:<28}{metric:<21}" + "".join(f"{cell(found.get((row, metric, n))):>22}" for n in names))
    lines.append("0.50n: half of what no mesh has in the same run; 0.50z: half of what ztunnel has; "
                 "~: the rounds of no mesh differ by more than 10 %")
    return "\n".join(lines)


def strangers_line(count):
    """What `cost.strangers()` found."""
    return (f"disturbed: {count} TCP programs of others at the root of the cgroup tree, which ran for culvert-*'s connections more often "
            "than for no mesh's: connections look too dear")


def notes(found):
    """What else is to be said of a run; `found`: what report.json holds."""
    lines = [f"missing: {name}: {why}" for name, why in found["missing"].items()]
    if found["strangers"]:
        lines.append(strangers_line(found["strangers"]))
    if found["left_out"]:
        lines.append(wrapped("left out of a quick run (ROWS names what to run): ", found["left_out"]))
    if found["ended_by"]:
        lines.append(f"ended by {found['ended_by']}: this is what was measured until then")
    parts = [f"{part['id']} {part['seconds']:.0f}" for part in found["took"] if part["seconds"] >= 1]
    return [*lines, wrapped(f"took {found['took_s']:.0f} s: ", parts)]


def wrapped(start, words):
    """A list as lines that a terminal has room for."""
    bound = ", ".join(word.replace(" ", chr(160)) for word in words)
    return textwrap.fill(start + bound, 160, break_on_hyphens=False).replace(chr(160), " ")


def curve_lines(curves):
    """The fitted exponents, a line per curve."""
    return [f"{c['id']:<28}{c['metric']:<21}{c['contestant']:<16}" + " ".join(f"{x}:{y:g}" for x, y in c["points"])
            + (f"  = {c['a']:g} + {c['b']:g} * size^{c['exponent']:g}" if "exponent" in c else "") for c in curves]


# What has a limit: the row's name or how names of such rows begin, the metric, the most that it may be.
LIMITS = (("slow_reader", "fast_loss_percent", 5), ("slow_reader", "rss_growth_kB", 1024), ("attack_", "cpu_per_attacker", 1),
          ("attack_", "p99_to_quiet", 1.5), ("policy_effect", "cut_p99_ms_small", 100), ("policy_effect", "cut_p99_ms_large", 100),
          ("scale_processes", "ztunnel_rss_bytes_per_workload", 600), ("scale_processes", "control_load_ms", 1000),
          ("start_100_pods", "agent_ms", 1000),
          ("label_to_encrypted", "ms", 200),
          ("control_cluster", "start_ms_10k_pods", 2000), ("control_cluster", "rss_kB_near_empty", 20480),
          ("control_cluster", "rss_kB_10k_pods", 61440), ("endpoint_effect", "p99_ms_1k_pods", 100),
          ("endpoint_effect", "p99_ms_10k_pods", 100), ("xds_clients", "p99_ms_with_one_stopped", 100))


def verdicts(entries, name):
    """A line for each limit of a contestant's rows."""
    lines = []
    for entry in entries:
        for row, metric, most in LIMITS:
            if entry["contestant"] == name and entry["metric"] == metric and (entry["id"] == row or (row[-1] == "_" and
                                                                                                   entry["id"].startswith(row))):
                word = "ok    " if entry["median"] <= most else "MISSED"
                lines.append(f"{word} {entry['id']:<28}{metric:<32}{figure(entry['median']):>10} of at most {figure(most)}")
    return "\n".join(lines)

# SPDX-License-Identifier: Apache-2.0
"""From samples to the report: medians, ratios inside the run, marks where the ground itself moved."""
import statistics
import textwrap

from rows import ROWS, SCALED

UNSTEADY = 0.10  # spread of rounds over their median, from which on what rests on them is marked


def spread(values):
    """Between the lowest and the highest, as a share of the median."""
    median = statistics.median(values)
    return (max(values) - min(values)) / median if median else 0.0


def is_unsteady(*sides):
    """Do the rounds of one of these differ by more than a comparison bears?"""
    return any(spread(values) > UNSTEADY for values in sides if values)


def each_ratio(values, base):
    """Of one contestant's rounds to another's, round by round, because the ground moves from round to round by more than what is to be
    seen; of the medians where one of them lacks a round. None without the other."""
    if not values or not base or not statistics.median(base):
        return None
    if len(values) == len(base) and all(base):
        return [v / b for v, b in zip(values, base)]
    return [statistics.median(values) / statistics.median(base)]


def ratio(values, base):
    """The median of these ratios, None without."""
    found = each_ratio(values, base)
    return round(statistics.median(found), 3) if found else None


def scaling(values, alone, ground, ground_alone):
    """What all cores are to a busy pair that has one otherwise (`alone`), to what they are to no mesh."""
    return {"ratio_to_scaling": ratio(each_ratio(values, alone), each_ratio(ground, ground_alone)),
            "is_unsteady_to_scaling": is_unsteady(values, alone, ground, ground_alone)}


def rows(samples, baselines, order):
    """`samples`: {(row, contestant, metric): values}; `baselines`: {contestant: its no mesh}; `order`: contestants."""
    found = []
    for (row, name, metric), values in samples.items():
        entry = {"id": row, "contestant": name, "metric": metric, "median": round(statistics.median(values), 3),
                 "min": round(min(values), 3), "max": round(max(values), 3), "rounds": len(values), "spread": round(spread(values), 3)}
        none = baselines.get(name, "none")
        ground = samples.get((row, none, metric))
        for label, other in (("none", ground), ("ztunnel", samples.get((row, "ztunnel", metric)))):
            entry[f"ratio_to_{label}"] = ratio(values, other)
            entry[f"is_unsteady_to_{label}"] = is_unsteady(values, other)
        alone, ground_alone = (samples.get((row, who, f"{metric}_pinned")) for who in (name, none))
        if alone and row in ROWS and ROWS[row].scaled == metric:
            entry.update(scaling(values, alone, ground, ground_alone))
        entry["baseline_spread"] = round(spread(ground), 3) if ground else None
        entry["is_unsteady"] = is_unsteady(ground)
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


def mark(is_doubtful):
    """What stands before a figure, a ratio or the words of a verdict."""
    return "~" if is_doubtful else ""


def ratios(entry):
    """The ratios of a table's cell; `~` when either side was unsteady."""
    found = [(entry[f"ratio_to_{other}"], mark(entry[f"is_unsteady_to_{other}"]), other[0]) for other in ("none", "ztunnel")
             if entry[f"ratio_to_{other}"] and not entry["contestant"].startswith(other)]
    return "".join(f" {doubt}{ratio:.{2 if ratio < 10 else 0}f}{letter}" for ratio, doubt, letter in found)


def cell(entry):
    """A figure with its ratios; `~` when the baseline was unsteady."""
    return f"{mark(entry['is_unsteady'])}{figure(entry['median'])}{ratios(entry)}" if entry else "-"


def by_cell(entries):
    """{(row, metric, contestant): entry}."""
    return {(e["id"], e["metric"], e["contestant"]): e for e in entries}


def table(entries, names, shown):
    """The report for a terminal: one line per row and metric, a column per contestant. `shown`: {row: metrics}."""
    found = by_cell(entries)
    lines = [f"{'row':<28}{'metric':<21}" + "".join(f"{n:>22}" for n in names)]
    for row, metric in [(row, m) for row, metrics in shown.items() for m in metrics]:
        if any((row, metric, name) in found for name in names):
            lines.append(f"{row:<28}{metric:<21}" + "".join(f"{cell(found.get((row, metric, n))):>22}" for n in names))
    lines.append("0.50n: half of what no mesh has in the same run; 0.50z: half of what ztunnel has; "
                 "~: the rounds of no mesh differ by more than 10 %, before a ratio: those of either side")
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


def formula(curve):
    """What has been fitted: a constant where nothing grows."""
    if "exponent" not in curve:
        return ""
    return f"  = {curve['a']:g}" + (f" + {curve['b']:g} * size^{curve['exponent']:g}" if curve["exponent"] else "")


def curve_lines(curves):
    """The fitted exponents, a line per curve."""
    return [f"{c['id']:<28}{c['metric']:<21}{c['contestant']:<16}" + " ".join(f"{x}:{y:g}" for x, y in c["points"]) + formula(c)
            for c in curves]


def scaling_lines(entries):
    """What all cores are to a busy pair that has one otherwise: a line for each row that ran with both."""
    found = by_cell(entries)
    lines = []
    for row, metric in ((name, row.scaled) for name, row in ROWS.items() if row.scaled):
        times = [f"{name} {found[row, metric, name]['median'] / alone['median']:.2f} times" for name in SCALED
                 if (alone := found.get((row, f"{metric}_pinned", name))) and alone["median"]]
        if times:
            lines.append(f"{row} {metric} with all cores, to what it is with one: {', '.join(times)}")
    return lines


SIZES = ("small", "medium", "large")
# What has a limit: the row's name or how names of such rows begin, the metric, the most that it may be, whom alone it is for. Nothing is
# kept of a direct connection: 256 kB for 10,000 are 26 bytes each, and malloc() has no piece below 32.
LIMITS = (("slow_reader", "fast_loss_percent", 5), ("slow_reader", "rss_growth_kB", 1024), ("attack_", "cpu_per_attacker", 1),
          ("attack_", "p99_to_quiet_pinned", 1.5), ("revocation", "cut_max_ms", 100),
          *((row, f"{what}_max_ms_{size}", 30) for row, parts in (("policy_effect", ("cut", "refused")),
                                                                  ("endpoint_connection", ("reached", "left")))
            for what in parts for size in SIZES),
          ("scale_processes", "ztunnel_rss_bytes_per_workload", 600), ("scale_processes", "control_load_ms", 1000),
          ("scale_processes", "ztunnel_load_ms", 1000),
          ("scale_processes", "idle_us_per_s", 1000),
          ("start_100_pods", "agent_ms", 1000), ("rss_idle", "rss_kB", 8192), ("rss_10k", "rss_kB", 18432, "culvert-cross"),
          ("rss_10k", "rss_kB", 8192, "culvert-local"), ("rss_10k", "growth_kB", 256, "culvert-local"),
          ("label_to_encrypted", "ms", 200),
          ("control_cluster", "start_ms_10k_pods", 2000), ("control_cluster", "rss_kB_near_empty", 20480),
          ("control_cluster", "rss_kB_10k_pods", 61440), ("endpoint_effect", "p99_ms_1k_pods", 100),
          ("endpoint_effect", "p99_ms_10k_pods", 100), ("xds_clients", "p99_ms_with_one_stopped", 100))


# What is to cost the same however much there is: row, metric with much, metric with little, how many times that it may be. Twice: what
# one of so many needs is seldom in a cache, and a tree has a level more; a cost that grows with the number would be 1,000 times.
# Rules of not-fields alone are bits of which all are looked at.
FLAT = (*(("decision", f"{scope}_us_10000", f"{scope}_us_10", 2.0) for scope in ("global", "namespace", "selector")),
        *(("decision", f"{scope}_not_us_10000", f"{scope}_not_us_10", 3.0) for scope in ("global", "namespace", "selector")),
        *(("scale_model", f"{part}_change_warm_us_large", f"{part}_change_warm_us_small", 2.0)
          for part in ("control_pod", "control_policy", "ztunnel")),
        *((row, f"{what}_{share}_ms_{size}", f"{what}_{share}_ms_small", 2.0)
          for row, what in (("policy_effect", "cut"), ("policy_effect", "refused"), ("endpoint_connection", "reached"))
          for share in ("p50", "max") for size in SIZES[1:]),
        *(("endpoint_effect", f"{share}_ms_10k_pods", f"{share}_ms_1k_pods", 2.0) for share in ("p50", "p99")))


# What is asked as a ratio inside the run: row, metric, contestant, which ratio (`added`: what the contestant adds to no mesh, to what
# ztunnel adds; `scaling`: what all cores are to a busy pair that has one otherwise, to what they are to no mesh), True: at least, the
# bound. Scaling: not less than no mesh's by more than rounds may differ.
SPEED = (("rr1", "p50_us_pinned", "culvert-local", "none", False, 0.92), ("rr4k", "p50_us_pinned", "culvert-local", "none", False, 0.95),
         ("rr32", "per_s", "culvert-local", "none", True, 1.15), ("bulk1", "GBps", "culvert-local", "none", True, 1.0),
         ("bulk16", "GBps", "culvert-local", "none", True, 1.05), ("bulk1", "cpu_s_per_GB", "culvert-local", "none", False, 0.95),
         ("conn16", "per_s", "culvert-local", "none", True, 0.9), ("conn16", "per_s", "culvert-bypass", "none", True, 1.25),
         ("conn16", "cpu_us_per_op", "culvert-local", "none", False, 1.1),
         ("rr1_half_load", "p99_us", "culvert-local", "none", False, 1.0),
         ("rr1", "p50_us_pinned", "culvert-cross", "added", False, 0.85), ("rr4k", "p50_us_pinned", "culvert-cross", "added", False, 0.85),
         ("rr32", "per_s", "culvert-cross", "ztunnel", True, 2), ("bulk1", "GBps", "culvert-cross", "ztunnel", True, 1.2),
         ("bulk16", "GBps", "culvert-cross", "ztunnel", True, 1.6), ("bulk1", "cpu_s_per_GB", "culvert-cross", "ztunnel", False, 0.72),
         ("conn16", "per_s", "culvert-cross", "ztunnel", True, 3), ("conn16", "cpu_us_per_op", "culvert-cross", "ztunnel", False, 0.35),
         ("rr1_half_load", "p99_us", "culvert-cross", "ztunnel", False, 1.0),
         *((name, row.scaled, "culvert-cross", "scaling", True, 1 - UNSTEADY) for name, row in ROWS.items() if row.scaled))
OF = {"none": "no mesh", "added": "what ztunnel adds", "scaling": "what more cores are to no mesh"}


def speed_ratio(found, row, metric, name, other):
    """One of SPEED. `found`: {(row, metric, contestant): entry}. None where something was not measured."""
    entry = found[row, metric, name]
    if other != "added":
        return entry[f"ratio_to_{other}"]
    peer, ground = found.get((row, metric, "ztunnel")), found.get((row, metric, "none"))
    if not peer or not ground or peer["median"] <= ground["median"]:
        return None
    return (entry["median"] - ground["median"]) / (peer["median"] - ground["median"])


def speed_verdicts(entries):
    """A line for each of SPEED that ours was measured for; `~` where one of the compared moved, which makes either word a guess. Where what
    it is compared with was missing (Istio's ztunnel is no part of this tree) the line says so: a bound is not kept by leaving out."""
    found = by_cell(entries)
    lines = []
    for row, metric, name, other, is_least, bound in SPEED:
        entry = found.get((row, metric, name))
        if not entry or (other == "scaling" and "ratio_to_scaling" not in entry):
            continue
        ratio = speed_ratio(found, row, metric, name, other)
        if ratio is None:
            word, doubt, value = "UNKNOWN", "", "?"
        else:
            word, value = "ok" if (ratio >= bound if is_least else ratio <= bound) else "MISSED", f"{ratio:.2f}"
            doubt = mark(any(entry[f"is_unsteady_to_{side}"] for side in (("none", "ztunnel") if other == "added" else (other,))))
        said = f"{value:>6} of {OF.get(other, other)}, at {'least' if is_least else 'most'} {bound}"
        lines.append(f"{word:<7}{doubt:<1}{row:<14}{metric:<15}{name:<15}{said}")
    return "\n".join(lines)


def is_unsteady_run(entries):
    """Did the rounds of no mesh differ by too much in most of what has some? Then so did the ground under what has none of its own."""
    grounds = [e["baseline_spread"] for e in entries if e["baseline_spread"] is not None]
    return bool(grounds) and statistics.median(grounds) > UNSTEADY


def is_doubtful(is_run_unsteady, *entries):
    """Do the rounds of one of these differ, or the run's, which nothing but memory is untouched by?"""
    is_of_memory = any(unit in entries[0]["metric"] for unit in ("kB", "bytes"))
    return (is_run_unsteady and not is_of_memory) or any(e["spread"] > UNSTEADY for e in entries)


def verdict(is_kept, doubt, row, metric, name, said):
    """One line; `doubt`: its mark."""
    return f"{'ok' if is_kept else 'MISSED':<7}{doubt:<1}{row:<28}{metric:<36}{name:<15}{said}"


def has_limit(entry, row, metric, name=None):
    """Is it one of these?"""
    is_row = entry["id"] == row or (row[-1] == "_" and entry["id"].startswith(row))
    return is_row and entry["metric"] == metric and entry["contestant"] == (name or entry["contestant"])


def verdicts(entries, names):
    """A line for each limit of these contestants' rows."""
    is_run_unsteady = is_unsteady_run(entries)
    return "\n".join(
        verdict(e["median"] <= most, mark(is_doubtful(is_run_unsteady, e)), e["id"], metric, e["contestant"],
                f"{figure(e['median']):>8} of at most {figure(most)}")
        for e in entries if e["contestant"] in names for row, metric, most, *only in LIMITS if has_limit(e, row, metric, *only))


def flat_verdicts(entries, names):
    """A line for each of FLAT that was measured."""
    found, is_run_unsteady, lines = by_cell(entries), is_unsteady_run(entries), []
    for row, much, little, most in FLAT:
        for name in names:
            large, small = found.get((row, much, name)), found.get((row, little, name))
            if large and small and small["median"]:
                times = large["median"] / small["median"]
                lines.append(verdict(times <= most, mark(is_doubtful(is_run_unsteady, large, small)), row, much, name,
                                     f"{times:>8.2f} times {little}, at most {most}"))
    return "\n".join(lines)


def duration_verdicts(found):
    """A line for a run that was to be over in some time; `found`: what report.json holds."""
    if not found["limit_s"] or found["ended_by"]:
        return ""
    said = f"{figure(found['took_s']):>8} of at most {figure(found['limit_s'])}"
    return verdict(found["took_s"] <= found["limit_s"], "", "the run itself", "seconds", "", said)

# SPDX-License-Identifier: Apache-2.0
"""The report as one HTML page that needs nothing else: bars with their spread, CPU by role, curves; SVG inside."""
import html
import math

from report import mark, notes

COLOURS = {"none": "#8a8f98", "none-local": "#b3b8c0", "culvert-local": "#0b6e4f", "culvert-bypass": "#2f8a6c",
           "culvert-cross": "#1f9d73", "culvert-plain": "#8fd3b6", "culvert-shortcut": "#064d37", "ztunnel": "#3b6fd4",
           "haproxy": "#d4763b", "envoy": "#a65bbf"}
ROLES = {"client": "#8a8f98", "server": "#b3b8c0", "proxy-client": "#1f9d73", "proxy-server": "#8fd3b6", "rest": "#e0b04a"}
HIGHER_IS_BETTER = ("per_s", "GBps")
WIDTH, LABEL, BAR, GAP = 760, 130, 16, 6
STYLE = """body{font:15px/1.5 system-ui,sans-serif;max-width:820px;margin:2em auto;padding:0 1em;color:#1c1e21}
h1{font-size:1.6em}h2{font-size:1.15em;margin:1.6em 0 .2em}svg text{font:12px system-ui,sans-serif;fill:#1c1e21}
table{border-collapse:collapse;font-size:13px}td,th{padding:2px 8px;border-bottom:1px solid #ddd;text-align:right}
td:first-child,th:first-child{text-align:left}.note{color:#666;font-size:13px}"""


def text(x, y, words, anchor="start"):
    """An SVG text."""
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{html.escape(str(words))}</text>'


def rect(x, y, width, height, colour, title=""):
    """An SVG rectangle with what a pointer shows."""
    return (f'<rect x="{x:.1f}" y="{y:.1f}" width="{max(width, 0.5):.1f}" height="{height}" fill="{colour}">'
            f"<title>{html.escape(title)}</title></rect>")


def svg(height, parts):
    """A drawing of the page's width."""
    return f'<svg viewBox="0 0 {WIDTH} {height}" width="100%" role="img">{"".join(parts)}</svg>'


def bars(entries):
    """One metric: a bar per contestant to its median, a line from the lowest to the highest round."""
    most = max(e["max"] for e in entries) or 1
    scale = (WIDTH - LABEL - 190) / most
    parts = []
    for number, e in enumerate(entries):
        y = number * (BAR + GAP)
        middle = y + BAR / 2
        parts.append(text(0, y + 13, e["contestant"]))
        parts.append(rect(LABEL, y, e["median"] * scale, BAR, COLOURS.get(e["contestant"], "#777"),
                          f"median {e['median']:g}, {e['min']:g} to {e['max']:g}"))
        parts.append(f'<line x1="{LABEL + e["min"] * scale:.1f}" x2="{LABEL + e["max"] * scale:.1f}" y1="{middle}" y2="{middle}" '
                     'stroke="#000" stroke-opacity=".55"/>')
        said = f"{e['median']:,.4g}"
        for other in ("none", "ztunnel"):
            if e[f"ratio_to_{other}"]:
                said += f"  {mark(e[f'is_unsteady_to_{other}'])}{e[f'ratio_to_{other}']:.2f}x {other}"
        parts.append(text(LABEL + e["max"] * scale + 6, y + 13, said))
    return svg(len(entries) * (BAR + GAP), parts)


def role_bars(entries):
    """One row: CPU by role, stacked."""
    scale = (WIDTH - LABEL - 90) / (max(sum(e[r] for r in ROLES) for e in entries) or 1)
    parts = []
    for number, e in enumerate(entries):
        x, y = float(LABEL), number * (BAR + GAP)
        parts.append(text(0, y + 13, e["contestant"]))
        for role, colour in ROLES.items():
            parts.append(rect(x, y, e[role] * scale, BAR, colour, f"{role}: {e[role]:g} {e['unit']}"))
            x += e[role] * scale
        parts.append(text(x + 6, y + 13, f"{sum(e[r] for r in ROLES):,.3g}"))
    return svg(len(entries) * (BAR + GAP), parts)


def line_plot(curves):
    """Curves over size, both axes logarithmic."""
    height, left, bottom = 300, 60, 30
    points = [(x, y) for c in curves for x, y in c["points"] if x > 0 and y > 0]
    low_x, high_x = (f(math.log10(x) for x, _ in points) for f in (min, max))
    low_y, high_y = (f(math.log10(y) for _, y in points) for f in (min, max))

    def place(x, y):
        across = (math.log10(x) - low_x) / ((high_x - low_x) or 1)
        up = (math.log10(y) - low_y) / ((high_y - low_y) or 1)
        return left + across * (WIDTH - left - 170), 10 + (1 - up) * (height - bottom - 20)

    parts = [text(place(x, 10 ** low_y)[0], height - 8, f"{x:g}", "middle") for x in sorted({x for x, _ in points})]
    parts += [text(left - 6, place(10 ** low_x, 10 ** v)[1] + 4, f"{10 ** v:,.3g}", "end") for v in (low_y, (low_y + high_y) / 2, high_y)]
    for number, c in enumerate(curves):
        colour = COLOURS.get(c["contestant"], "#777")
        placed = [place(x, y) for x, y in c["points"] if x > 0 and y > 0]
        parts.append(f'<polyline fill="none" stroke="{colour}" stroke-width="2" points="'
                     + " ".join(f"{x:.1f},{y:.1f}" for x, y in placed) + '"/>')
        parts.append(rect(WIDTH - 160, 10 + number * 20, 10, 10, colour))
        exponent = f"  k={c['exponent']:g}" if "exponent" in c else ""
        parts.append(text(WIDTH - 145, 19 + number * 20, c["contestant"] + exponent))
    return svg(height, parts)


def groups(entries, key):
    """{key(entry): entries}, in the order of first sight."""
    found = {}
    for e in entries:
        found.setdefault(key(e), []).append(e)
    return found


def legend():
    """Which colour is which role."""
    return " ".join(f'<span style="color:{colour}">&#9632;</span> {role}' for role, colour in ROLES.items())


def page(report):
    """The whole page, from what report.json holds."""
    said = [f"<p class=note>{html.escape(report['machine'])}; {report['rounds']} rounds of {report['seconds']} s, interleaved; "
            "medians, the black line spans the rounds. Only ratios inside one run mean anything. <code>_pinned</code>: client, "
            "server and proxies on one core.</p>"]
    for (row, metric), entries in groups(report["rows"], lambda e: (e["id"], e["metric"])).items():
        better = "higher is better" if metric.startswith(HIGHER_IS_BETTER) else "lower is better"
        unsteady = " &mdash; <b>unsteady baseline</b>" if any(e["is_unsteady"] for e in entries) else ""
        said.append(f"<h2>{html.escape(row)} {html.escape(metric)} <span class=note>{better}{unsteady}</span></h2>{bars(entries)}")
    said.append(f"<h1>CPU by role</h1><p class=note>{legend()}. rest: interrupts, TCP in softirq and whatever else ran.</p>")
    for row, entries in groups(report["roles"], lambda e: e["id"]).items():
        said.append(f"<h2>{html.escape(row)} <span class=note>{html.escape(entries[0]['unit'])}</span></h2>{role_bars(entries)}")
    said.append("<h1>Over size</h1><p class=note>Both axes logarithmic; k is the exponent of cost = a + b &middot; size<sup>k</sup>.</p>")
    for (row, metric), entries in groups(report["curves"], lambda e: (e["id"], e["metric"])).items():
        said.append(f"<h2>{html.escape(row)} {html.escape(metric)}</h2>{line_plot(entries)}")
    said += [f"<p>{html.escape(line)}</p>" for line in notes(report)]
    return (f"<!doctype html><html lang=en><meta charset=utf-8><title>Culvert: make bench</title><style>{STYLE}</style>"
            f"<h1>Culvert: make bench</h1>{''.join(said)}</html>\n")

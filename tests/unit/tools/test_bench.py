# SPDX-License-Identifier: Apache-2.0
"""What the benchmark makes of its samples."""
import io
import json
import os
import signal
import subprocess
import sys
import types

import pytest

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "..", "bench"))
import bench
import clock
import contestants
import cost
import curves
import effects
import leftovers
import page
import peers
import report
import rows as rows_of_bench

NAMES = ["none", "none-local", "culvert-local", "ztunnel"]
BASELINES = {"none": "none", "none-local": "none-local", "culvert-local": "none-local", "ztunnel": "none"}
SAMPLES = {("rr1", "none", "p50_us"): [10, 11, 10.5], ("rr1", "none-local", "p50_us"): [8, 8, 12],
           ("rr1", "culvert-local", "p50_us"): [4, 4, 5], ("rr1", "ztunnel", "p50_us"): [40, 42, 41]}


def rows():
    """{contestant: its entry}."""
    return {e["contestant"]: e for e in report.rows(SAMPLES, BASELINES, NAMES)}


def test_ratios_are_against_the_contestants_own_baseline():
    assert rows()["culvert-local"]["ratio_to_none"] == 0.5
    assert rows()["culvert-local"]["ratio_to_ztunnel"] == pytest.approx(4 / 40, abs=0.001)
    assert rows()["ztunnel"]["ratio_to_none"] == pytest.approx(41 / 10.5, abs=0.001)


def test_a_round_is_compared_with_itself():
    """Ground that halves from one round to the next says nothing of what stands on it."""
    assert report.ratio([5, 10, 20], [10, 20, 40]) == report.ratio([5, 20, 10], [10, 40, 20]) == 0.5
    assert report.ratio([6, 1, 1], [10, 10, 20]) == 0.1


class Loaded:
    """A contestant whose load generator says these, one after the other."""

    def __init__(self, *said):
        self.said = list(said)

    def load(self, *_):
        return json.dumps(self.said.pop(0))


@pytest.fixture(name="no_meter")
def fixture_no_meter(monkeypatch):
    monkeypatch.setattr(rows_of_bench, "Meter", lambda _: types.SimpleNamespace(read=lambda: {"machine": 1}, steal=0))


OPEN = rows_of_bench.Row("open", 0, (1, 64), ())
EMPTY = {"done": 9, "per_s": 9, "p50_us": 0.0, "p99_us": 0.0, "left_out": 1.0}
WHOLE = {"done": 9, "per_s": 9, "p50_us": 7.0, "p99_us": 8.0, "left_out": 0.1}


def test_an_open_loop_that_the_host_left_nothing_of_is_run_again(no_meter):
    metrics, _ = rows_of_bench.measure(Loaded(EMPTY, WHOLE), OPEN, 1, rows_of_bench.Spare(), 9)
    assert metrics["p99_us"] == 8.0


def test_an_open_loop_that_nothing_is_left_of_has_no_percentiles(no_meter):
    metrics, _ = rows_of_bench.measure(Loaded(EMPTY), OPEN, 1, rows_of_bench.Spare(0), 9)
    assert "p99_us" not in metrics and "p50_us" not in metrics and metrics["per_s"] == 9


def test_without_its_round_a_figure_is_compared_with_the_median():
    assert report.ratio([4, 6], [10, 8, 12]) == 0.5
    assert report.ratio([4], [0]) is None
    assert report.ratio([4], None) is None


def test_an_unsteady_baseline_marks_what_rests_on_it():
    assert not rows()["ztunnel"]["is_unsteady"]
    assert rows()["culvert-local"]["is_unsteady"]
    assert "~4 ~0.50n ~0.10z" in report.table(list(rows().values()), NAMES, {"rr1": ("p50_us",)})
    assert "~0.50x none" in page.bars([rows()["culvert-local"]])


@pytest.mark.parametrize("moved", ["none", "none-local", "culvert-local", "culvert-cross", "ztunnel"])
def test_an_unsteady_side_marks_its_ratios_and_no_other(moved):
    """Of no mesh, of ours, and of what ours is compared with."""
    medians = {"none": 10, "none-local": 10, "ztunnel": 30, "culvert-local": 9, "culvert-cross": 25}
    samples = {("rr1", name, "p50_us_pinned"): [value, value * (1.2 if name == moved else 1)] for name, value in medians.items()}
    samples.update({("rr32", name, "per_s"): values for (_, name, _), values in samples.items()})
    bases = {**dict.fromkeys(medians, "none"), "culvert-local": "none-local"}
    entries = report.rows(samples, bases, list(medians))
    marked = {(line[8:].split()[0], line[8:].split()[2]) for line in report.speed_verdicts(entries).splitlines() if line[7] == "~"}
    beside = {"rr1", "rr32"}
    assert marked == {"none": {("rr1", "culvert-cross")}, "ztunnel": {(row, "culvert-cross") for row in beside},
                      "none-local": {(row, "culvert-local") for row in beside},
                      "culvert-local": {(row, "culvert-local") for row in beside},
                      "culvert-cross": {(row, "culvert-cross") for row in beside}}[moved]


@pytest.mark.parametrize("ground,own,marked", [
    ([10, 10.5], [60, 61], set()), ([10, 10.5], [60, 90], {"label_to_encrypted"}),
    ([10, 12], [60, 61], {"label_to_encrypted", "decision", "policy_effect"})])
def test_an_unsteady_run_marks_what_has_a_limit_or_is_to_cost_the_same(ground, own, marked):
    """But memory, which no moving ground changes."""
    samples = {("rr1", "none", "p50_us"): ground, ("label_to_encrypted", "culvert-cross", "ms"): own,
               ("rss_idle", "culvert-cross", "rss_kB"): [3000], ("policy_effect", "culvert-cross", "cut_max_ms_small"): [4],
               ("decision", "culvert-cross", "global_us_10"): [2], ("decision", "culvert-cross", "global_us_10000"): [2.5]}
    entries = report.rows(samples, {}, ["none", "culvert-cross"])
    lines = [line for words in (report.verdicts, report.flat_verdicts) for line in words(entries, ["culvert-cross"]).splitlines()]
    assert len(lines) == 4 and {line[8:].split()[0] for line in lines if line[7] == "~"} == marked


NOTED = {"missing": {"envoy": "<not> here"}, "strangers": 0, "left_out": [], "ended_by": None, "took_s": 2.4, "took": [],
         "limit_s": None}


def test_what_disturbed_and_what_is_missing_is_told():
    assert report.notes(NOTED) == ["missing: envoy: <not> here", "took 2 s:"]
    assert report.notes({**NOTED, "strangers": 6})[1].startswith("disturbed: 6 TCP programs")
    assert report.notes({**NOTED, "left_out": ["rr4k"]})[1].endswith(": rr4k")
    assert report.notes({**NOTED, "ended_by": "SIGINT"})[1].startswith("ended by SIGINT")


def test_every_second_of_a_run_counts_for_one_part():
    times = iter([0, 1, 4, 10, 12])
    c = clock.Clock(lambda: next(times))
    c.at("a")
    c.at("b")
    c.at("a")
    assert c.report() == (12, [{"id": "b", "seconds": 6}, {"id": "a", "seconds": 5}])


def test_where_the_time_went_is_told_without_what_took_none():
    took = [{"id": "start none", "seconds": 3.2}, {"id": "rr1", "seconds": 0.4}]
    assert report.notes({**NOTED, "took": took})[-1] == "took 2 s: start none 3"


def test_a_run_of_everything_has_its_own_limit():
    assert report.duration_verdicts({**NOTED, "limit_s": 3}).split() == "ok the run itself seconds 2.4 of at most 3".split()
    assert report.duration_verdicts({**NOTED, "limit_s": 2}).startswith("MISSED")
    assert report.duration_verdicts(NOTED) == report.duration_verdicts({**NOTED, "limit_s": 2, "ended_by": "SIGINT"}) == ""


def options(*argv):
    """What bench.py makes of its command line."""
    sys.argv = ["bench.py", *argv]
    return bench.parse()


def test_a_quick_run_has_fewer_rows_and_says_which_are_left_out(monkeypatch):
    monkeypatch.setattr(sys, "argv", [])
    quick = options("--quick")
    assert set(quick.rows) == set(bench.QUICK) and sorted(quick.rows + quick.left_out) == sorted(bench.SHOWN)
    assert options("--quick", "--rows", "rr4k").rows == ["rr4k"] and not options().left_out
    assert set(contestants.OF_OTHERS) < set(bench.QUICK)
    assert [given.limit_s for given in (quick, options(), options("--rows", "rr4k"), options("--rounds", "1"))] == [240, 1500, None, None]


class Meshes:
    """What effects.py measures in: changes are felt at once, on node 2 by direct connections or not."""

    size, rounds, turn, client, beside = effects.scale.SMALL, 3, None, "client", "beside"
    server = types.SimpleNamespace(ip4="10.202.60.2")

    def __init__(self, is_direct=True):
        self.nodes, self.asked, self.is_direct = ["n1", "n2"], [], is_direct

    def probe(self, pod, program, _address):
        self.asked.append((pod, program))
        return program

    def directs(self):
        return len(self.asked) * self.rounds if self.is_direct else 0


@pytest.fixture(name="endpoint_run")
def fixture_endpoint_run(monkeypatch):
    monkeypatch.setattr(effects, "timed", lambda *_: [(4.0, 1.0, 0), (5.0, 2.0, 0), (9.0, 3.0, 1)])
    return bench.Bench(types.SimpleNamespace(quick=False, rows=["endpoint_connection"]), "", {})


def test_a_turn_of_endpoints_is_felt_by_tunnelled_and_by_direct_connections(endpoint_run):
    field = Meshes()
    effects.measure(endpoint_run, field, contestants.Culvert)
    assert [pod for pod, program in field.asked if program == effects.TURN] == ["client", "beside"]
    for name in ("culvert-cross", "culvert-local"):
        found = [endpoint_run.median("endpoint_connection", name, metric) for metric in
                 ("reached_p50_ms_small", "reached_max_ms_small", "left_max_ms_small", "failed")]
        assert found == [5, 9, 3, 1], name


def test_what_is_called_direct_has_to_be(endpoint_run):
    with pytest.raises(RuntimeError, match="not direct"):
        effects.measure(endpoint_run, Meshes(is_direct=False), contestants.Culvert)


def test_istios_ztunnel_has_no_direct_connections(endpoint_run):
    field = Meshes()
    field.nodes = []
    effects.measure(endpoint_run, field, peers.Ztunnel)
    assert {name for _, name, _ in endpoint_run.samples} == {"ztunnel"}


def test_every_metric_is_explained():
    with open(os.path.join(os.path.dirname(bench.__file__), "README.md"), encoding="utf-8") as f:
        text = f.read()
    shown = {metric for metrics in bench.SHOWN.values() for metric in metrics} | {"failed", "unanswered", "left_out", "steal_percent"}
    plain = {metric.removesuffix("_pinned") for metric in shown}
    ends = ("_small", "_medium", "_large", "_near_empty", "_1k_pods", "_10k_pods", "_with_one_stopped", "_10", "_10000")
    plain = {next((m.removesuffix(end) for end in ends if m.endswith(end)), m) for m in plain}
    assert not [m for m in sorted(plain) if f"`{m}`" not in text]


def test_what_a_run_has_started_ends_with_it():
    """Also what is stopped, and not what has ended already."""
    ended = subprocess.Popen(["true"])
    os.waitid(os.P_PID, ended.pid, os.WEXITED | os.WNOWAIT)
    ours = [subprocess.Popen(["sleep", "60"]) for _ in range(2)]
    ours[1].send_signal(signal.SIGSTOP)
    assert {p.pid for p in ours} <= set(leftovers.children()) and ended.pid not in leftovers.children()
    leftovers.end_children()
    assert [p.wait() for p in ours] == [-signal.SIGTERM] * 2 and ended.wait() == 0


@pytest.mark.parametrize("a,b,k", [(0, 3, 1), (10, 0.5, 1), (5, 2, 0.5), (0, 0.1, 1.5)])
def test_the_exponent_is_found(a, b, k):
    xs = [64, 512, 4096, 32768, 262144]
    found = curves.fit(xs, [a + b * x ** k for x in xs])
    assert found[2] == pytest.approx(k, abs=0.021)


MESHES = [100, 10_000, 100_000]


@pytest.mark.parametrize("ys,rounds_differ,k", [
    ([7, 7, 7], 0, 0), ([3.759, 3.141, 3.28], 0, 0), ([2.252, 1.911, 2.547], 0, 0),  # nothing grows; it falls; by less than a quarter
    ([2.2, 1.9, 3.2], 0, 2), ([2.2, 1.9, 3.2], 1.5, 0), ([2, 2.01, 20], 1.5, 2)])
def test_what_grows_by_less_than_its_rounds_differ_or_a_quarter_is_flat(ys, rounds_differ, k):
    a, b, exponent = curves.fit(MESHES, ys, rounds_differ)
    assert (exponent, bool(b)) == (k, k > 0) and a > 0


def test_rounds_say_by_how_much_a_size_differs():
    """Not by one that was disturbed."""
    assert curves.noise([7]) == 0 and curves.noise([1, 2, 2, 2, 2, 2, 90]) == 0 < curves.noise([1, 2, 3, 4])
    entry = curves.curve_of_rounds("policy_effect", "culvert-cross", "cut_p50_ms",
                                   {size: [ms - 0.8, ms, ms + 0.8] for size, ms in zip(MESHES, (2.2, 1.9, 3.2))})
    assert entry["exponent"] == 0 and entry["points"][2] == [100_000, 3.2]
    assert report.curve_lines([entry])[0].endswith(f"100000:3.2  = {entry['a']:g}")


def test_the_page_holds_everything_and_asks_for_nothing():
    found = {**NOTED, "rows": list(rows().values()), "rounds": 3, "seconds": 1, "machine": "Linux",
             "roles": [{"id": "rr1", "contestant": "none", "unit": "us", **{role: 1.0 for role in page.ROLES}}],
             "curves": [curves.curve("size", "none", "p50_us", [(1, 1), (10, 2), (100, 12)])]}
    text = page.page(found)
    assert text.count("<svg") == 3 and "&lt;not&gt; here" in text
    assert "src=" not in text and "href=" not in text and "http" not in text


def test_what_has_a_limit_gets_a_verdict():
    samples = {("slow_reader", "culvert-cross", "fast_loss_percent"): [4], ("slow_reader", "ztunnel", "fast_loss_percent"): [40],
               ("attack_x", "culvert-cross", "p99_to_quiet_pinned"): [2], ("rr1", "culvert-cross", "p50_us"): [1]}
    names = ["culvert-cross", "ztunnel"]
    lines = report.verdicts(report.rows(samples, dict.fromkeys(names, "none"), names), ["culvert-cross"]).splitlines()
    assert [line.split()[:2] for line in lines] == [["MISSED", "attack_x"], ["ok", "slow_reader"]]


def test_direct_connections_have_a_limit_of_their_own():
    samples = {("rss_10k", name, metric): [value] for name, metric, value in (
        ("culvert-cross", "rss_kB", 17000), ("culvert-cross", "growth_kB", 11000), ("culvert-local", "rss_kB", 8200),
        ("culvert-local", "growth_kB", 257))}
    names = ["culvert-cross", "culvert-local"]
    lines = report.verdicts(report.rows(samples, {}, names), names).splitlines()
    assert [tuple(line.split()[:4]) for line in lines] == [
        ("MISSED", "rss_10k", "growth_kB", "culvert-local"), ("ok", "rss_10k", "rss_kB", "culvert-cross"),
        ("MISSED", "rss_10k", "rss_kB", "culvert-local")]


class Idle:
    """A proxy that idle connections make grow, and whose code is mapped in between."""

    name, cgroup = "culvert-local", types.SimpleNamespace(within=lambda *argv: argv)
    target = staticmethod(lambda _: ("10.0.0.1", 9100))
    maps_kb = staticmethod(lambda: 7)

    def __init__(self):
        self.client, self.held = self, 0

    def popen(self, *argv, **_):
        self.held = int(argv[-1])
        return types.SimpleNamespace(stdout=io.StringIO("ready"), stdin=io.StringIO(), wait=self.leave)

    def leave(self):
        self.held = 0

    def anonymous_kb(self):
        return 2000 + self.held / 100

    def rss_kb(self):
        return self.anonymous_kb() + (600 if self.held else 0)


def test_what_connections_make_a_proxy_grow_by_is_counted_without_its_code(monkeypatch):
    monkeypatch.setattr(curves, "IDLE_S", 0)
    curve, growth, maps = curves.over_connections(Idle(), (100, 10_000), lambda _: None)
    assert (curve["points"], growth, maps) == ([[0, 2000], [100, 2601], [10_000, 2700]], 100, 7)


def test_a_processs_own_memory_is_told_from_all_that_is_resident():
    own, resident = cost.memory_kb(os.getpid(), "Anonymous:", "smaps_rollup"), cost.memory_kb(os.getpid())
    kept = bytearray(os.urandom(8 << 20))
    assert 0 < own < resident and cost.memory_kb(os.getpid(), "Anonymous:", "smaps_rollup") - own > len(kept) / 1024 / 2


def test_what_is_to_cost_the_same_however_much_there_is_gets_a_verdict():
    samples = {("decision", "culvert-cross", f"{scope}_us_{n}"): [us] for scope, few, many in (("global", 1, 1.9), ("selector", 2, 5))
               for n, us in ((10, few), (10000, many))}
    samples["decision", "culvert-local", "namespace_us_10000"] = [3]  # nothing to compare it with
    names = ["culvert-cross", "culvert-local"]
    lines = report.flat_verdicts(report.rows(samples, dict.fromkeys(names, "none"), names), names).splitlines()
    assert [line.split()[:5] for line in lines] == [["ok", "decision", "global_us_10000", "culvert-cross", "1.90"],
                                                    ["MISSED", "decision", "selector_us_10000", "culvert-cross", "2.50"]]


def test_a_change_is_to_be_felt_as_soon_in_a_large_mesh_by_its_slowest_too():
    samples = {("policy_effect", "culvert-cross", f"cut_{share}_ms_{size}"): [ms] for share, size, ms in
               (("p50", "small", 3), ("p50", "large", 4), ("max", "small", 5), ("max", "large", 31))}
    entries = report.rows(samples, {}, ["culvert-cross"])
    assert [line.split()[:3] for line in report.flat_verdicts(entries, ["culvert-cross"]).splitlines()] == [
        ["ok", "policy_effect", "cut_p50_ms_large"], ["MISSED", "policy_effect", "cut_max_ms_large"]]
    assert [line.split()[:3] for line in report.verdicts(entries, ["culvert-cross"]).splitlines()] == [
        ["MISSED", "policy_effect", "cut_max_ms_large"], ["ok", "policy_effect", "cut_max_ms_small"]]


def test_each_ratio_that_is_asked_gets_a_verdict():
    medians = {"none": 10, "none-local": 10, "ztunnel": 30, "culvert-local": 9, "culvert-cross": 25}
    samples = {("rr1", name, "p50_us_pinned"): [value] for name, value in medians.items()}
    samples.update({("rr32", name, "per_s"): [value] for name, value in medians.items()})
    bases = {**dict.fromkeys(medians, "none"), "culvert-local": "none-local"}
    lines = [line.split() for line in report.speed_verdicts(report.rows(samples, bases, list(medians))).splitlines()]
    assert [(line[0], line[1], line[3], float(line[4])) for line in lines] == [
        ("ok", "rr1", "culvert-local", 0.9), ("MISSED", "rr32", "culvert-local", 0.9),
        ("ok", "rr1", "culvert-cross", 0.75), ("MISSED", "rr32", "culvert-cross", 0.83)]


def test_what_was_not_measured_is_no_figure_that_was_kept():
    samples = {("rr32", name, "per_s"): [value] for name, value in (("none", 10), ("none-local", 10), ("culvert-local", 12),
                                                                    ("culvert-cross", 25))}
    bases = {"culvert-local": "none-local", "culvert-cross": "none"}
    lines = [line.split() for line in report.speed_verdicts(report.rows(samples, bases, ["none", "none-local", *bases])).splitlines()]
    assert [(line[0], line[1], line[3], line[4]) for line in lines] == [
        ("ok", "rr32", "culvert-local", "1.20"), ("UNKNOWN", "rr32", "culvert-cross", "?")]


def test_the_report_has_the_rows_contestants_and_metrics_that_others_read():
    assert set("rr1 rr1k rr32 bulk1 bulk16 conn1 conn16 rr1_half_load http1".split()) <= set(rows_of_bench.ROWS)
    assert {"rss_idle", "rss_10k", "idle_cpu", "policy_effect"} <= set(bench.SHOWN)
    shown = {metric for metrics in bench.SHOWN.values() for metric in metrics}
    assert {"p50_us", "p50_us_pinned", "p99_us", "p99_us_pinned", "per_s", "GBps", "cpu_s_per_GB", "cpu_us_per_op", "rss_kB"} <= shown
    names = {c.name for c in [contestants.Contestant, contestants.LocalCulvert, contestants.Culvert, contestants.PlainCulvert]}
    assert names == {"none", "culvert-local", "culvert-cross", "culvert-plain"}
    assert {c.name for c in (peers.Ztunnel, peers.Haproxy, peers.Envoy)} == {"ztunnel", "haproxy", "envoy"}


def test_each_ratio_that_is_asked_is_measured():
    for row, metric, name, other, *_ in report.SPEED:
        assert row in rows_of_bench.ROWS and (rows_of_bench.ROWS[row].is_pinned or not metric.endswith("_pinned"))
        assert other != "scaling" or (rows_of_bench.ROWS[row].scaled == metric and name in rows_of_bench.SCALED)


@pytest.mark.parametrize("alone,none,said", [([100, 200], [300, 600], ("ok", "~rr32", "0.95")),
                                             ([110, 220], [300, 600], ("MISSED", "~rr32", "0.86")),
                                             ([100], [300, 600], ("ok", "~rr32", "1.43")), ([100, 200], [], ("UNKNOWN", "rr32", "?"))])
def test_what_more_cores_are_to_a_busy_pair_is_judged_by_what_they_are_to_no_mesh(alone, none, said):
    """Round by round, of ground that moves; of the medians where a round is missing."""
    samples = {("rr32", "culvert-cross", "per_s"): [190, 380], ("rr32", "culvert-cross", "per_s_pinned"): alone}
    samples.update({("rr32", "none", metric): values for metric, values in (("per_s", none), ("per_s_pinned", [150, 300])) if none})
    names = ["none", "culvert-cross"]
    lines = report.speed_verdicts(report.rows(samples, dict.fromkeys(names, "none"), names)).splitlines()
    assert [tuple(line.split()[i] for i in (0, 1, 4)) for line in lines if "more cores" in line] == [said]


class Stolen:
    """A contestant of which the host takes so many of 100 ticks in each run, as /proc/stat shows it."""

    def __init__(self, path, shares):
        self.path, self.shares, self.runs, self.steal, self.user = path, list(shares), 0, 0, 0
        self.processes = [types.SimpleNamespace(pid=os.getpid())]
        self.show()

    def show(self):
        self.path.write_text(f"cpu {self.user} 0 0 0 0 0 0 {self.steal} 0 0\n")

    def proxy_pids(self):
        return []

    def load(self, *_args):
        share = self.shares[min(self.runs, len(self.shares) - 1)]
        self.runs, self.steal, self.user = self.runs + 1, self.steal + share, self.user + 100 - share
        self.show()
        return '{"done": 1000, "failed": 0, "unanswered": 0, "per_s": 1000, "p50_us": 1, "p99_us": 2}'


@pytest.mark.parametrize("shares,spare,runs,said", [((0,), 1, 1, None), ((30, 1), 1, 2, None), ((30,), 9, rows_of_bench.TRIES, 30),
                                                    ((30,), 0, 1, 30)])
def test_a_run_of_which_the_host_takes_a_part_is_made_again_or_marked(monkeypatch, tmp_path, shares, spare, runs, said):
    monkeypatch.setattr(cost, "STAT", str(tmp_path / "stat"))
    contestant = Stolen(tmp_path / "stat", shares)
    metrics, per = rows_of_bench.measure(contestant, rows_of_bench.ROWS["rr1"], 1, rows_of_bench.Spare(spare))
    assert contestant.runs == runs and metrics.get("steal_percent") == (said and pytest.approx(said))
    took = (100 - shares[-1]) / os.sysconf("SC_CLK_TCK")
    assert per["machine"] == pytest.approx(took / 1000 * 1e6), "what the host took is no work of ours"


def test_what_more_cores_are_to_a_busy_pair_is_told():
    samples = {("rr32", "culvert-cross", "per_s"): [180, 190], ("rr32", "culvert-cross", "per_s_pinned"): [100],
               ("rr32", "none", "per_s"): [300], ("rr1", "none", "per_s"): [3], ("rr1", "none", "per_s_pinned"): [2]}
    names = ["none", "culvert-cross"]
    assert report.scaling_lines(report.rows(samples, dict.fromkeys(names, "none"), names)) == [
        "rr32 per_s with all cores, to what it is with one: culvert-cross 1.85 times"]
    assert {row.scaled for row in rows_of_bench.ROWS.values() if row.scaled} == {"per_s", "GBps"}


@pytest.mark.parametrize("row,half", [("rr1_half_load", 100), ("http1_half_load", 20)])
def test_an_open_loop_has_half_of_the_rate_of_ztunnel_or_of_the_slowest(row, half):
    run = bench.Bench(types.SimpleNamespace(quick=False), "", {})
    run.standing = [types.SimpleNamespace(name=name) for name in ("none", "ztunnel", "envoy")]
    for name, rate in (("none", 900), ("ztunnel", 200), ("envoy", 40)):
        run.add(rows_of_bench.ROWS[row].half_of, types.SimpleNamespace(name=name), "per_s", rate)
    assert run.half_rate(rows_of_bench.ROWS[row], "") == half


@pytest.mark.parametrize("quick,visits", [(False, {("none", False), ("none", True), ("envoy", False)}),
                                          (True, {("none", False), ("envoy", False)})])
def test_a_busy_pair_runs_on_one_core_in_a_whole_run_alone(monkeypatch, quick, visits):
    monkeypatch.setattr(cost, "strangers", lambda: 0)
    run = bench.Bench(types.SimpleNamespace(quick=quick, is_cut=False, rows=["rr32"], rounds=1), "", {})
    run.standing = [types.SimpleNamespace(name=name, rows=None, quick_rows=None) for name in ("none", "envoy")]
    seen = set()
    run.visit = lambda c, name, is_pinned: seen.add((c.name, is_pinned))
    run.rounds()
    assert seen == visits


def test_every_limit_is_of_something_that_is_shown():
    for row, metric in [limit[:2] for limit in report.LIMITS] + [(row, metric) for row, *both, _ in report.FLAT for metric in both]:
        metrics = [shown for name, shown in bench.SHOWN.items() if name == row or (row[-1] == "_" and name.startswith(row))]
        assert any(metric in shown for shown in metrics), f"{row} {metric}"

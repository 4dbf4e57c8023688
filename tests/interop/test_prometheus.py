# SPDX-License-Identifier: Apache-2.0
"""A real Prometheus scrapes two Culvert nodes: the exposition, every query of the Grafana board, and the alert rules."""
import glob
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
import urllib.parse

import pytest

sys.path.insert(0, os.path.dirname(__file__))
from culvert_node import Nodes, put_file, started, wait_for, write_config
from topology import ROOT, Topology, remove_stale, run

STREAM = os.path.join(os.path.dirname(__file__), "stream.py")
PORT, CLOSED = 9400, 9401
SIZE = 20000
BOARDS = glob.glob(f"{ROOT}/tools/deploy/dashboards/*.json")
RULES = f"{ROOT}/tools/deploy/dashboards/rules.yaml"
SCRAPE = """global: {{scrape_interval: 2s, scrape_timeout: 2s, evaluation_interval: 1s}}
rule_files: ["{rules}"]
scrape_configs:
  - job_name: ztunnel
    static_configs: [{{targets: ["{first}:15020", "{second}:15020"]}}]
  - job_name: istiod
    static_configs: [{{targets: ["{first}:15014", "{second}:15014"]}}]
"""
OUTSIDER = """---
apiVersion: v1
kind: Pod
metadata: {{name: outsider, namespace: metrics, labels: {{istio.io/dataplane-mode: none}}}}
spec: {{nodeName: n1, serviceAccountName: outsider}}
status: {{podIP: {ip}, podIPs: [{{ip: {ip}}}]}}
"""
LOOK_UP = """import socket, sys
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.sendto(b"\\0\\7\\1\\0\\0\\1\\0\\0\\0\\0\\0\\0\\3foo\\7example\\0\\0\\1\\0\\1", (sys.argv[1], 53))
"""
pytestmark = pytest.mark.skipif(not shutil.which("prometheus"), reason="no prometheus: tools/setup installs it")
COUNTED = ("istio_tcp_connections_failed_total",  # by the client's node; by the server's:
           'istio_tcp_connections_opened_total{reporter="destination",connection_security_policy="unknown"}')


class Scraped(Nodes):
    """client and an unmeshed pod on node 1, server on node 2, Prometheus in node 1's namespace."""

    def __init__(self, work_dir):
        remove_stale("pm")
        self.processes, self.nodes = [], []
        self.sent = 0  # by the client's traffic()
        self.topology = Topology("pm", 91)
        self.client, self.outsider = self.topology.pod(1, "c"), self.topology.pod(1, "o")
        self.server = self.topology.pod(2, "s")
        for pod, account in ((self.client, "client"), (self.server, "server")):
            pod.namespace, pod.account = "metrics", account
        self.run_in(self.server, sys.executable, STREAM, "serve", str(PORT))
        self.config = os.path.join(work_dir, "config")
        write_config(self.config, [self.client, self.server], OUTSIDER.format(ip=self.outsider.ip4))
        self.work_dir = work_dir

    def start(self):
        """Both nodes, scraped, with traffic that is two scrapes old."""
        self.start_both(self.config, "prometheus", [self.client, self.server], env={"CULVERT_CONTROL_METRICS_PORT": "15014"})
        self.start_prometheus(self.work_dir)
        self.traffic()
        wait_for(lambda: all(map(self.query, COUNTED)), 10, "each node's counters to be scraped")

        def have_rates():
            """A busy machine may miss the scrapes between which the counters grew: they grow again then."""
            self.traffic()
            end = time.monotonic() + 8
            while time.monotonic() < end:
                if all(self.query(f"rate({c}[10s]) > 0") for c in COUNTED):
                    return True
                time.sleep(0.2)
            return False

        wait_for(have_rates, 120, "a second one, for rates")

    def start_prometheus(self, work_dir):
        """Ports and data are its own: it listens in the node's namespace only."""
        config = os.path.join(work_dir, "prometheus.yaml")
        first, second = (f"172.30.{self.topology.octet}.{i}" for i in (1, 2))
        with open(config, "w", encoding="utf-8") as f:
            f.write(SCRAPE.format(rules=RULES, first=first, second=second))
        run("promtool", "check", "config", config)
        self.prometheus_log = open(os.path.join(work_dir, "prometheus.log"), "w", encoding="utf-8")
        self.run_in(self.topology.nodes[0], "prometheus", f"--config.file={config}",
                   f"--storage.tsdb.path={work_dir}/data", "--web.listen-address=127.0.0.1:9090",
                   stdout=self.prometheus_log, stderr=self.prometheus_log, env=dict(os.environ, GOMAXPROCS="1"))
        wait_for(lambda: self.up() == 4, 30, "both nodes scraped, and their control planes")

    def get(self, path, **query):
        """The data of an answer of Prometheus' API."""
        url = f"http://127.0.0.1:9090/api/v1/{path}?{urllib.parse.urlencode(query)}"
        answer = json.loads(self.topology.nodes[0].run("curl", "-s", "--max-time", "30", url))
        assert answer["status"] == "success", (query, answer)
        return answer["data"]

    def query(self, expr):
        """Samples of an instant query."""
        return self.get("query", query=expr)["result"]

    def up(self):
        """Number of targets that are scraped without an error; 0 while Prometheus starts."""
        try:
            return sum(t["health"] == "up" for t in self.get("targets")["activeTargets"])
        except (RuntimeError, ValueError):
            return 0

    def traffic(self):
        """What the board shows: mutual TLS, plaintext, a failure."""
        self.sent += SIZE
        for pod in (self.client, self.outsider):
            pod.run(sys.executable, STREAM, "check", self.server.ip4, str(PORT), str(SIZE))
        with pytest.raises(RuntimeError):
            self.client.run(sys.executable, STREAM, "check", self.server.ip4, str(CLOSED), "1")
        self.client.run(sys.executable, "-c", LOOK_UP, f"172.30.{self.topology.octet}.2")  # where nobody answers

    def manifest(self, name, text):
        """Put a file into the folder of manifests; no text: take it away."""
        path = os.path.join(self.config, f"{name}.yaml")
        if not text:
            os.unlink(path)
            return
        put_file(path, text)

    def attempt(self):
        """Does a connection work?"""
        try:
            return self.connect()
        except RuntimeError:
            return None

    def connect(self):
        """A connection of the client; Return: the lines that its node's ztunnel has written of it."""
        path = self.nodes[0].log_path
        start = os.path.getsize(path)
        self.client.run(sys.executable, STREAM, "check", self.server.ip4, str(PORT), "100")
        lines, end = [], time.monotonic() + 2
        while not lines and time.monotonic() < end:
            time.sleep(0.02)
            with open(path, encoding="utf-8") as f:
                f.seek(start)
                lines = [line for line in f if "\taccess\t" in line and 'direction="outbound"' in line]
        return lines

    def metrics(self):
        """The client's node, as it stands now."""
        return self.topology.nodes[0].run("curl", "-sf", "http://127.0.0.1:15020/metrics")


@pytest.fixture(scope="module")
def scraped():
    """Two nodes with traffic that is two scrapes old."""
    with started(Scraped, "prometheus") as s:
        yield s


MESH_LOG_OFF = """apiVersion: v1
kind: ConfigMap
metadata: {name: istio, namespace: istio-system}
data: {mesh: 'accessLogFile: ""'}
"""
MESH_DRAIN = """apiVersion: v1
kind: ConfigMap
metadata: {name: istio, namespace: istio-system}
data: {mesh: "defaultConfig: {terminationDrainDuration: 1.5s, concurrency: 2}"}
"""
TELEMETRY = """apiVersion: telemetry.istio.io/v1
kind: Telemetry
metadata: {{name: t, namespace: metrics}}
spec: {spec}
"""


def queries():
    """Every query of every board, its variables as Grafana would fill them in."""
    for path in BOARDS:
        with open(path, encoding="utf-8") as f:
            board = json.load(f)
        for panel in board["panels"]:
            for target in panel.get("targets", []):
                expr = target["expr"].replace("$__rate_interval", "20s")
                yield panel["title"], re.sub(r"\$\{?\w+\}?", ".*", expr)
        for variable in board["templating"]["list"]:
            found = re.fullmatch(r"label_values\((.+), (\w+)\)", variable["query"])
            if found:
                yield f"variable {variable['name']}", f"group by ({found[2]}) ({found[1]})"


@pytest.mark.parametrize("title, expr", list(queries()), ids=lambda x: x if len(x) < 50 and "(" not in x else "")
def test_every_query_of_the_board_shows_something(scraped, title, expr):
    wait_for(lambda: scraped.query(expr), 20, f"{title}: a sample of {expr}")  # the agent's counters come every few seconds


def test_prometheus_knows_the_types(scraped):
    types = {name: known[0]["type"] for name, known in scraped.get("metadata").items()}
    assert types["istio_tcp_connections_opened"] == "counter"
    assert types["istio_tcp_sockets_open"] == "gauge"
    assert "unknown" not in types.values()


def test_bytes_and_connections_are_what_was_sent(scraped):
    def sums():
        return {r["metric"]["reporter"]: float(r["value"][1]) for r in scraped.query(
            'sum by (reporter) (istio_tcp_received_bytes_total{source_principal=~".*/sa/client"})')}

    seen = [{}]
    # a scrape that failed has no samples, one that was under way older ones
    wait_for(lambda: seen.append(sums()) or min(seen[-1].get(r, 0) for r in ("source", "destination")) >= scraped.sent, 10,
             "both nodes' samples")
    assert seen[-1] == {"source": scraped.sent, "destination": scraped.sent}


def test_alert_rules_are_evaluated_without_an_error(scraped):
    run("promtool", "check", "rules", RULES)
    rules = [rule for group in scraped.get("rules")["groups"] for rule in group["rules"]]
    wait_for(lambda: all(r["health"] == "ok" for g in scraped.get("rules")["groups"] for r in g["rules"]), 10, "evaluation")
    assert len(rules) >= 6

    def alerts():
        return {a["labels"]["alertname"] for a in scraped.get("alerts")["alerts"]}  # pending ones, too

    wait_for(lambda: {"CulvertPlaintextAccepted", "CulvertConnectionsFailing"} <= alerts(), 10, "the alerts")
    wait_for(lambda: "CulvertZtunnelDown" not in alerts(), 10, "a scrape of both")


def test_promtool_finds_nothing_in_the_exposition(scraped):
    """It reads the older format, which curl is given; two names are Istio's own choice."""
    text = scraped.topology.nodes[0].run("curl", "-sf", "http://127.0.0.1:15020/metrics")
    done = subprocess.run(["promtool", "check", "metrics"], input=text, capture_output=True, text=True, timeout=120, check=False)
    complaints = [line for line in (done.stdout + done.stderr).splitlines() if line and "_proxy_count" not in line]
    assert not complaints


def test_prometheus_is_answered_in_openmetrics_and_others_in_the_older_text(scraped):
    """Which the scraper has asked for is the type of what it has kept."""
    answers = [scraped.topology.nodes[0].run("curl", "-sfi", *header, "http://127.0.0.1:15020/metrics")
               for header in (("-H", "Accept: application/openmetrics-text;version=1.0.0"), ())]
    assert re.search("(?i)^content-type: application/openmetrics-text;", answers[0], re.M) and answers[0].endswith("# EOF\n")
    assert re.search("(?i)^content-type: text/plain; version=0.0.4;", answers[1], re.M) and "# EOF" not in answers[1]
    kinds = scraped.get("metadata", metric="istio_tcp_connections_opened")
    assert [one["type"] for one in kinds["istio_tcp_connections_opened"]] == ["counter"]


def test_access_log_file_of_the_mesh_is_honoured_live(scraped):
    wait_for(scraped.connect, 5, "a line")
    scraped.manifest("mesh-config", MESH_LOG_OFF)
    wait_for(lambda: not scraped.connect(), 10, "the lines to end")
    scraped.manifest("telemetry", TELEMETRY.format(spec="{accessLogging: [{match: {mode: CLIENT}}]}"))
    wait_for(scraped.connect, 10, "the namespace's own lines")
    scraped.manifest("mesh-config", "")
    scraped.manifest("telemetry", TELEMETRY.format(spec="{accessLogging: [{disabled: true}]}"))
    wait_for(lambda: not scraped.connect(), 10, "the namespace to be silent")
    scraped.manifest("telemetry", "")
    wait_for(scraped.connect, 10, "the lines to be back")


def test_how_long_a_ztunnel_drains_is_the_meshs_to_say(scraped):
    scraped.manifest("mesh-config", MESH_DRAIN)
    wait_for(lambda: "concurrency" in str(scraped.nodes[0].admin("control", "/status")["errors"]), 10, "the configuration")
    pid, = scraped.nodes[0].pids("culvert-ztunnel")
    wait_for(lambda: scraped.connect(), 10, "a connection")
    os.kill(pid, signal.SIGTERM)
    wait_for(lambda: "deadline_ms=1500" in scraped.log(1), 10, "the mesh's deadline in the log")
    scraped.manifest("mesh-config", "")
    wait_for(lambda: scraped.nodes[0].pids("culvert-ztunnel") not in ([], [pid]), 20, "the next ztunnel")
    wait_for(lambda: scraped.attempt(), 20, "its connections")


def test_telemetry_resources_change_labels_and_hide_metrics(scraped):
    spec = ("{metrics: [{overrides: [{match: {mode: CLIENT}, tagOverrides: {source_principal: {operation: REMOVE}, "
            "env: {value: \"'test'\"}}}, {match: {metric: TCP_SENT_BYTES, mode: CLIENT}, disabled: true}]}]}")
    scraped.manifest("telemetry", TELEMETRY.format(spec=spec))

    def tagged():
        scraped.connect()
        return [line for line in scraped.metrics().splitlines() if 'env="test"' in line]

    wait_for(tagged, 10, "the label env")
    lines = tagged()
    assert {line.split("{")[0] for line in lines} == {
        f"istio_tcp_{name}_total" for name in ("connections_opened", "connections_closed", "received_bytes")}
    assert not any("source_principal" in line for line in lines)
    scraped.manifest("telemetry", "")


def test_a_filter_of_the_access_log_is_evaluated_and_a_label_may_be_of_one_metric(scraped):
    def spec(expression):
        return ("{accessLogging: [{match: {mode: CLIENT}, filter: {expression: \"%s\"}}], metrics: [{overrides: [{match: {metric: "
                "TCP_SENT_BYTES, mode: CLIENT}, tagOverrides: {port: {value: destination.port}, source_principal: "
                "{operation: REMOVE}}}]}]}" % expression)

    scraped.manifest("telemetry", TELEMETRY.format(spec=spec("response.code >= 400 || !connection.mtls")))
    wait_for(lambda: not scraped.connect(), 10, "no line for what is well")
    start = len(scraped.log(1))
    with pytest.raises(RuntimeError):
        scraped.client.run(sys.executable, STREAM, "check", scraped.server.ip4, str(CLOSED), "1")
    wait_for(lambda: f"dst.hbone_addr={scraped.server.ip4}:{CLOSED}" in scraped.log(1)[start:], 5, "a line for what failed")

    def ported_lines():
        scraped.connect()
        return [line for line in scraped.metrics().splitlines() if f'port="{PORT}"' in line]

    wait_for(ported_lines, 10, "the label port")
    ported = ported_lines()
    assert all(line.startswith("istio_tcp_sent_bytes_total{") for line in ported)
    assert not any("source_principal" in line for line in ported)
    scraped.manifest("telemetry", TELEMETRY.format(spec=spec("request.method == 'GET'")))
    wait_for(scraped.connect, 10, "lines of all: the filter is not understood")
    problems = scraped.nodes[0].admin("control", "/status")["errors"]
    assert any("request.method has no meaning here" in p["message"] for p in problems), problems
    scraped.manifest("telemetry", "")


def test_what_an_agent_said_goes_with_it(scraped):
    """Its pods are no longer counted as captured by one that is not there; what the kernel has counted comes back with the next."""
    def counted():
        return [int(n) for n in re.findall(r'^culvert_bpf_events_total\{reason="tunnel"\} (\d+)$', scraped.metrics(), re.M)]

    before, = counted()
    agent, = scraped.nodes[0].pids("culvert-agent")
    os.kill(agent, signal.SIGKILL)
    wait_for(lambda: "culvert_agent_pods{" not in scraped.metrics() and not counted(), 10, "the end of what it said")
    wait_for(lambda: 'culvert_agent_pods{state="captured"} 1' in scraped.metrics(), 30, "the next one's word")
    assert counted()[0] >= before

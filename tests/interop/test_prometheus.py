# SPDX-License-Identifier: Apache-2.0
"""A real Prometheus scrapes two Culvert nodes: the exposition, every query of the Grafana board, and the alert rules."""
import glob
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.parse

import pytest

sys.path.insert(0, os.path.dirname(__file__))
from culvert_node import ROOT, CulvertNode, stop, wait_for, write_config
from topology import Topology, remove_stale, run

TAG = "prometheus"
STREAM = os.path.join(os.path.dirname(__file__), "stream.py")
PORT, CLOSED = 9400, 9401
BOARDS = glob.glob(f"{ROOT}/tools/deploy/dashboards/*.json")
RULES = f"{ROOT}/tools/deploy/dashboards/rules.yaml"
SCRAPE = """global: {{scrape_interval: 1s, scrape_timeout: 900ms, evaluation_interval: 1s}}
rule_files: ["{rules}"]
scrape_configs:
  - job_name: ztunnel
    static_configs: [{{targets: ["{first}:15020", "{second}:15020"]}}]
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


class Scraped:
    """client and an unmeshed pod on node 1, server on node 2, Prometheus in node 1's namespace."""

    def __init__(self, work_dir):
        remove_stale("pm")
        self.processes, self.nodes = [], []
        self.topology = Topology("pm", 91)
        self.client, self.outsider = self.topology.pod(1, "c"), self.topology.pod(1, "o")
        self.server = self.topology.pod(2, "s")
        for pod, account in ((self.client, "client"), (self.server, "server")):
            pod.namespace, pod.account = "metrics", account
        self.start(self.server, sys.executable, STREAM, "serve", str(PORT))
        self.config = config = os.path.join(work_dir, "config")
        write_config(config, [self.client, self.server], OUTSIDER.format(ip=self.outsider.ip4))
        for i in (0, 1):
            self.nodes.append(CulvertNode(self.topology.nodes[i], i + 1, config, TAG))
        self.nodes[0].wait_captured([self.client.name])
        self.nodes[1].wait_captured([self.server.name])
        self.start_prometheus(work_dir)

    def start(self, where, *argv, **kwargs):
        """A process that ends with the fixture."""
        process = where.popen(*argv, **kwargs)
        self.processes.append(process)
        return process

    def start_prometheus(self, work_dir):
        """Ports and data are its own: it listens in the node's namespace only."""
        config = os.path.join(work_dir, "prometheus.yaml")
        first, second = (f"172.30.{self.topology.octet}.{i}" for i in (1, 2))
        with open(config, "w", encoding="utf-8") as f:
            f.write(SCRAPE.format(rules=RULES, first=first, second=second))
        run("promtool", "check", "config", config)
        self.log = open(os.path.join(work_dir, "prometheus.log"), "w", encoding="utf-8")
        self.start(self.topology.nodes[0], "prometheus", f"--config.file={config}",
                   f"--storage.tsdb.path={work_dir}/data", "--web.listen-address=127.0.0.1:9090",
                   stdout=self.log, stderr=self.log, env=dict(os.environ, GOMAXPROCS="1"))
        wait_for(lambda: self.up() == 2, 30, "both nodes scraped")

    def get(self, path, **query):
        """The data of an answer of Prometheus' API."""
        url = f"http://127.0.0.1:9090/api/v1/{path}?{urllib.parse.urlencode(query)}"
        answer = json.loads(self.topology.nodes[0].run("curl", "-s", "--max-time", "10", url))
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
        for pod in (self.client, self.outsider):
            pod.run(sys.executable, STREAM, "check", self.server.ip4, str(PORT), "20000")
        with pytest.raises(RuntimeError):
            self.client.run(sys.executable, STREAM, "check", self.server.ip4, str(CLOSED), "1")
        self.client.run(sys.executable, "-c", LOOK_UP, f"172.30.{self.topology.octet}.2")  # where nobody answers

    def manifest(self, name, text):
        """Put a file into the folder of manifests; no text: take it away."""
        path = os.path.join(self.config, f"{name}.yaml")
        if not text:
            os.unlink(path)
            return
        with open(os.path.join(self.config, f".{name}.new"), "w", encoding="utf-8") as f:
            f.write(text)
        os.rename(f.name, path)

    def connect(self):
        """A connection of the client; Return: the lines that its node's ztunnel has written of it."""
        path = self.nodes[0].log_path
        start = os.path.getsize(path)
        self.client.run(sys.executable, STREAM, "check", self.server.ip4, str(PORT), "100")
        lines, end = [], time.monotonic() + 0.5
        while not lines and time.monotonic() < end:
            time.sleep(0.02)
            with open(path, encoding="utf-8") as f:
                f.seek(start)
                lines = [line for line in f if "\taccess\t" in line and 'direction="outbound"' in line]
        return lines

    def metrics(self):
        """The client's node, as it stands now."""
        return self.topology.nodes[0].run("curl", "-sf", "http://127.0.0.1:15020/metrics")

    def close(self):
        """End everything."""
        for process in reversed(self.processes):
            stop(process)
        for node in self.nodes:
            node.close()
        self.topology.close()


@pytest.fixture(scope="module")
def scraped():
    """Two nodes with traffic that is two scrapes old."""
    with tempfile.TemporaryDirectory(prefix="culvert-prometheus-") as work_dir:
        os.chmod(work_dir, 0o755)
        s = None
        try:
            s = Scraped(work_dir)
            s.traffic()
            wait_for(lambda: s.query("istio_tcp_connections_failed_total"), 10, "the failure to be scraped")
            s.traffic()
            wait_for(lambda: s.query("rate(istio_tcp_connections_failed_total[10s]) > 0"), 15, "a second one, for rates")
            yield s
        finally:
            if s:
                s.close()


MESH_LOG_OFF = """apiVersion: v1
kind: ConfigMap
metadata: {name: istio, namespace: istio-system}
data: {mesh: 'accessLogFile: ""'}
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
            found = re.fullmatch(r"label_values\((\w+), (\w+)\)", variable["query"])
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
    sums = {r["metric"]["reporter"]: float(r["value"][1]) for r in scraped.query(
        'sum by (reporter) (istio_tcp_received_bytes_total{source_principal=~".*/sa/client"})')}
    assert sums == {"source": 40000, "destination": 40000}


def test_alert_rules_are_evaluated_without_an_error(scraped):
    run("promtool", "check", "rules", RULES)
    rules = [rule for group in scraped.get("rules")["groups"] for rule in group["rules"]]
    wait_for(lambda: all(r["health"] == "ok" for g in scraped.get("rules")["groups"] for r in g["rules"]), 10, "evaluation")
    assert len(rules) >= 6

    def alerts():
        return {a["labels"]["alertname"] for a in scraped.get("alerts")["alerts"]}  # pending ones, too

    wait_for(lambda: {"CulvertPlaintextAccepted", "CulvertConnectionsFailing"} <= alerts(), 10, "the alerts")
    assert "CulvertZtunnelDown" not in alerts()


def test_promtool_finds_nothing_in_the_exposition(scraped):
    """It reads the older format, where the family of a counter is called _total; two names are Istio's own choice."""
    text = scraped.topology.nodes[0].run("curl", "-sf", "http://127.0.0.1:15020/metrics")
    assert text.endswith("# EOF\n")
    counters = re.findall(r"^# TYPE (\S+) counter$", text, re.M)
    for name in counters:
        text = re.sub(rf"^# (HELP|TYPE) {name} ", rf"# \1 {name}_total ", text, flags=re.M)
    done = subprocess.run(["promtool", "check", "metrics"], input=text, capture_output=True, text=True, timeout=20, check=False)
    complaints = [line for line in (done.stdout + done.stderr).splitlines() if line and "_proxy_count" not in line]
    assert not complaints


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

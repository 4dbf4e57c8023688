# SPDX-License-Identifier: Apache-2.0
"""Kinds of workloads and ways to reach a Service, each under PERMISSIVE and under STRICT. `make test-kube` runs this
file on clusters of each IP family and each mode of kube-proxy."""
import contextlib
import json
import re
import subprocess
import urllib.request
import uuid

import pytest
from kubelab import layout
from kubelab.cluster import Canary, curl_from_outside, eventually, pod, service
from kubelab.run import sh

pytestmark = pytest.mark.quick

UNTIL_ANSWERED = "until curl -sf -m 2 http://web; do sleep 0.1; done"
HOST_PORT = 18080


def workload(kind, group, namespace, name, spec, **more):
    """A StatefulSet or Job whose pods are called like `name`."""
    template = {"metadata": {"labels": {"app": name}}, "spec": {"terminationGracePeriodSeconds": 1, **spec}}
    return {"apiVersion": group, "kind": kind, "metadata": {"name": name, "namespace": namespace},
            "spec": {"template": template, **more}}


def container(image, command=None, **more):
    return {"name": "main", "image": f"culvert.test/{image}:1", "imagePullPolicy": "Never",
            **({"command": ["sh", "-c", command]} if command else {}), **more}


def ways_in(namespace, policy):
    """A Service that is reached from outside, by NodePort and by the address that a load balancer would have."""
    return service(namespace, f"in-{policy.lower()}", selector={"app": "web"}, type="LoadBalancer",
                   externalTrafficPolicy=policy)


def probed(one):
    """The pod with probes of every kind beside its readinessProbe by HTTP: the first that fails starts it again."""
    every = {"periodSeconds": 1, "timeoutSeconds": 20, "failureThreshold": 1}
    one["spec"]["containers"][0].update(livenessProbe={"tcpSocket": {"port": 80}, **every},
                                        startupProbe={"exec": {"command": ["cat", "/tmp/nginx.pid"]}, **every, "failureThreshold": 99})
    return one


def probes(cluster, namespace, name, at="n1"):
    """How many the kubelet has made of this pod, by (type, result)."""
    text = cluster.run("get", "--raw", f"/api/v1/nodes/{at}/proxy/metrics/probes")
    rows = re.findall(r"^prober_probe_total{(.*)} (\d+)", text, re.M)
    labels = [(dict(re.findall(r'(\w+)="([^"]*)"', row)), int(count)) for row, count in rows]
    return {(one["probe_type"], one["result"]): count for one, count in labels if (one["namespace"], one["pod"]) == (namespace, name)}


def objects(ns):
    """web on n1 (and on its hostPort), near on both nodes, far on n1 only, db a StatefulSet; clients on n2."""
    web = probed(pod(ns, "web", "nginx", "n1"))
    web["spec"]["containers"][0]["ports"] = [{"containerPort": 80, "hostPort": HOST_PORT}]
    none = {"istio.io/dataplane-mode": "none"}
    return [web, service(ns, "web"), pod(ns, "client", "client", "n2"), pod(ns, "plain", "client", "n2", none),
            pod(ns, "near", "nginx", "n2"), service(ns, "near", internalTrafficPolicy="Local"),
            service(ns, "far", selector={"app": "web"}, internalTrafficPolicy="Local"),
            pod(ns, "node-client", "client", "n2", hostNetwork=True, dnsPolicy="ClusterFirstWithHostNet"),
            pod(ns, "node-web", "nginx", "n1", hostNetwork=True),
            workload("StatefulSet", "apps/v1", ns, "db", {"nodeName": "n1", "containers": [container("nginx")]},
                     serviceName="db", replicas=1, selector={"matchLabels": {"app": "db"}}),
            service(ns, "db", clusterIP="None"), ways_in(ns, "Cluster"), ways_in(ns, "Local")]


@pytest.fixture(scope="module")
def shop(cluster, mesh):
    ns = f"t{uuid.uuid4().hex[:8]}"
    cluster.run("create", "namespace", ns)
    cluster.run("label", "namespace", ns, "istio.io/dataplane-mode=ambient")
    cluster.apply(*objects(ns))
    names = ("web", "client", "plain", "near", "node-client", "node-web", "db-0")
    eventually(lambda: cluster.run("get", "pod", "-n", ns, "db-0", "--ignore-not-found"), what="the StatefulSet's pod")
    cluster.wait_ready(ns, *names)
    for name in ("web", "client", "near", "db-0"):
        eventually(lambda n=name: cluster.is_captured(ns, n), what=f"{name} is captured")
    for name in ("plain", "node-client", "node-web"):
        assert not cluster.is_captured(ns, name), f"{name} is captured"
    yield ns
    cluster.run("delete", "namespace", ns, "--wait=false")


@pytest.fixture(scope="module", params=["PERMISSIVE", "STRICT"])
def strict(cluster, shop, request):
    """Return: whether it is STRICT, which has come into force."""
    is_strict = request.param == "STRICT"
    cluster.apply({"apiVersion": "security.istio.io/v1", "kind": "PeerAuthentication",
                   "metadata": {"name": "mode", "namespace": shop}, "spec": {"mtls": {"mode": request.param}}})
    eventually(lambda: bool(cluster.curl(shop, "plain", "http://web")) != is_strict, what=f"{request.param} is in force")
    return is_strict


def pod_ips(cluster, namespace, name):
    return [one["ip"] for one in cluster.get("pod", "-n", namespace, name)["status"]["podIPs"]]


def client_of(body):
    return re.search("^client (.*)$", body, re.M).group(1)


def test_nothing_is_plain_and_the_client_is_shown(cluster, shop, strict):
    """By each family's address and by name; the server sees the pod that asked."""
    ips = pod_ips(cluster, shop, "client")
    assert len(ips) == len(layout.stacks())
    for option in [f"-{6 if ':' in ip else 4}" for ip in ips]:
        with Canary(cluster) as canary:
            body = eventually(lambda o=option, w=canary.word: cluster.curl(shop, "client", f"http://web/{w}", o),
                              what=f"an answer by curl {option}")
        assert body.startswith("nginx web\n")
        assert client_of(body) in ips
        assert not canary.was_seen() and canary.ports() <= {15008}


def test_pod_addresses_are_encrypted_too(cluster, shop, strict):
    for ip in pod_ips(cluster, shop, "web"):
        with Canary(cluster) as canary:
            assert cluster.curl(shop, "client", f"http://{layout.in_url(ip)}/{canary.word}")
        assert not canary.was_seen() and canary.ports() <= {15008}


def test_probes_pass(cluster, shop, strict):
    """By HTTP, TCP and a command, of a pod that was there and of one that is new."""
    def liveness(name):
        return probes(cluster, shop, name).get(("Liveness", "successful"), 0)
    late = f"probed-{'strict' if strict else 'permissive'}"
    cluster.apply(probed(pod(shop, late, "nginx", "n1")))
    cluster.wait_ready(shop, late)
    assert cluster.is_captured(shop, late)
    for name in ("web", late):
        began, live = cluster.probes(shop, name), liveness(name)
        eventually(lambda n=name, b=began, li=live: cluster.probes(shop, n) >= b + 3 and liveness(n) >= li + 3, what="three of each")
        assert cluster.is_ready(shop, name)
        have = probes(cluster, shop, name)
        assert have[("Startup", "successful")] and not have.get(("Liveness", "failed")), have
        uid = cluster.get("pod", "-n", shop, name)["metadata"]["uid"]
        assert cluster.restarts(shop)[uid] == [0]


def test_host_network_pods_are_left_alone(cluster, shop, strict):
    """They speak plaintext, which PERMISSIVE takes and STRICT does not; and they are spoken to in plaintext."""
    assert bool(cluster.curl(shop, "node-client", "http://web")) == (not strict)
    node_ip = layout.in_url(cluster.nodes[0].ip)
    assert cluster.curl(shop, "client", f"http://{node_ip}").startswith("nginx ")


def test_jobs_complete(cluster, shop, strict):
    name = f"job-{'strict' if strict else 'permissive'}"
    cluster.apply(workload("Job", "batch/v1", shop, name, {
        "nodeName": "n2", "restartPolicy": "Never", "containers": [container("client", UNTIL_ANSWERED)]}))
    cluster.run("wait", "-n", shop, "--for=condition=complete", f"job/{name}", "--timeout=180s", timeout=200)


def test_init_containers_are_in_the_mesh(cluster, shop, strict):
    name = f"late-{'strict' if strict else 'permissive'}"
    init = {**container("client", UNTIL_ANSWERED), "name": "first"}
    cluster.apply(pod(shop, name, "client", "n2", initContainers=[init]))
    cluster.wait_ready(shop, name)


def test_pods_of_stateful_sets_have_names(cluster, shop, strict):
    for name in ("db-0.db", f"db-0.db.{shop}.svc.cluster.local"):
        with Canary(cluster) as canary:
            body = eventually(lambda n=name, w=canary.word: cluster.curl(shop, "client", f"http://{n}/{w}"),
                              what=f"an answer of {name}")
        assert body.startswith("nginx db-0\n")
        assert not canary.was_seen() and canary.ports() <= {15008}


@contextlib.contextmanager
def port_forward(cluster, namespace, name):
    proc = subprocess.Popen([*cluster.kubectl, "port-forward", "-n", namespace, f"pod/{name}", ":80"],
                            stdout=subprocess.PIPE, text=True)
    try:
        yield int(re.search(r"127.0.0.1:(\d+)", proc.stdout.readline()).group(1))
    finally:
        proc.terminate()
        proc.communicate()


def test_port_forward_and_exec_work(cluster, shop, strict):
    with port_forward(cluster, shop, "web") as port:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}", timeout=60) as answer:
            assert answer.read().startswith(b"nginx web\n")
    assert cluster.exec(shop, "web", "cat", "/etc/nginx.conf")[0] == 0


def test_host_ports_are_plain(cluster, shop, strict):
    for stack, ip in zip(layout.stacks(), cluster.nodes[0].ips):
        body = curl_from_outside(ip, HOST_PORT)
        assert body == ("" if strict else f"nginx web\nclient {stack.host_ip}\n")


@contextlib.contextmanager
def load_balancer(cluster, namespace, name, stack, node):
    """Gives the Service an address of its own as a cloud would, whose packets go to this node."""
    ip = stack.balancer_ips[name == "in-local"]
    cluster.run("patch", "service", "-n", namespace, name, "--subresource=status", "-p",
                json.dumps({"status": {"loadBalancer": {"ingress": [{"ip": ip}]}}}))
    sh("ip", "route", "add", ip, "via", stack.node_ip(node))
    try:
        yield ip
    finally:
        sh("ip", "route", "del", ip, "via", stack.node_ip(node))
        cluster.run("patch", "service", "-n", namespace, name, "--subresource=status", "-p",
                    json.dumps({"status": {"loadBalancer": None}}))


def ways_to(cluster, namespace, name, stack, node):
    """Addresses and ports of a Service at a node, for those outside."""
    port = cluster.get("service", "-n", namespace, name)["spec"]["ports"][0]["nodePort"]
    return stack.node_ip(node), port


@pytest.mark.parametrize("policy", ["Cluster", "Local"])
def test_from_outside(cluster, shop, strict, policy):
    """web runs on n1. Local: only n1 answers, and the client is seen; Cluster: both do, as themselves."""
    name = f"in-{policy.lower()}"
    for stack in layout.stacks():
        for node in (1, 2):
            with load_balancer(cluster, shop, name, stack, node) as ip:
                answers = not strict and (policy == "Cluster" or node == 1)
                if answers:
                    eventually(lambda i=ip: curl_from_outside(i, 80), what="kube-proxy has the address")
                for way in ((ip, 80), ways_to(cluster, shop, name, stack, node)):
                    body = curl_from_outside(*way)
                    assert bool(body) == answers, f"{way} at n{node}"
                    assert not body or (client_of(body) == stack.host_ip) == (policy == "Local")
                with Canary(cluster) as canary:
                    eventually(lambda i=ip, w=canary.word: cluster.curl(shop, "client", f"http://{layout.in_url(i)}/{w}"),
                               what="the mesh has the load balancer's address")
                assert not canary.was_seen() and canary.ports() <= {15008}


def test_node_ports_are_the_service_for_pods_of_the_mesh(cluster, shop, strict):
    """kube-proxy would show a node as the client: with another answer the mesh is at work."""
    ips = pod_ips(cluster, shop, "client")
    for stack in layout.stacks():
        for node in (1, 2):
            host, port = ways_to(cluster, shop, "in-cluster", stack, node)
            url = f"http://{layout.in_url(host)}:{port}"
            eventually(lambda u=url: client_of(cluster.curl(shop, "client", u) or "client ") in ips, what=f"{url} is the Service")
            with Canary(cluster) as canary:
                assert client_of(cluster.curl(shop, "client", f"{url}/{canary.word}")) in ips
            assert not canary.was_seen() and canary.ports() <= {15008}


def test_host_ports_are_their_pod_for_pods_of_the_mesh(cluster, shop, strict):
    """For others the CNI does what it does."""
    def is_protected(url):
        with Canary(cluster) as canary:
            body = cluster.curl(shop, "client", f"{url}/{canary.word}")
        return body.startswith("nginx web\n") and client_of(body) in ips and not canary.was_seen() and canary.ports() <= {15008}

    ips = pod_ips(cluster, shop, "client")
    for ip in cluster.nodes[0].ips:
        url = f"http://{layout.in_url(ip)}:{HOST_PORT}"
        eventually(lambda u=url: is_protected(u), what=f"{url} is the pod")
        assert is_protected(url)
        assert bool(cluster.curl(shop, "plain", url)) == (not strict)


def test_internal_traffic_stays_on_the_node(cluster, shop, strict):
    for _ in range(3):
        assert cluster.curl(shop, "client", "http://near").startswith("nginx near\n")
    assert cluster.curl(shop, "client", "http://far") == ""

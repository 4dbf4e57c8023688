# SPDX-License-Identifier: Apache-2.0
"""Everything is killed in random order under load, a node is switched off and on, the API server, a control plane or the webhook
is away: nothing in plaintext, and afterwards all is as if nothing had been.

CULVERT_FAULT_ROUNDS: how many kills; `make soak` takes more."""
import contextlib
import json
import os
import random
import re
import signal
import subprocess
import time

import pytest
from kubelab import layout, node, plane
from kubelab.cluster import Canary, Load, eager, eventually, pids_of, pod, service
from stranger import expired

ROUNDS = int(os.environ.get("CULVERT_FAULT_ROUNDS", "10"))
SEED = int(os.environ.get("CULVERT_FAULT_SEED", "0")) or random.randrange(1, 1 << 32)
VICTIMS = ("culvert-agent", "culvert-ztunnel", "culvert-control", "containerd", "kubelet")
PODS = {"web1": "n1", "web2": "n2", "client": "n2", "peer": "n1"}
POLICY = "not-port-9"
HEAL_S = 180
CUT_S = 10  # of silence, after which a control plane says that it is cut off
SYSTEM = "istio-system"


@pytest.fixture
def apps(cluster, mesh, namespace):
    """A server and a client on each node, in the mesh, and a policy; each server is asked from the other node."""
    cluster.run("label", "namespace", namespace, "istio.io/dataplane-mode=ambient")
    cluster.apply(*(pod(namespace, name, "nginx" if "web" in name else "client", at) for name, at in PODS.items()),
                  service(namespace, "web1"), service(namespace, "web2"),
                  {"apiVersion": "security.istio.io/v1", "kind": "AuthorizationPolicy",
                   "metadata": {"name": POLICY, "namespace": namespace},
                   "spec": {"action": "DENY", "rules": [{"to": [{"operation": {"ports": ["9"]}}]}]}})
    cluster.wait_ready(namespace, *PODS)
    wait_healed(cluster, namespace)
    return namespace


def answers(cluster, namespace, word=""):
    return bool(cluster.curl(namespace, "client", f"http://web1/{word}") and
                cluster.curl(namespace, "peer", f"http://web2/{word}"))


def kill(cluster, number, victim):
    if victim == "culvert-control":  # on whichever node it is
        cluster.kill(1, victim)
        cluster.kill(2, victim)
    elif victim in ("containerd", "kubelet"):
        node.signal_daemon(cluster.nodes[number - 1], victim, "KILL")
    else:
        cluster.kill(number, victim)


def known(cluster, number, what):
    """What a node's ztunnel knows: "workload", "service" or "policy"."""
    code, out = cluster.exec(SYSTEM, cluster.node_pod(number), "culvert", "ztunnel-config", what, "-o", "json",
                             "--run-dir", "/run/culvert", container="ztunnel")
    assert code == 0
    return json.loads(out)


def workloads(cluster, number):
    """Per pod its address, node and protocol."""
    return {(w["namespace"], w["name"], tuple(w["workloadIps"]), w["node"], w["protocol"]) for w in known(cluster, number, "workload")}


def services(cluster, number):
    """Per Service its addresses and endpoints."""
    return {(s["namespace"], s["name"], tuple(sorted(vip.split("/")[-1] for vip in s["vips"])), tuple(sorted(s["endpoints"])))
            for s in known(cluster, number, "service")}


def policies(cluster, number):
    return {(p["namespace"], p["name"], p["action"]) for p in known(cluster, number, "policy")}


def wanted_services(cluster, namespace):
    """As the API server has them; each has one pod behind it, which is called as it is."""
    return {(namespace, s["metadata"]["name"], tuple(sorted(s["spec"]["clusterIPs"])),
             (f"Kubernetes//Pod/{namespace}/{s['metadata']['name']}",)) for s in cluster.get("services", "-n", namespace)["items"]}


def wanted_destinations(cluster, namespace, pods):
    """What the kernel's maps are to have: an entry for each address of a pod, for each port at each address of a Service."""
    found = {"cv_workloads": {f"{namespace}/{name}": len(p["status"].get("podIPs", [])) for name, p in pods.items()}, "cv_services": {}}
    for s in cluster.get("services", "-n", namespace)["items"]:
        name = f"{namespace}/{s['metadata']['name']}"
        found["cv_services"][name] = len(s["spec"]["clusterIPs"]) * len(s["spec"]["ports"])
    return found


def differences(cluster, namespace):
    """Return: what is not as the API server has it; [] when all is."""
    got = cluster.get("pods", "-A")["items"]
    wrong = [f"{p['metadata']['name']} is not ready" for p in got
             if not any(c["type"] == "Ready" and c["status"] == "True" for c in p["status"].get("conditions", []))]
    ours = {p["metadata"]["name"]: p for p in got if p["metadata"]["namespace"] == namespace}
    for number in (1, 2):
        want = {f"{namespace}/{name}" for name, at in PODS.items() if at == f"n{number}"}
        have = {name for name in cluster.captured(number) if name.startswith(namespace + "/")}
        if want != have:
            wrong.append(f"n{number} captures {have}, not {want}")
        for name, want in wanted_destinations(cluster, namespace, ours).items():
            have = {k: n for k, n in cluster.destinations(number, name).items() if k.startswith(namespace + "/")}
            if want != have:
                wrong.append(f"n{number}, {name} has {have}, not {want}")
    wanted = {workloads: {(namespace, name, tuple(one["ip"] for one in p["status"].get("podIPs", [])), PODS[name], "HBONE")
                          for name, p in ours.items()},
              services: wanted_services(cluster, namespace), policies: {(namespace, POLICY, "Deny")}}
    for table, want in wanted.items():
        one, other = (table(cluster, n) for n in (1, 2))
        if one != other:
            wrong.append(f"{table.__name__}: the nodes differ: {one ^ other}")
        have = {row for row in one if row[0] == namespace}
        if want != have:
            wrong.append(f"{table.__name__}: ztunnel knows {have}, not {want}")
    return wrong


def wait_healed(cluster, namespace, seconds=HEAL_S):
    last = []

    def is_healed():
        try:
            last[:] = differences(cluster, namespace)
        except (AssertionError, json.JSONDecodeError, IndexError) as e:
            last[:] = [str(e)]
        return not last and answers(cluster, namespace)
    try:
        eventually(is_healed, seconds, "all is as it was")
    except AssertionError as e:
        raise AssertionError(f"{e}: {last}") from e


def starts_meanwhile(cluster, namespace, number, word):
    """Pods that are made while something is away are held for no longer than that, and are in the mesh when they are Ready. One
    speaks over the link from its first instruction on, the other is asked over it, and neither is heard there."""
    web, asker = ("web2", "client") if number == 1 else ("web1", "peer")  # on the other node
    address = cluster.get("pod", "-n", namespace, web)["status"]["podIP"]
    names = ("late", "eager")
    cluster.apply(pod(namespace, "late", "nginx", f"n{number}"), eager(namespace, "eager", f"n{number}", address, word))
    cluster.wait_ready(namespace, *names)
    for name in names:
        eventually(lambda n=name: cluster.is_captured(namespace, n), HEAL_S, f"{name}, which is new, is captured")
        assert not cluster.refused_in_vain(namespace, name)
    late = cluster.get("pod", "-n", namespace, "late")["status"]["podIP"]
    eventually(lambda: cluster.curl(namespace, asker, f"http://{late}/{word}"), HEAL_S, "an answer of the new pod")
    eventually(lambda: cluster.curl(namespace, "eager", f"http://{address}/{word}"), HEAL_S, "an answer for the new pod")
    cluster.run("delete", "pod", "-n", namespace, *names)


def test_kills_in_random_order(cluster, apps):
    print(f"CULVERT_FAULT_SEED={SEED}")
    dice = random.Random(SEED)
    order = (list(VICTIMS) * (ROUNDS // len(VICTIMS) + 1))[:ROUNDS]
    dice.shuffle(order)
    with Canary(cluster) as canary, \
            Load(cluster, apps, "client", cluster.service_ip(apps, "web1"), path=f"/{canary.word}") as one, \
            Load(cluster, apps, "peer", cluster.service_ip(apps, "web2"), path=f"/{canary.word}") as two:
        for victim in order:
            number = dice.choice((1, 2))
            print(f"{time.time():.3f} kill {victim} on n{number}")
            kill(cluster, number, victim)
            starts_meanwhile(cluster, apps, number, canary.word)
            eventually(lambda: answers(cluster, apps, canary.word), HEAL_S, f"answers after {victim} was killed")
        wait_healed(cluster, apps)
    assert not canary.was_seen(), "plaintext crossed the link"
    assert sum(what.startswith("ok") for *_, what in one.results + two.results) > ROUNDS


def test_the_api_server_is_away(cluster, apps):
    """What is known stays in force, and changes that came meanwhile are heard of."""
    with Load(cluster, apps, "client", cluster.service_ip(apps, "web1")) as load:
        eventually(lambda: len(load.results) > 20, what="requests")
        with plane.paused("apiserver"):
            eventually(lambda: len(load.results) > 300, what="requests without an API server")
    assert load.failed() == []
    cluster.run("label", "namespace", apps, "istio.io/dataplane-mode-")
    eventually(lambda: not cluster.is_captured(apps, "client"), what="the label's end is heard of")


def control_address(cluster):
    """Of the one that is not about to end."""
    address, = (p["status"]["podIP"] for p in cluster.get("pods", "-n", SYSTEM, "-l", "app=istiod")["items"]
                if not p["metadata"].get("deletionTimestamp"))
    return address


def control_says(address, port, path):
    """What a control plane's pod says to somebody who needs no API server to ask it. Return: (status, text)."""
    done = subprocess.run(["curl", "-s", "-m", "5", "-w", "\n%{http_code}", f"http://{layout.in_url(address)}:{port}{path}"],
                          stdout=subprocess.PIPE, text=True, check=False)
    text, status = done.stdout.rsplit("\n", 1)
    return int(status), text


def streams(address):
    """How many nodes it serves: clients of either sort."""
    return {kind: int(n) for kind, n in re.findall(r'^pilot_xds\{type="(\w+)"\} (\d+)', control_says(address, 15014, "/metrics")[1], re.M)}


def sandbox_of(uid):
    """The process that holds a pod's namespaces, and which one of the network it is; None while there is none."""
    for pid in pids_of(uid):
        with contextlib.suppress(OSError), open(f"/proc/{pid}/comm", encoding="ascii") as f:
            if f.read() == "pause\n":
                return pid, os.readlink(f"/proc/{pid}/ns/net")
    return None


def asks(pid, url):
    """From a pod's network, with nobody but its node's help. Return: the body, "" without one."""
    return subprocess.run(["nsenter", f"--net=/proc/{pid}/ns/net", "curl", "-sf", "-m", "20", url], stdout=subprocess.PIPE,
                          text=True, check=False).stdout


def starts_again(uid, url):
    """A pod's sandbox is made anew, a start for which the kubelet has nothing to ask; and the new one has an answer."""
    before = sandbox_of(uid)
    os.kill(before[0], signal.SIGKILL)
    after = eventually(lambda: (s := sandbox_of(uid)) and s[1] != before[1] and s, what="another sandbox")
    eventually(lambda: asks(after[0], url), what="an answer for the pod that starts again")


def test_the_api_server_is_away_for_longer_than_a_control_plane_believes_in(cluster, apps):
    """It says that it is not ready and ends the streams; nodes go on with what they have, and a pod of theirs starts again in the
    mesh. Afterwards all is as it was, and what is changed then is heard of."""
    cluster.apply(pod(apps, "again", "client", "n2"))
    cluster.wait_ready(apps, "again")
    eventually(lambda: cluster.is_captured(apps, "again"), what="again is captured")
    uid = cluster.get("pod", "-n", apps, "again")["metadata"]["uid"]
    address = cluster.get("pod", "-n", apps, "web1")["status"]["podIP"]
    control = control_address(cluster)
    assert control_says(control, 8080, "/ready")[0] == 200
    eventually(lambda: streams(control) == {"ztunnel": 2, "agent": 2}, what="it serves all nodes")
    with Canary(cluster) as canary, \
            Load(cluster, apps, "client", cluster.service_ip(apps, "web1"), path=f"/{canary.word}") as load:
        eventually(lambda: len(load.results) > 20, what="requests")
        with plane.without_api():
            began = time.monotonic()
            said = eventually(lambda: (s := control_says(control, 8080, "/ready"))[0] == 503 and s[1], 3 * CUT_S, "it is not ready")
            assert time.monotonic() - began > CUT_S - 2 and "have not been heard of since" in said
            eventually(lambda: not any(streams(control).values()), what="it serves no node")
            starts_again(uid, f"http://{layout.in_url(address)}/{canary.word}")
            assert f"{apps}/again" in cluster.captured(2)
            done = len(load.results)
            eventually(lambda: len(load.results) > done + 200, what="requests that nobody's control plane looks after")
        eventually(lambda: control_says(control, 8080, "/ready")[0] == 200, HEAL_S, "it is ready")
        eventually(lambda: streams(control) == {"ztunnel": 2, "agent": 2}, HEAL_S, "the nodes are back")
        cluster.wait_ready(apps, "again")
        cluster.run("delete", "pod", "-n", apps, "again")
        wait_healed(cluster, apps)
    assert load.failed() == []
    assert not canary.was_seen(), "plaintext crossed the link"
    cluster.run("label", "namespace", apps, "istio.io/dataplane-mode-")
    eventually(lambda: not cluster.is_captured(apps, "client"), what="the label's end is heard of")


def token_file(cluster, number):
    """Of the mesh's pod on a node, as the kubelet keeps it there."""
    uid = cluster.get("pod", "-n", SYSTEM, cluster.node_pod(number))["metadata"]["uid"]
    return f"{cluster.nodes[number - 1].data}/kubelet/pods/{uid}/volumes/kubernetes.io~projected/istio-token/..data/istio-token"


def mesh_containers(cluster, number):
    return {c["containerID"] for c in cluster.get("pod", "-n", SYSTEM, cluster.node_pod(number))["status"]["containerStatuses"]}


def test_a_nodes_token_expires(cluster, apps):
    """Its kubelet does not renew it for a while, and the control plane that it had goes: the next one lets the node's streams in no
    more. The node goes on with what it has, and is served again when the kubelet has put a good token there; nobody starts anew."""
    control_pod, = (p["metadata"]["name"] for p in cluster.get("pods", "-n", SYSTEM, "-l", "app=istiod")["items"]
                    if not p["metadata"].get("deletionTimestamp"))
    at, _ = cluster.control_of(control_pod)
    number, client, web = (2, "client", "web1") if at == 1 else (1, "peer", "web2")
    address, path, kubelet = control_address(cluster), token_file(cluster, number), (cluster.nodes[number - 1], "kubelet")
    good = cluster.on_node(number, "cat", path).stdout
    bad, containers = expired(good), mesh_containers(cluster, number)
    with Load(cluster, apps, client, cluster.service_ip(apps, web)) as load:
        eventually(lambda: len(load.results) > 20, what="requests")
        node.signal_daemon(*kubelet, "STOP")
        try:
            cluster.on_node(number, "sh", "-c", f"cat > {path}", input=bad)
            cluster.kill(at, "culvert-control")
            eventually(lambda: "its token is not valid" in cluster.run("logs", "-n", SYSTEM, control_pod, check=False),
                       what="the node's token is refused")
            eventually(lambda: streams(address) == {"ztunnel": 1, "agent": 1}, what="the other node is served")
            assert cluster.on_node(number, "cat", path).stdout == bad
        finally:
            node.signal_daemon(*kubelet, "CONT")
        eventually(lambda: cluster.on_node(number, "cat", token_file(cluster, number)).stdout == good, HEAL_S, "the kubelet renews it")
        eventually(lambda: streams(address) == {"ztunnel": 2, "agent": 2}, what="both nodes are served")
        wait_healed(cluster, apps)
    assert load.failed() == []
    assert mesh_containers(cluster, number) == containers, "started anew: nothing is proven"
    cluster.run("label", "namespace", apps, "istio.io/dataplane-mode-")
    eventually(lambda: not cluster.is_captured(apps, client), what="the label's end is heard of")


def test_the_api_server_is_cut_off_and_the_mesh_is_killed_meanwhile(cluster, apps):
    """Whoever starts anew knows nothing and has nobody to ask: refused, never plain; all is well once it is back."""
    with Canary(cluster) as canary, \
            Load(cluster, apps, "client", cluster.service_ip(apps, "web1"), path=f"/{canary.word}") as load:
        eventually(lambda: len(load.results) > 20, what="requests")
        with plane.without_api():
            for victim in ("culvert-agent", "culvert-control", "culvert-ztunnel"):
                done = len(load.results)
                kill(cluster, 1, victim)
                kill(cluster, 2, victim)
                eventually(lambda n=done: len(load.results) > n + 50, what=f"tries after {victim} was killed")
        wait_healed(cluster, apps)
        done, healed = len(load.results), time.time()
        eventually(lambda: len(load.results) > done + 20, what="requests after it")
    assert load.failed(since=healed) == []
    assert not canary.was_seen(), "plaintext crossed the link"


@pytest.fixture
def two_control_planes(cluster, mesh):
    def scale(count):
        cluster.run("scale", "-n", SYSTEM, "deployment/istiod", f"--replicas={count}")
        cluster.wait_mesh()
    scale(2)
    yield
    scale(1)


def leader(cluster):
    return cluster.get("lease", "-n", SYSTEM, "culvert-leader")["spec"]["holderIdentity"]


def has_roots(cluster, namespace):
    return cluster.run("get", "configmap", "-n", namespace, "istio-ca-root-cert", "--ignore-not-found", "-o", "name")


def test_the_leader_of_two_control_planes_hangs(cluster, apps, two_control_planes):
    """It is there and does nothing, for longer than its Lease is good: out of the Service; later it wakes up in the belief
    that it leads."""
    first = eventually(lambda: leader(cluster), what="there is a leader")
    number, pid = cluster.control_of(first)
    with Load(cluster, apps, "client", cluster.service_ip(apps, "web1")) as load:
        cluster.on_node(number, "kill", "-STOP", str(pid))
        try:
            second = eventually(lambda: leader(cluster) not in ("", first) and leader(cluster), what="the other one leads")
            cluster.run("create", "namespace", f"{apps}-late")
            eventually(lambda: has_roots(cluster, f"{apps}-late"), what="the new leader writes")
            eventually(lambda: not cluster.is_ready(SYSTEM, first), what="who hangs is not ready")
        finally:
            cluster.on_node(number, "kill", "-CONT", str(pid))
        eventually(lambda: cluster.is_ready(SYSTEM, first), what="who woke up is ready")
        wait_healed(cluster, apps)
        cluster.run("delete", "namespace", f"{apps}-late", "--wait=false")
        assert leader(cluster) == second, "the one that woke up follows"
    assert load.failed() == []


def refusal(cluster, obj):
    """What kubectl says to an object that does not get in; "" when it does."""
    try:
        cluster.run("apply", "-f", "-", text=json.dumps(obj))
    except AssertionError as e:
        return str(e)
    return ""


def test_the_webhook_is_down(cluster, apps):
    """As Istio's: what it looks at is refused meanwhile, all else gets in, and pods start."""
    def control_pods():
        return cluster.get("pods", "-n", SYSTEM, "-l", "app=istiod")["items"]
    policy = {"apiVersion": "security.istio.io/v1", "kind": "PeerAuthentication",
              "metadata": {"name": "strict", "namespace": apps}, "spec": {"mtls": {"mode": "STRICT"}}}
    cluster.run("scale", "-n", SYSTEM, "deployment/istiod", "--replicas=0")
    try:
        eventually(lambda: not control_pods(), what="no control plane is left")
        assert "failed calling webhook" in refusal(cluster, policy)
        config = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "other", "namespace": apps}}
        assert refusal(cluster, config) == refusal(cluster, pod(apps, "late", "client", "n2")) == ""
        cluster.wait_ready(apps, "late")
        assert answers(cluster, apps)
    finally:
        cluster.run("scale", "-n", SYSTEM, "deployment/istiod", "--replicas=1")
        cluster.wait_mesh()
    eventually(lambda: refusal(cluster, policy) == "", what="the policy gets in")
    cluster.run("delete", "pod", "-n", apps, "late")
    wait_healed(cluster, apps)


def test_etcd_is_restored_from_an_older_snapshot(cluster, apps):
    """Time goes backwards for whoever watches: resource versions are lower than those it has seen, or, on a busy cluster, soon past
    them, and no watch tells of what was undone."""
    def half_gone():
        return cluster.run("get", "namespace", f"{apps}-gone", "--ignore-not-found", "-o", "name")
    cluster.run("create", "namespace", f"{apps}-gone")
    cluster.run("delete", "namespace", f"{apps}-gone", "--wait=false")
    plane.etcd_save()
    cluster.run("label", "namespace", apps, "istio.io/dataplane-mode-")
    eventually(lambda: not cluster.is_captured(apps, "client") and not cluster.is_captured(apps, "web1"), what="released")
    for i in range(20):
        cluster.run("annotate", "namespace", apps, f"culvert.test/{i}=x")
    eventually(lambda: not half_gone(), what="a namespace that was to go is gone")
    plane.etcd_restore(cluster.nodes)
    wait_healed(cluster, apps, 2 * HEAL_S)
    eventually(lambda: not half_gone(), what="it is gone once more")
    with Canary(cluster) as canary:
        assert answers(cluster, apps, canary.word)
    assert not canary.was_seen()


@pytest.mark.quick
def test_a_node_is_switched_off_and_on(cluster, apps):
    with Canary(cluster) as canary, \
            Load(cluster, apps, "client", cluster.service_ip(apps, "web1"), path=f"/{canary.word}") as load:
        eventually(lambda: len(load.results) > 20, what="requests")
        node.reboot(cluster.nodes[0], cluster.nodes)
        wait_healed(cluster, apps)
        done, healed = len(load.results), time.time()
        eventually(lambda: len(load.results) > done + 20, what="requests after it")
    assert load.failed(since=healed) == []
    assert not canary.was_seen(), "plaintext crossed the link"

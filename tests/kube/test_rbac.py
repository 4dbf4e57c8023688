# SPDX-License-Identifier: Apache-2.0
"""What the mesh may do at the API server is what it does: no verb of its roles is unused, and nothing was refused to it.

The API server's audit log says what was asked for since it began, by this test and those before it."""
import json
import subprocess

import pytest
from kubelab import images, layout
from kubelab.cluster import eventually, pod, service

SYSTEM = "istio-system"
ACCOUNTS = ("istiod", "ztunnel")
GATEWAY_API = ("GatewayClass", "Gateway.gateway.networking.k8s.io", "ListenerSet", "HTTPRoute", "GRPCRoute", "TLSRoute", "TCPRoute",
               "UDPRoute", "BackendTLSPolicy")
# the self-made root is renewed in the last fifth of its ten years: tests/unit/control/test-ca-secret.c
RARE = {("secrets", "patch")}
UNREADABLE = {"traffic.sidecar.istio.io/excludeOutboundPorts": "none"}


def bindings(cluster, account):
    """(namespace or "" for all, role object)."""
    for kind, role_kind in (("clusterrolebindings", "clusterrole"), ("rolebindings", "role")):
        where = ("-A",) if kind == "rolebindings" else ()
        for b in cluster.get(kind, *where)["items"]:
            if not any(s.get("name") == account and s.get("namespace") == SYSTEM for s in b.get("subjects", [])):
                continue
            namespace = b["metadata"].get("namespace", "")
            where_role = ("-n", namespace) if b["roleRef"]["kind"] == "Role" else ()
            yield namespace, cluster.get(b["roleRef"]["kind"].lower(), b["roleRef"]["name"], *where_role)


def granted(cluster, account):
    """Each (namespace, group, resource, verb, names) of its roles."""
    for namespace, role in bindings(cluster, account):
        for rule in role.get("rules") or []:
            for group in rule["apiGroups"]:
                for resource in rule["resources"]:
                    for verb in rule["verbs"]:
                        yield namespace, group, resource, verb, tuple(rule.get("resourceNames") or ())


def requests(account):
    """What it asked for, as the audit log has it."""
    user = f"system:serviceaccount:{SYSTEM}:{account}"
    with open(layout.AUDIT_LOG, encoding="utf-8") as f:
        for line in f:
            event = json.loads(line)
            if event["user"]["username"] == user and event.get("objectRef"):
                yield event


def row_of(event):
    """(namespace, group, resource, verb, name) of a request."""
    ref = event["objectRef"]
    resource = ref["resource"] + (f"/{ref['subresource']}" if ref.get("subresource") else "")
    return ref.get("namespace", ""), ref.get("apiGroup", ""), resource, event["verb"], ref.get("name", "")


def used(account):
    """Each row; an apply that made something is a create, too."""
    for event in requests(account):
        *row, verb, name = row_of(event)
        yield (*row, verb, name)
        if event["verb"] == "patch" and event.get("responseStatus", {}).get("code") == 201:
            yield (*row, "create", "")


def is_exercised(rule, rows):
    namespace, group, resource, verb, names = rule
    return any(g == group and r == resource and v == verb and (not namespace or n == namespace) and (not names or name in names)
               for n, g, r, v, name in rows)


def defined(cluster):
    """A rule about all of several groups names resources that some of the groups do not have."""
    out = cluster.run("api-resources", "--no-headers", "-o", "wide")
    return {(line.split()[0], word.rsplit("/", 1)[0] if "/" in word else "")
            for line in out.splitlines() for word in line.split() if "/" in word or word == "v1"}


@pytest.fixture
def exercised(cluster, mesh, namespace):
    """What a mesh does in its life: a pod enrolled, one that cannot be, a policy, a resource of every kind that has a status."""
    from kinds import KINDS  # pylint: disable=import-outside-toplevel
    from test_kinds import definitions, make  # pylint: disable=import-outside-toplevel
    seen = set()
    for key, group, version, _, is_namespaced in definitions():
        if (group.endswith(".istio.io") and is_namespaced or key in GATEWAY_API) and key not in seen:
            seen.add(key)
            spec = {**KINDS[key][0], "parentRefs": [{"name": "sample"}]} if key.endswith("Route") else KINDS[key][0]
            one = make(key, group, version, is_namespaced, spec)
            if is_namespaced:
                one["metadata"]["namespace"] = namespace
            cluster.apply(one)
    odd = pod(namespace, "odd", "client", "n1")
    odd["metadata"]["annotations"] = UNREADABLE
    cluster.apply(pod(namespace, "web", "nginx", "n1"), service(namespace, "web"), odd)
    cluster.wait_ready(namespace, "web")  # started outside: the CNI plugin asked for the namespace of now
    cluster.run("label", "namespace", namespace, "istio.io/dataplane-mode=ambient")
    eventually(lambda: cluster.is_captured(namespace, "web"), what="the pod is captured")
    yield cluster
    cluster.run("delete", "gatewayclass", "sample")


@pytest.mark.parametrize("account", ACCOUNTS)
def test_no_verb_is_unused(exercised, account):
    there = defined(exercised)
    if account == "ztunnel":
        # an agent that ends asks whether its DaemonSet is still there
        exercised.run("delete", "pod", "-n", SYSTEM, exercised.node_pod(1))
        exercised.wait_mesh()

    def unused():
        rows = set(used(account))
        return [rule for rule in granted(exercised, account)
                if (rule[2].split("/")[0], rule[1]) in there and (rule[2], rule[3]) not in RARE and not is_exercised(rule, rows)]
    try:
        eventually(lambda: not unused(), what="all is used")
    except AssertionError:
        pytest.fail(f"{account} never did: " + "; ".join(map(str, unused())))


def test_a_pod_that_cannot_be_enrolled_has_an_event(exercised, namespace):
    """As `kubectl describe pod` shows it."""
    def events():
        return exercised.get("events", "-n", namespace, "--field-selector", "involvedObject.name=odd,reason=MeshPodInvalid")["items"]
    event, = eventually(events, what="the Event")
    assert (event["type"], event["source"]["component"], event["source"]["host"]) == ("Warning", "culvert-agent", "n1")
    assert event["involvedObject"]["uid"] == exercised.get("pod", "-n", namespace, "odd")["metadata"]["uid"]
    assert all(word in event["message"] for word in (*UNREADABLE, "none")), event["message"]
    assert "MeshPodInvalid" in exercised.run("describe", "pod", "-n", namespace, "odd")


@pytest.mark.parametrize("account", ACCOUNTS)
def test_nothing_is_refused(exercised, account):
    """But while a mesh before this one was taken away, or an API server that began had yet to read the roles: then it is granted now."""
    rules = list(granted(exercised, account))
    refused = {row_of(e) for e in requests(account)
               if e.get("responseStatus", {}).get("code") == 403
               # a namespace that is being deleted takes nothing
               and "because it is being terminated" not in e["responseStatus"].get("message", "")}
    assert rules and not [row for row in refused if not any(is_exercised(rule, [row]) for rule in rules)]


def test_a_right_that_is_missing_is_named(exercised, namespace):
    """Last here: this one is refused something."""
    cluster, name = exercised, "culvert-ztunnel"
    rules = cluster.get("clusterrole", name)["rules"]
    less = [r for r in rules if r["resources"] != ["pods/status"]]
    assert less != rules
    cluster.run("patch", "clusterrole", name, "--type=merge", "-p", json.dumps({"rules": less}))
    try:
        eventually(lambda: cluster.run("auth", "can-i", "patch", "pods", "--subresource=status", "--as",
                                       f"system:serviceaccount:{SYSTEM}:ztunnel", check=False).startswith("no"),
                   what="the API server heeds the role as it is now")
        cluster.apply(pod(namespace, "client", "client", "n1"))
        cluster.wait_ready(namespace, "client")
        eventually(lambda: "does not let the agent patch pods/status" in cluster.run(
            "logs", "-n", SYSTEM, cluster.node_pod(1), "-c", "agent"), what="a line in the log")
        assert cluster.is_captured(namespace, "client"), "nothing else depends on it"
        said = subprocess.run([f"{images.BIN}/culvert", "--kubeconfig", layout.ADMIN_CONF, "status"], stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, text=True, check=False, timeout=60).stdout
        assert "patch pods/status: give its ServiceAccount that right" in " ".join(said.split()), said
    finally:
        cluster.run("patch", "clusterrole", name, "--type=merge", "-p", json.dumps({"rules": rules}))

# SPDX-License-Identifier: Apache-2.0
"""precheck: what a cluster lacks, and who is in the way."""
import os
import subprocess

import pytest
from conftest import ROOT
from fake_api import MESH, Fault, namespace, pod

BUILD = os.path.join(ROOT, "tools", "kube", "build")
# minor versions that clusters are built of, newest first
TESTED = [int(v.split(".")[1]) for v in subprocess.run([BUILD, "--versions"], stdout=subprocess.PIPE, text=True, check=True).stdout.split()]


def test_tested_versions_are_documented(api, cli):
    with open(os.path.join(ROOT, "tools", "deploy", "PLATFORMS.md"), encoding="utf-8") as f:
        assert f"tested on {', '.join(f'1.{minor}' for minor in TESTED)}" in f.read()
    for minor in TESTED:
        api.version = ("1", str(minor), f"v1.{minor}.0")
        assert "No issues found" in cli.run("precheck")


@pytest.mark.parametrize("change, said, code", [
    (lambda a: setattr(a, "version", ("1", "22+", "v1.22.1")), "Error [IST0142] (API server) Kubernetes v1.22.1 is too old", 1),
    (lambda a: setattr(a, "version", ("1", f"{TESTED[0] + 1}+", "v1.99.0")),
     f"Info [CUL0008] (API server) Kubernetes v1.99.0 is newer than what Culvert is tested on, 1.{TESTED[0]}", 0),
    (lambda a: a.named("Node", "n1")["status"]["nodeInfo"].update(kernelVersion="5.4.0-1"), "(Node n1) Linux 5.4.0-1 is too old", 1),
    (lambda a: a.named("Node", "n1")["status"]["nodeInfo"].update(kernelVersion="5.14.0-427.el9.x86_64"),
     "Warning [CUL0001] (Node n1) Linux 5.14.0-427.el9.x86_64 is not among those tested", 0),
    (lambda a: a.named("Node", "n1")["status"]["nodeInfo"].update(kernelVersion="5.14.21-sles"), "Linux 5.14.21-sles is too old", 1),
    (lambda a: a.named("Node", "n1")["status"]["nodeInfo"].update(architecture="arm64"), "needs an image made with make ARCH=arm64", 0),
    (lambda a: a.named("Node", "n1")["status"]["nodeInfo"].update(architecture="s390x"), "its architecture is s390x", 1),
    (lambda a: a.named("Node", "n1")["status"]["nodeInfo"].update(operatingSystem="windows"), "runs no Linux", 0),
    (lambda a: a.put(namespace("x", istio_injection="true")), "label istio-injection=true means nothing: enabled or disabled", 0),
    (lambda a: a.put({**namespace(MESH), "metadata": {"name": MESH, "labels": {"pod-security.kubernetes.io/enforce": "baseline"}}}),
     "label it privileged", 1),
    (lambda a: a.put({"apiVersion": "apps/v1", "kind": "DaemonSet", "metadata": {"name": "cilium", "namespace": "kube-system"}}),
     "socketLB.hostNamespaceOnly=true", 0),
    (lambda a: a.put({"apiVersion": "apps/v1", "kind": "DaemonSet", "metadata": {"name": "istio-cni-node", "namespace": "kube-system"}}),
     "Istio's CNI plugin is there", 1),
    (lambda a: a.forbidden.add(("create", "customresourcedefinitions")), "may not create customresourcedefinitions", 1),
    (lambda a: a.faults.append(Fault("GET", "/api/v1/nodes", 403)), "may not list /api/v1/nodes", 0),
    (lambda a: a.faults.append(Fault("GET", "/version", 401, "Unauthorized")), "Unauthorized", 1),
])
def test_precheck_names_the_cause(api, cli, change, said, code):
    assert "✔ No issues found" in cli.run("precheck")
    change(api)
    for words in (["precheck"], ["x", "precheck"], ["experimental", "precheck"]):
        assert said in cli.run(*words, code=code)


def test_precheck_knows_addresses_that_nobody_names(api, cli):
    """A new pod with such an address would be taken for one outside the mesh while a node is alone."""
    for name in ("n1", "n2"):
        del api.named("Node", name)["spec"]
    assert "Warning [CUL0009] (Nodes) no Node has spec.podCIDRs, and values.pilot.podRanges is not set" in cli.run("precheck")
    assert "No issues" in cli.run("precheck", "--set", "values.pilot.podRanges=10.0.0.0/24")
    api.put(pod("shop", "web"))
    api.put({**pod("shop", "host"), "spec": {"hostNetwork": True}, "status": {"podIP": "192.168.0.1"}})
    api.put({**pod("shop", "new"), "status": {}})
    said = cli.run("precheck", "--set", "values.pilot.podRanges=10.1.0.0/16,fd00::/8")
    assert "1 of 1 pods looked at have an address, as shop/web has 10.0.0.1, that is in no Node's spec.podCIDRs" in said
    assert "No issues" in cli.run("precheck", "--set", "values.pilot.podRanges=fd00::/8 10.0.0.0/24")
    api.named("Node", "n2")["spec"] = {"podCIDR": "10.0.0.0/16"}
    assert "No issues" in cli.run("precheck")
    assert "podRanges" in cli.run("precheck", "--set", "values.pilot.podRanges=10.0.0.0", code=1)
    api.faults = [Fault("GET", "/api/v1/pods", 403)]
    assert "No issues" in cli.run("precheck")


def felix(name="default", version="crd.projectcalico.org/v1", **spec):
    return {"apiVersion": version, "kind": "FelixConfiguration", "metadata": {"name": name}, "spec": spec}


@pytest.mark.parametrize("env, configs, said", [
    ({}, [], None),
    ({}, [felix(bpfConnectTimeLoadBalancing="TCP")], None),  # of a data plane that is not in use
    ({}, [felix(bpfEnabled=True)], "TCP"),
    ({}, [felix(bpfEnabled=True, bpfConnectTimeLoadBalancing="Enabled")], "Enabled"),
    ({}, [felix(bpfEnabled=True, bpfConnectTimeLoadBalancing="Disabled")], None),
    ({}, [felix(bpfEnabled=True, bpfConnectTimeLoadBalancingEnabled=False)], None),
    ({}, [felix(bpfConnectTimeLoadBalancing="TCP"), felix("node.n1", bpfEnabled=True)], "TCP"),
    ({}, [felix(version="projectcalico.org/v3", bpfEnabled=True)], "TCP"),
    ({"FELIX_BPFENABLED": "true"}, [], "TCP"),
    ({"FELIX_BPFENABLED": "false"}, [felix(bpfEnabled=True)], None),
    ({"FELIX_BPFENABLED": "true", "FELIX_BPFConnectTimeLoadBalancing": "Disabled"}, [felix(bpfConnectTimeLoadBalancing="TCP")], None),
])
def test_precheck_knows_a_calico_that_resolves_services_first(api, cli, env, configs, said):
    node = {"name": "calico-node", "env": [{"name": k, "value": v} for k, v in env.items()]}
    api.put({"apiVersion": "apps/v1", "kind": "DaemonSet", "spec": {"template": {"spec": {"containers": [node]}}},
             "metadata": {"name": "calico-node", "namespace": "calico-system", "labels": {"k8s-app": "calico-node"}}})
    for one in configs:
        api.put(one)
    found = cli.run("precheck")
    assert ("No issues" in found) is not bool(said)
    assert not said or (f"Warning [CUL0004] (DaemonSet calico-system/calico-node) Calico's eBPF data plane is there, with "
                        f"bpfConnectTimeLoadBalancing={said}" in found and "bpfConnectTimeLoadBalancing: Disabled and" in found)


def test_precheck_knows_linkerd(api, cli):
    """Its proxies may be there: those of pods that are of this mesh, too, are named by their namespace."""
    def proxied(namespace_, name, where="containers", **labels):
        one = pod(namespace_, name, labels={"linkerd.io/control-plane-ns": "linkerd", **labels})
        one["spec"].setdefault(where, []).append({"name": "linkerd-proxy"})
        return one
    api.put(namespace("shop", istio_injection="enabled"))
    api.put(namespace("theirs"))
    api.put(proxied("theirs", "web"))
    api.put(proxied("shop", "out", **{"istio.io/dataplane-mode": "none"}))
    api.put(pod("shop", "labelled", labels={"linkerd.io/control-plane-ns": "linkerd"}))
    assert "No issues" in cli.run("precheck")
    api.put(proxied("shop", "web"))
    api.put(proxied("shop", "job", "initContainers"))
    said = cli.run("precheck")
    assert "Warning [CUL0004] (Namespace shop) pods in it that are of this mesh have Linkerd's proxy, 2, as " in said
    assert "theirs" not in said and "label them istio.io/dataplane-mode=none" in said
    for name in ("shop", "theirs"):
        api.named("Namespace", name)["metadata"]["annotations"] = {"linkerd.io/inject": "enabled"}
    said = cli.run("precheck")
    assert "(Namespace shop) annotation linkerd.io/inject=enabled gives new pods Linkerd's proxy, and they are of this mesh by " \
        "namespace label istio-injection=enabled" in said and "theirs" not in said
    for name in ("web", "job"):
        api.delete(("v1", "pods", "shop", name))
    api.named("Namespace", "shop")["metadata"]["annotations"]["linkerd.io/inject"] = "disabled"
    assert "No issues" in cli.run("precheck")
    for plural in ("servers.policy", "serviceprofiles"):
        api.put({"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
                 "metadata": {"name": f"{plural}.linkerd.io"}, "spec": {"group": f"{plural}.linkerd.io".split(".", 1)[1], "versions": []}})
    assert cli.run("precheck").count("Linkerd's definitions are there") == 1


def definition(kind, *versions, group="security.istio.io"):
    plural = kind.lower() + "s"
    return {"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition", "metadata": {"name": f"{plural}.{group}"},
            "spec": {"group": group, "names": {"kind": kind, "plural": plural},
                     "versions": [{"name": v.lstrip("-"), "served": not v.startswith("-")} for v in versions]}}


@pytest.mark.parametrize("kind, versions, found", [
    ("PeerAuthentication", ("v1", "v1beta1"), None),
    ("PeerAuthentication", ("-v1", "v1beta1", "v1alpha1"), "serves v1beta1, v1alpha1 only, of an older Istio: what is "
     "there is read as v1beta1, but the API server refuses a PeerAuthentication written as v1; install newer definitions"),
    ("RequestAuthentication", ("v1beta1",), "is read as v1beta1"),
    ("PeerAuthentication", ("v1alpha1", "-v1beta1"), "serves v1alpha1, which is not read: no PeerAuthentication has any effect"),
    ("Gateway", ("v1alpha2",), None),  # of a group that is not Istio's
])
def test_precheck_knows_definitions_of_an_older_istio(api, cli, kind, versions, found):
    api.put(definition(kind, *versions, group="gateway.networking.k8s.io" if kind == "Gateway" else "security.istio.io"))
    said = cli.run("precheck", "--set", "components.base.enabled=false")
    assert ("[CUL0007]" in said) is bool(found) and (found or "No issues") in said
    if found:
        assert "Warning [CUL0007] (CustomResourceDefinition " in said
        said = cli.run("precheck")  # which brings its own
        assert "Info [CUL0007]" in said and "the installation adds v1" in said
    api.faults = [Fault("GET", "/customresourcedefinitions", 403)]
    assert "may not list /apis/apiextensions.k8s.io/v1/customresourcedefinitions" in cli.run("precheck")

# SPDX-License-Identifier: Apache-2.0
"""analyze: each message once where it is due and not where it is not; files, thresholds, what is left out."""
import json
import os
import sys

import pytest
from conftest import ROOT
from fake_api import MESH, namespace, pod

sys.path.append(f"{ROOT}/tests/kube")
from kinds import KINDS  # noqa: E402

CRDS = {"AuthorizationPolicy": ("authorizationpolicies", "security.istio.io"), "ServiceEntry": ("serviceentries", "networking.istio.io"),
        "VirtualService": ("virtualservices", "networking.istio.io")}
REDIRECTION = "ambient.istio.io/redirection"


def istio(api, kind, name, spec, ns="shop", **meta):
    plural, group = CRDS[kind]
    api.put({"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition", "metadata": {"name": f"{plural}.{group}"}})
    api.put({"apiVersion": f"{group}/v1", "kind": kind, "metadata": {"name": name, "namespace": ns, **meta}, "spec": spec})


def service(port, **spec):
    return {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "web", "namespace": "shop"},
            "spec": {"selector": {"app": "web"}, "ports": [port], **spec}}


@pytest.fixture
def shop(api):
    """A namespace in which all is well."""
    api.put(namespace(MESH))
    api.put(namespace("shop", istio_injection="enabled"))
    api.put(pod("shop", "web", labels={"app": "web"}))
    api.named("Pod", "web")["metadata"]["annotations"] = {REDIRECTION: "enabled"}
    api.put(namespace("other", istio_injection="enabled"))
    return api


def label(api, **labels):
    api.named("Namespace", "shop")["metadata"]["labels"] = {k.replace("__", "/").replace("_", "-"): v for k, v in labels.items()}


CASES = {
    "IST0102": (lambda a: label(a), "Info", "kubectl label namespace shop istio-injection=enabled"),
    "IST0123": (lambda a: a.named("Namespace", "shop")["metadata"].update(
        labels={"istio-injection": "enabled", "culvert.io/mesh": "disabled"}),
        "Warning", "istio-injection says yes, culvert.io/mesh says no"),
    "CUL0002": (lambda a: a.named("Pod", "web")["metadata"]["labels"].update({"istio.io/dataplane-mode": "Ambient"}), "Warning",
                "label istio.io/dataplane-mode=Ambient means nothing: ambient or none was expected"),
    "IST0103": (lambda a: a.named("Pod", "web")["spec"].update(hostNetwork=True), "Warning", "is not in the mesh, though its namespace is"),
    "IST0118": (lambda a: a.put(service({"name": "foo", "port": 80})), "Info", "Port name foo (port: 80)"),
    "IST0127": (lambda a: istio(a, "AuthorizationPolicy", "p", {"selector": {"matchLabels": {"app": "none"}}}), "Warning",
                "No matching workloads"),
    "IST0101": (lambda a: istio(a, "AuthorizationPolicy", "p", {"targetRefs": [{"kind": "Service", "group": "", "name": "none"}]}),
                "Error", 'Referenced Service not found: "shop/none"'),
    "IST0106": (lambda a: istio(a, "AuthorizationPolicy", "p", {"action": "PERHAPS"}), "Error", "spec.action"),
    "IST0134": (lambda a: istio(a, "ServiceEntry", "e", {"hosts": ["x.y"], "resolution": "DNS", "ports": [
        {"number": 1, "name": "t", "protocol": "TCP"}]}, labels={"networking.istio.io/enable-autoallocate-ip": "false"}),
        "Warning", "port 1 is TCP"),
    "IST0107": (lambda a: a.named("Pod", "web")["metadata"].update(annotations={"networking.istio.io/exportTo": "."}),
                "Warning", "can only be applied to Service"),
    "IST0108": (lambda a: a.named("Pod", "web")["metadata"].update(annotations={"traffic.sidecar.istio.io/excludeOutbondPorts": "1"}),
                "Warning", "Unknown annotation"),
    "CUL0005": (lambda a: istio(a, "VirtualService", "v", {"hosts": ["web"]}), "Warning", "VirtualService has no effect yet"),
    "IST0133": (lambda a: label(a, istio_injection="enabled", **{"istio.io__use_waypoint": "w"}), "Warning",
                "waypoints are not served yet"),
    "IST0171": (lambda a: istio(a, "AuthorizationPolicy", "p", {}) or a.named("AuthorizationPolicy", "p").update(
        status={"conditions": [{"type": "Accepted", "status": "False", "message": "no such field"}]}),
        "Warning", "Accepted is False: no such field"),
}


@pytest.mark.parametrize("code", CASES)
def test_each_message_where_it_is_due(shop, cli, code):
    assert "✔ No validation issues found when analyzing namespace: shop." in cli.run("analyze", "-n", "shop")
    change, level, text = CASES[code]
    change(shop)
    found = [f for f in cli.json("analyze", "-A", code=79 if level == "Error" else 0) if f["code"] == code]
    assert len(found) == 1 and found[0]["level"] == level and text in found[0]["message"], found
    assert not any(f["code"] == code for f in cli.json("analyze", "-n", "other")), "it is another namespace's"


def test_a_namespace_that_is_not_there_is_told(shop, cli):
    assert 'analyze: namespace "shopp" not found' in cli.run("analyze", "-nshopp", code=1)


def test_an_opt_out_is_no_mistake(shop, cli):
    shop.named("Pod", "web")["metadata"]["labels"]["sidecar.istio.io/inject"] = "false"
    label(shop, istio_injection="enabled")
    assert "✔" in cli.run("analyze", "-n", "shop")


def test_the_mesh_s_namespace_is_about_the_pods_of_all(shop, cli):
    istio(shop, "AuthorizationPolicy", "p", {"selector": {"matchLabels": {"app": "web"}}}, ns=MESH)
    istio(shop, "AuthorizationPolicy", "q", {"selector": {"matchLabels": {"app": "none"}}}, ns=MESH)
    istio(shop, "AuthorizationPolicy", "r", {"action": "PERHAPS"})
    found = cli.json("analyze", "-n", MESH)
    assert {(f["code"], f["origin"]) for f in found} == {(code, f"AuthorizationPolicy {MESH}/q") for code in ("IST0127", "IST0133")}


def test_colours_are_for_terminals_without_no_color(shop, cli):
    plain, bold = "Warning [CUL0005]", "\033[1mWarning\033[0m [CUL0005]"
    istio(shop, "VirtualService", "v", {"hosts": ["web"]})
    assert bold in cli.on_terminal("analyze", "-n", "shop")
    assert bold in cli.on_terminal("analyze", "-n", "shop", NO_COLOR="")  # no-color.org: "not an empty string"
    for said in (cli.on_terminal("analyze", "-n", "shop", NO_COLOR="1"), cli.run("analyze", "-n", "shop")):
        assert plain in said and "\033" not in said


def test_thresholds_and_suppression(shop, cli):
    label(shop)
    cli.run("analyze", "-n", "shop", "--failure-threshold", "Info", code=79)
    assert "✔" in cli.run("analyze", "-n", "shop", "--output-threshold", "Warning")
    assert "✔" in cli.run("analyze", "-n", "shop", "--suppress", "IST0102=Namespace sh*")
    assert "IST0102" in cli.run("analyze", "-n", "shop", "--suppress", "IST0102=Namespace s")
    cli.run("analyze", "--failure-threshold", "Bad", code=2)
    # what is not shown is there all the same
    hidden = ("analyze", "-n", "shop", "--failure-threshold", "Info", "--output-threshold", "Error")
    said = cli.run(*hidden, code=79)
    assert "1 of --failure-threshold, which --output-threshold does not show" in said and "✔" not in said
    assert cli.run(*hidden, "--suppress", "IST0102=Namespace shop").startswith("✔")


def test_each_suppression_counts_in_istioctl_s_words_and_ours(shop, cli):
    label(shop)
    shop.put(service({"name": "foo", "port": 80}))
    shop.named("Pod", "web")["metadata"]["annotations"] = {"networking.istio.io/exportTo": "."}
    namespace_, pod_, service_ = "IST0102=Namespace shop", "IST0107=Pod *.shop", "IST0118=Service web.shop"
    assert "✔" in cli.run("analyze", "-k", "--all-namespaces", "--suppress", namespace_, "--suppress", pod_, "-S", service_)
    assert "✔" in cli.run("analyze", "-A", "--suppress", f"{namespace_},{pod_}", "--suppress=IST0118=Service shop/w*b")

    def left(*values):
        return {f["code"] for f in cli.json("analyze", "-A", *(word for value in values for word in ("--suppress", value)))}
    assert left() == {"IST0102", "IST0107", "IST0118"}
    assert left(pod_, namespace_) == {"IST0118"}
    for other in ("IST0107=Pod *.other", "IST0107=Service *.shop", "IST0107=Pod web", "IST0107=Pod shop.web", "IST0108=Pod *.shop"):
        assert left(other, namespace_, service_) == {"IST0107"}, other
    for bad in ("IST0102", "", f"{namespace_},IST0107"):
        assert f"--suppress {bad}: expected CODE=OBJECT" in cli.run("analyze", "-A", "--suppress", pod_, "--suppress", bad, code=2)


def test_an_object_may_say_itself_what_is_not_to_be_said_of_it(shop, cli, tmp_path):
    """In a cluster and in files, with the codes of Istio's annotation; a file's counts instead of the cluster's."""
    def found(*args):
        return [(f["code"], f["origin"]) for f in cli.json("analyze", *args, code=None)]
    key = "galley.istio.io/analyze-suppress"
    web, entry, route = shop.named("Pod", "web"), *(
        {"apiVersion": "networking.istio.io/v1", "kind": kind, "metadata": {"name": "x", "namespace": "shop"}, "spec": {"hosts": hosts}}
        for kind, hosts in (("ServiceEntry", "bad"), ("VirtualService", ["x"])))
    istio(shop, "VirtualService", "v", {"hosts": ["web"]}, annotations={key: "CUL0005"})
    for codes, left in (("IST0001", True), ("IST0107", False), ("IST0001,IST0107", False), ("IST01*", True), ("*", False)):
        web["metadata"]["annotations"] = {key: codes, "networking.istio.io/exportTo": ".", REDIRECTION: "enabled"}
        assert found("-A") == left * [("IST0107", "Pod shop/web")], codes
    odd = maker("StatefulSet", {"istio.io/dataplane-mode": "ambiemt"})
    write(tmp_path / "a.yaml", odd, entry, route)
    assert [code for code, _ in found("--use-kube=false", "a.yaml")] == ["IST0106", "CUL0002", "CUL0005"]
    for one, codes in ((odd, "CUL0002"), (entry, "IST0106"), (route, "*")):
        one["metadata"]["annotations"] = {key: codes}
    write(tmp_path / "a.yaml", odd, entry, route)
    assert found("--use-kube=false", "a.yaml") == []
    one = pod("shop", "web")
    one["metadata"]["annotations"] = {"networking.istio.io/exportTo": "."}
    write(tmp_path / "pod.yaml", one)
    assert found("-A", "pod.yaml") == [("IST0107", "Pod shop/web")]


@pytest.mark.parametrize("kind, label, said", [
    ("Namespace", {"culvert.io/shortcut": "enabled"}, "culvert.io/shortcut has no effect"),
    ("Pod", {"culvert.io/shortcut": "enabled"}, "culvert.io/shortcut has no effect"),
    ("Namespace", {"culvert.io/same-node": "tunnel"}, "culvert.io/same-node=tunnel counts as encrypt"),
    ("Pod", {"culvert.io/same-node": "encrypt"}, "culvert.io/same-node has no effect here"),
    ("Namespace", {"culvert.io/same-node": "encrypt"}, None)])
def test_labels_of_ours_that_do_not_do_what_they_seem_to(cli, tmp_path, kind, label, said):
    one = {"apiVersion": "v1", "kind": kind, "metadata": {"name": "shop", "labels": label}}
    write(tmp_path / "a.yaml", one)
    found = [f for f in cli.json("analyze", "--use-kube=false", str(tmp_path / "a.yaml")) if f["code"] == "CUL0002"]
    assert [said in f["message"] for f in found] == [True] * bool(said)


def test_files_without_a_cluster(api, cli, tmp_path):
    (tmp_path / "a.yaml").write_text("apiVersion: v1\nkind: Namespace\nmetadata: {name: x}\n---\n"
                                     "apiVersion: security.istio.io/v1\nkind: PeerAuthentication\n"
                                     "metadata: {name: p, namespace: x}\nspec: {mtls: {mode: STRIKT}}\n")
    said = cli.run("analyze", "--use-kube=false", "a.yaml", code=79)
    assert "Error [IST0106] (PeerAuthentication x/p a.yaml:8) spec.mtls.mode" in said
    assert said == cli.run("analyze", "--use-kube=false", ".", code=79).replace("./a.yaml", "a.yaml")
    (tmp_path / "b.yaml").write_text("apiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {name: v}\n")
    assert "Warning [CUL0005] (VirtualService default/v b.yaml:2) kind: VirtualService has no effect yet" in cli.run(
        "analyze", "--use-kube=false", "b.yaml")
    (tmp_path / "c.yaml").write_text("apiVersion: apps/v2\nkind: Unheard\nmetadata: {name: v}\n")
    assert "Info [CUL0005]" in cli.run("analyze", "--use-kube=false", "c.yaml")
    assert "No such file" in cli.run("analyze", "--use-kube=false", "none.yaml", code=1)
    cli.run("analyze", "--use-kube=false", code=2)
    text = (tmp_path / "a.yaml").read_text()
    assert said.replace("a.yaml", "stdin") == cli.run("analyze", "-k=false", "-", text=text, code=79)
    os.makedirs(tmp_path / "top" / "deep")
    os.rename(tmp_path / "a.yaml", tmp_path / "top" / "deep" / "a.yaml")
    assert "✔" in cli.run("analyze", "-k=false", "top")
    assert said.replace("a.yaml", "top/deep/a.yaml") == cli.run("analyze", "-k=false", "-R", "top", code=79)
    assert not api.log


def mesh_config(text, name="istio"):
    return f"apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: {name}, namespace: {MESH}}}\ndata:\n  mesh: |\n    {text}\n"


def test_files_with_the_mesh_s_configuration(cli, tmp_path):
    """What the control plane says when it reads it, before it waits for ever."""
    (tmp_path / "a.yaml").write_text(mesh_config("outboundTrafficPolicy: {mode: ALLOW_ANY_DYNAMIC_DNS}"))
    said = cli.run("analyze", "--use-kube=false", "a.yaml")
    assert f"Warning [IST0133] (ConfigMap {MESH}/istio a.yaml:6) data.mesh.outboundTrafficPolicy.mode: as ALLOW_ANY" in said
    (tmp_path / "b.yaml").write_text(mesh_config("outboundTrafficPolicy: {mode: ANY}", "istio-canary"))
    said = cli.run("analyze", "--use-kube=false", "b.yaml", code=79)
    assert f"Error [IST0106] (ConfigMap {MESH}/istio-canary b.yaml:6) data.mesh.outboundTrafficPolicy.mode: expected one of" in said
    (tmp_path / "c.yaml").write_text(mesh_config("outboundTrafficPolicy: {mode: ANY}", "istiod"))
    assert "No validation issues" in cli.run("analyze", "--use-kube=false", "c.yaml")


@pytest.mark.parametrize("name, text, says", [
    (b"\xe9.yaml", b"mtls: {mode: STRIKT}", "(PeerAuthentication x/p ?.yaml:4) spec.mtls.mode"),
    (b"a.yaml", "mtls: {mode: aé}".replace("é", 40 * "é").encode(), 'aééééééééééééééééééééééééééééé?"'),
    (b"b.yaml", b"mtls: {mode: '\xff'}", "(file b.yaml:1) not YAML: invalid"),
], ids=["name", "value", "byte"])
def test_what_is_no_text_is_told_of_all_the_same(cli, tmp_path, name, text, says):
    """A name or a value that is no UTF-8, or is quoted up to the middle of a character: no JSON takes it."""
    with open(os.path.join(os.fsencode(tmp_path), name), "wb") as f:
        f.write(b"apiVersion: security.istio.io/v1\nkind: PeerAuthentication\n"
                b"metadata: {name: p, namespace: x}\nspec: {" + text + b"}\n")
    assert says in cli.run("analyze", "--use-kube=false", ".", code=79).replace("./", "")


ISTIOS = {"AuthorizationPolicy": "security.istio.io/v1", "PeerAuthentication": "security.istio.io/v1",
          "RequestAuthentication": "security.istio.io/v1", "Telemetry": "telemetry.istio.io/v1",
          **dict.fromkeys(("ServiceEntry", "WorkloadEntry", "WorkloadGroup", "VirtualService", "DestinationRule", "Gateway", "Sidecar"),
                          "networking.istio.io/v1"),
          "EnvoyFilter": "networking.istio.io/v1alpha3", "ProxyConfig": "networking.istio.io/v1beta1",
          **dict.fromkeys(("WasmPlugin", "TrafficExtension"), "extensions.istio.io/v1alpha1")}


def test_each_kind_is_looked_at_in_files(cli, tmp_path):
    """The bad one is named with its place; the good one beside it, and those of other kinds, are let be."""
    for kind, version in ISTIOS.items():
        specs = KINDS.get(kind) or KINDS[f"{kind}.{version.split('/')[0]}"]
        objects = [{"apiVersion": version, "kind": kind, "metadata": {"name": name, "namespace": "x"}, "spec": spec}
                   for name, spec in zip(("good", "bad"), specs)]
        (tmp_path / f"{kind}.yaml").write_text("---\n".join(f"{json.dumps(o)}\n" for o in objects))
    found = [f for f in cli.json("analyze", "--use-kube=false", ".", code=79) if f["level"] == "Error"]
    named = {f["origin"]: f for f in reversed(found)}  # by what is said of it first: a policy denies besides
    assert sorted(named) == [f"{kind} x/bad" for kind in sorted(ISTIOS)]
    assert all(f["code"] == "IST0106" and f["message"].startswith("spec.") and f["reference"] == f"./{origin.split()[0]}.yaml:3"
               for origin, f in named.items()), found


WRONG = [("VirtualService", {"hosts": 5}, "spec.hosts: expected a list, got the number 5"),
         ("DestinationRule", {"host": "web", "trafficPolicy": {"tls": {"mode": "SOMETIMES"}}},
          'spec.trafficPolicy.tls.mode: expected one of DISABLE, SIMPLE, MUTUAL, ISTIO_MUTUAL, got "SOMETIMES"'),
         ("RequestAuthentication", {"jwtRules": 7}, "spec.jwtRules: expected a list, got the number 7"),
         ("Gateway", {"servers": [{"port": {"number": 80, "name": "a", "protocol": "TCP"}, "hosts": ["*"], "tsl": {}}]},
          "spec.servers[0].tsl: unknown field")]


@pytest.mark.parametrize("kind, spec, says", WRONG)
def test_what_has_no_effect_is_told_of_its_mistakes_too(cli, tmp_path, kind, spec, says):
    write(tmp_path / "a.yaml", {"apiVersion": ISTIOS[kind], "kind": kind, "metadata": {"name": "a", "namespace": "x"}, "spec": spec})
    found = cli.json("analyze", "--use-kube=false", "a.yaml", code=79)
    assert [(f["level"], f["code"]) for f in found] == [("Error", "IST0106"), ("Warning", "CUL0005")]
    assert {f["origin"] for f in found} == {f"{kind} x/a"}
    assert found[0]["message"] == says and "has no effect" in found[1]["message"]


def test_what_has_no_effect_is_told_of_its_mistakes_in_a_cluster_too(shop, cli):
    """As an old object may be; a field that its definitions know and we do not is none."""
    istio(shop, "VirtualService", "bad", {"hosts": 5})
    istio(shop, "VirtualService", "good", {"hosts": ["a"], "news": {}})
    found = cli.json("analyze", "-n", "shop", code=79)
    assert [(f["code"], f["origin"]) for f in found] == [("IST0106", "VirtualService shop/bad"), ("CUL0005", "VirtualService shop/bad"),
                                                         ("CUL0005", "VirtualService shop/good")]
    assert found[0]["message"] == "spec.hosts: expected a list, got the number 5"


def test_of_the_gateway_api_what_the_control_plane_says(shop, cli):
    """Whose a Gateway is, it alone knows."""
    said = [{"type": "Accepted", "status": "False", "reason": "NotHonoured", "message": "no effect yet: because"}]
    for name, status in (("foreign", {"conditions": [{"type": "Accepted", "status": "True", "reason": "Accepted"}]}),
                         ("ours", {"conditions": said}), ("new", {})):
        shop.put({"apiVersion": "gateway.networking.k8s.io/v1", "kind": "Gateway", "metadata": {"name": name, "namespace": "shop"},
                  "spec": {"gatewayClassName": name}, "status": status})
    shop.put({"apiVersion": "gateway.networking.k8s.io/v1", "kind": "HTTPRoute", "metadata": {"name": "r", "namespace": "shop"},
              "spec": {}, "status": {"parents": [{"conditions": []}, {"conditions": said}]}})
    shop.put({"apiVersion": "gateway.networking.k8s.io/v1", "kind": "BackendTLSPolicy", "metadata": {"name": "p", "namespace": "shop"},
              "spec": {}, "status": {"ancestors": [{"conditions": said}]}})
    found = cli.json("analyze", "-n", "shop")
    assert [(f["code"], f["origin"], f["message"]) for f in found] == [
        ("CUL0005", f"{kind} shop/{name}", "no effect yet: because")
        for kind, name in (("BackendTLSPolicy", "p"), ("Gateway", "ours"), ("HTTPRoute", "r"))]
    assert cli.json("analyze", "-n", "other") == []
    # a class that the control plane has made is nobody's mistake, one that a user has written may be
    for name, labels in (("istio", {"app.kubernetes.io/managed-by": "culvert-control"}), ("mine", {})):
        shop.put({"apiVersion": "gateway.networking.k8s.io/v1", "kind": "GatewayClass", "metadata": {"name": name, "labels": labels},
                  "spec": {"controllerName": "istio.io/gateway-controller"}, "status": {"conditions": said}})
    assert [f["origin"] for f in cli.json("analyze", "-A") if f["origin"].startswith("GatewayClass")] == ["GatewayClass mine"]


@pytest.mark.parametrize("version", ["v1", "v1beta1", "v1alpha3", "v1alpha2"])
def test_kinds_of_the_gateway_api_in_whichever_version(shop, cli, version):
    """TLSRoute alone has been in all of them."""
    group = "gateway.networking.k8s.io"
    shop.not_served = {f"{group}/{other}" for other in ("v1", "v1beta1", "v1alpha3", "v1alpha2") if other != version}
    said = [{"type": "Accepted", "status": "False", "reason": "NotHonoured", "message": "no effect yet: because"}]
    shop.put({"apiVersion": f"{group}/{version}", "kind": "TLSRoute", "metadata": {"name": "r", "namespace": "shop"},
              "spec": {}, "status": {"parents": [{"conditions": said}]}})
    for found in (cli.json("analyze", "-n", "shop"), cli.json("analyze", "-A")):
        assert [(f["origin"], f["message"]) for f in found if f["code"] == "CUL0005"] == [("TLSRoute shop/r", "no effect yet: because")]


def test_files_on_top_of_a_cluster(shop, cli, tmp_path):
    (tmp_path / "a.yaml").write_text("apiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\n"
                                     "metadata: {name: p, namespace: shop}\nspec: {selector: {matchLabels: {app: web}}}\n")
    assert "✔" in cli.run("analyze", "-n", "shop", "a.yaml")


def test_objects_of_files_that_name_no_namespace_are_in_the_one_that_is_looked_at(shop, cli, tmp_path):
    """As kubectl would put them there. Taken for those of another one, nothing would be said of them."""
    bad, none = ({"apiVersion": "security.istio.io/v1", "kind": "AuthorizationPolicy", "metadata": {"name": name}, "spec": spec}
                 for name, spec in (("bad", {"action": "PERHAPS"}), ("none", {"selector": {"matchLabels": {"app": "job"}}})))
    made = maker("Job", {"app": "web", "istio.io/dataplane-mode": "ambiemt"})
    del made["metadata"]["namespace"]
    write(tmp_path / "a.yaml", bad, none, made)

    def found(*args):
        return sorted({(f["code"], f["origin"]) for f in cli.json("analyze", *args, "a.yaml", code=79) if f["code"] != "IST0133"})
    for ns, words in (("shop", ("-n", "shop")), ("shop", ("-n", "shop", "--use-kube=false")), ("default", ("--use-kube=false",)),
                      ("default", ("-A",))):
        unselected = [] if "--use-kube=false" in words else [("IST0127", f"AuthorizationPolicy {ns}/none")]
        assert found(*words) == [("CUL0002", f"Job {ns}/web"), ("IST0106", f"AuthorizationPolicy {ns}/bad"), *unselected], words


def test_kinds_that_are_there_in_an_older_version_only(shop, cli):
    istio(shop, "AuthorizationPolicy", "p", {"action": "PERHAPS"})
    istio(shop, "VirtualService", "v", {"hosts": ["x"]})
    for key in [k for k in shop.objects if k[0] in ("security.istio.io/v1", "networking.istio.io/v1")]:
        group, older = key[0].split("/")[0], "v1beta1" if key[1] == "authorizationpolicies" else "v1alpha3"
        shop.objects[(f"{group}/{older}", *key[1:])] = {**shop.objects.pop(key), "apiVersion": f"{group}/{older}"}
    shop.not_served = {"security.istio.io/v1", "networking.istio.io/v1", "networking.istio.io/v1beta1"}
    said = cli.run("analyze", "-n", "shop", code=79)
    assert "AuthorizationPolicy shop/p" in said and "spec.action" in said and "VirtualService shop/v" in said


TEMPLATES = {"Deployment": "apps/v1", "StatefulSet": "apps/v1", "DaemonSet": "apps/v1", "ReplicaSet": "apps/v1",
             "ReplicationController": "v1", "Job": "batch/v1", "CronJob": "batch/v1"}


def maker(kind, labels, **spec):
    """What makes pods, with its template where that kind has it."""
    template = {"metadata": {"labels": labels}, "spec": {"containers": [{"name": "main", "image": "i"}], **spec}}
    spec = {"selector": {"matchLabels": {"app": "web"}}, "template": template} if kind != "CronJob" else \
        {"schedule": "* * * * *", "jobTemplate": {"spec": {"template": template}}}
    return {"apiVersion": TEMPLATES[kind], "kind": kind, "metadata": {"name": "web", "namespace": "shop"}, "spec": spec}


def write(path, *objects):
    path.write_text("---\n".join(json.dumps(o, indent=1) + "\n" for o in objects))


@pytest.mark.parametrize("kind", TEMPLATES)
def test_what_makes_pods_answers_to_selectors_as_they_would(shop, cli, tmp_path, kind):
    """A file has no pods yet: a Service and a policy beside it are right all the same, and wrong where its labels are others."""
    del shop.objects[("v1", "pods", "shop", "web")]
    selected = [{"apiVersion": "security.istio.io/v1", "kind": one, "metadata": {"name": "p", "namespace": ns},
                 "spec": {"selector": {"matchLabels": {"app": "web"}}}}
                for one, ns in (("AuthorizationPolicy", "shop"), ("PeerAuthentication", "shop"), ("AuthorizationPolicy", MESH))]
    for labels in ({"app": "web"}, {"app": "other"}):
        write(tmp_path / "a.yaml", maker(kind, labels), service({"name": "http", "port": 80}), *selected)
        origins = [] if labels["app"] == "web" else sorted(
            ["Service shop/web"] + [f"{o['kind']} {o['metadata']['namespace']}/p" for o in selected])
        found = cli.json("analyze", "--use-kube=false", "a.yaml")
        assert sorted(f["origin"] for f in found) == origins and {f["code"] for f in found} <= {"IST0133"}, found
        found = [f for f in cli.json("analyze", "-A", "a.yaml") if f["code"] == "IST0127"]
        assert sorted(f["origin"] for f in found) == origins[:-1], found


@pytest.mark.parametrize("kind", TEMPLATES)
def test_a_template_is_looked_at_as_its_pods_are(cli, tmp_path, kind):
    """Named by who makes them, as nobody has seen them yet, with the line of the field."""
    one = maker(kind, {"istio.io/dataplane-mode": "ambiemt"}, hostNetwork=True)
    template = one["spec"].get("template") or one["spec"]["jobTemplate"]["spec"]["template"]
    template["metadata"]["annotations"] = {"traffic.sidecar.istio.io/excludeOutbondPorts": "1", "networking.istio.io/exportTo": "."}
    write(tmp_path / "a.yaml", namespace("shop", istio_injection="enabled"), one)
    lines = (tmp_path / "a.yaml").read_text().split("\n")
    found = cli.json("analyze", "--use-kube=false", "a.yaml")
    assert {f["origin"] for f in found} == {f"{kind} shop/web"}
    places = {f["code"]: lines[int(f["reference"].removeprefix("a.yaml:")) - 1] for f in found}
    assert sorted(places) == ["CUL0002", "IST0103", "IST0107", "IST0108"]
    assert "hostNetwork" in places["IST0103"] and "Outbond" in places["IST0108"] and "exportTo" in places["IST0107"]


@pytest.mark.parametrize("change, found", [
    (lambda p: None, "is missing"),
    (lambda p: p["metadata"].update(annotations={REDIRECTION: "pending"}), 'is not "enabled"'),
    (lambda p: p["metadata"].update(annotations={REDIRECTION: "enabled"}), None),
    (lambda p: p["metadata"].update(labels={"istio.io/dataplane-mode": "none"}), None),
    (lambda p: p["metadata"].update(deletionTimestamp="2026-01-01T00:00:00Z"), None),
    (lambda p: p["status"].update(phase="Pending"), None),
    (lambda p: p["status"].update(phase="Succeeded"), None),
])
def test_a_pod_that_no_agent_has_captured_is_named(shop, cli, tmp_path, change, found):
    one = pod("shop", "late")
    change(one)
    shop.put(one)
    shop.put(namespace("outside"))
    shop.put(pod("outside", "late"))
    said = [f for f in cli.json("analyze", "-A") if f["code"] == "IST0103"]
    assert [f["origin"] for f in said] == (["Pod shop/late"] if found else [])
    assert not found or f"its annotation {REDIRECTION} {found}. 'culvert describe pod late -n shop' says" in said[0]["message"]
    write(tmp_path / "a.yaml", one)
    assert not any(f["code"] == "IST0103" for f in cli.json("analyze", "-A", "a.yaml")), "in a file no pod runs"


@pytest.mark.parametrize("key, value, said", [
    ("ambient.istio.io/bypass-inbound-capture", "yes", "expected true or false; it is not in force"),
    ("ambient.istio.io/dns-capture", "", "expected true or false"),
    ("traffic.sidecar.istio.io/excludeOutboundPorts", "80,http", 'expected ports from 1 to 65535 separated by commas, found "http"'),
    ("traffic.sidecar.istio.io/includeOutboundIPRanges", "10.0.0.0/33", "expected ranges like 10.0.0.0/8 separated by commas, or *"),
    ("culvert.io/excludeInboundIPRanges", "all", 'found "all"'),
    ("istio.io/reroute-virtual-interfaces", "a/b", "expected names of interfaces"),
])
def test_an_annotation_that_cannot_be_understood_is_named(cli, tmp_path, key, value, said):
    """Of a pod, of what makes one, and of a namespace; what is right is not."""
    one = maker("Deployment", {"app": "a"})
    one["spec"]["template"]["metadata"]["annotations"] = {key: value}
    write(tmp_path / "a.yaml", one, {**namespace("a"), "metadata": {"name": "a", "annotations": {key: value}}},
          {**namespace("b"), "metadata": {"name": "b", "annotations": {
              "ambient.istio.io/dns-capture": "false", "traffic.sidecar.istio.io/includeInboundPorts": "*"}}})
    found = [f for f in cli.json("analyze", "--use-kube=false", "a.yaml") if f["code"] == "IST0125"]
    assert {f["origin"] for f in found} == {"Deployment shop/web", "Namespace a"} and len(found) == 2
    assert all(f["level"] == "Warning" and f["message"].startswith(f"Invalid annotation {key}: expected") and said in f["message"]
               for f in found)
    lines = (tmp_path / "a.yaml").read_text().split("\n")
    assert all(key in lines[int(f["reference"].removeprefix("a.yaml:")) - 1] for f in found)


def test_an_annotation_without_effect_is_named(cli, tmp_path):
    write(tmp_path / "a.yaml", {**pod("shop", "web"), "metadata": {
        "name": "web", "namespace": "shop", "annotations": {"traffic.sidecar.istio.io/excludeInboundPorts": "15008"}}})
    assert "15008 is where the mesh comes in and stays captured" in cli.run("analyze", "--use-kube=false", "a.yaml")


def test_templates_beside_pods_and_each_other_hide_none(cli, tmp_path):
    """Several of one name, one that `kubectl create` names, what is no template, and another group's kind."""
    generated = maker("Job", {"app": "job"})
    generated["metadata"] = {"generateName": "j-"}
    odd = {**maker("StatefulSet", {}), "spec": {"template": [1]}}
    write(tmp_path / "a.yaml", pod("shop", "web", labels={"app": "pod"}), maker("Deployment", {"app": "deployment"}),
          maker("DaemonSet", {"app": "daemon"}), generated, odd, {**maker("Job", {}), "apiVersion": "batch.volcano.sh/v1alpha1"},
          *({"apiVersion": "v1", "kind": "Service", "metadata": {"name": app, "namespace": ns},
             "spec": {"selector": {"app": app}, "ports": [{"name": "http", "port": 80}]}}
            for app, ns in (("pod", "shop"), ("deployment", "shop"), ("daemon", "shop"), ("job", "default"), ("none", "shop"))))
    found = cli.json("analyze", "--use-kube=false", "a.yaml")
    assert [(f["code"], f["origin"]) for f in found] == [("IST0133", "Service shop/none"), ("CUL0005", "Job web")]


def test_our_own_samples_get_no_warning(cli):
    assert "No validation issues" in cli.run("analyze", "--use-kube=false", "--output-threshold", "Warning", f"{ROOT}/tools/samples/demo")

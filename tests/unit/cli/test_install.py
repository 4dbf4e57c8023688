# SPDX-License-Identifier: Apache-2.0
"""install, upgrade, uninstall: what is applied in which order, what is said, and what happens when the API server says no."""
import json

import pytest
from fake_api import MESH, Fault, namespace, pod

INSTALLED = "culvert.io/installed"


def rank(path):
    order = ["namespaces/istio-system", "customresourcedefinitions", "serviceaccounts", "services", "deployments", "daemonsets",
             "validatingwebhookconfigurations"]
    return max((i for i, word in enumerate(order) if f"/{word}" in path.split("?")[0]), default=0)


def agent(status):
    """What `culvert __admin` of the pods says."""
    def on_exec(_pod, container, command):
        if command[1] == "version":
            return 0, "v9\n", ""
        answer = status(container) if callable(status) else status
        return 0, "200\n" + json.dumps(answer), ""
    return on_exec


def test_everything_is_made_in_order_with_a_tick_each(api, cli):
    said = cli.run("install", "--set", "profile=demo", "-y")
    ticks = [line.split()[1] for line in said.splitlines() if line.startswith("✔")]
    assert ticks == ["Core", "Istiod", "Ztunnel", "Installation"]
    assert "- Ingress gateways are not installed" in said and "- Egress gateways are not installed" in said
    assert "- Tracing is not installed: ztunnels make no spans" in said and "100 % or less" in said
    assert "Revision default is now the default" in said
    ours = [o for o in api.objects.values() if o["metadata"].get("labels", {}).get(INSTALLED)]
    assert len(ours) >= 18 and all(o["metadata"]["labels"][INSTALLED] == "default" for o in ours)
    applied = [rank(p) for p in api.calls("PATCH") if "culvert-install" not in p]
    assert applied[-1] == 6 and applied.index(6) > applied.index(5) > applied.index(4) > applied.index(3) > applied.index(1)
    assert json.loads(api.named("ConfigMap", "culvert-install")["data"]["spec"]) == {"profile": "demo"}


def test_a_second_time_changes_nothing(api, cli):
    cli.run("install", "-y")
    before = {k: o["metadata"].get("resourceVersion") for k, o in api.objects.items()}
    said = cli.run("install", "-y")
    assert "0 objects made, 0 changed" in said and "Tracing" not in said
    assert before == {k: o["metadata"].get("resourceVersion") for k, o in api.objects.items()}


@pytest.mark.parametrize("answer, is_made", [("y\n", True), ("n\n", False), ("", False)])
def test_it_asks(api, cli, answer, is_made):
    said = cli.run("install", text=answer, code=0 if is_made else 1)
    assert "Proceed? (y/N)" in said and bool(api.named("Deployment", "istiod")) == is_made


def test_a_dry_run_keeps_nothing(api, cli):
    said = cli.run("install", "--dry-run")
    assert "create     DaemonSet istio-system/ztunnel" in said and not api.named("Namespace", MESH)
    cli.run("install", "-y")
    said = cli.run("install", "--dry-run", "--set", "values.pilot.logLevel=debug")
    assert "Nothing was changed" in said and "debug" not in json.dumps(api.named("Deployment", "istiod"))


def test_what_may_not_be_done_is_named_before_anything_is(api, cli):
    api.forbidden = {("create", "clusterroles"), ("patch", "daemonsets")}
    said = cli.run("install", "-y", code=1)
    assert "[IST0141] (you) may not create clusterroles" in said
    assert "may not patch daemonsets in namespace istio-system" in said
    assert not api.calls("PATCH")


def test_a_conflict_names_the_field_and_force_goes_on(api, cli):
    api.faults = [Fault("PATCH", "force=false", 409, 'conflict with "helm": .spec.template')]
    said = cli.run("install", "-y", code=1)
    assert 'conflict with "helm": .spec.template' in said and "--force takes them over" in said
    assert "the same command goes on from here" in said
    cli.run("install", "-y", "--force")


def test_what_may_pass_is_tried_again(api, cli):
    api.faults = [Fault("PATCH", "/services/istiod", 500, 'failed calling webhook "w.example": refused', 1),
                  Fault("GET", "/deployments/istiod", 504, times=1), Fault("PATCH", "/daemonsets/", 429, times=1)]
    cli.run("install", "-y")
    api.faults = [Fault("PATCH", "/services/istiod", 500, 'failed calling webhook "w.example": refused')]
    said = cli.run("install", "-y", code=1)
    assert 'Service istio-system/istiod: failed calling webhook "w.example"' in said and "That webhook is down" in said


def test_what_the_control_plane_set_of_its_webhook_stays(api, cli):
    cli.run("install", "-y")
    for hook in api.named("ValidatingWebhookConfiguration", "istio-validator-istio-system")["webhooks"]:
        assert hook["failurePolicy"] == "Ignore"
        hook["failurePolicy"] = "Fail"
    cli.run("install", "-y", "--force")
    assert api.named("ValidatingWebhookConfiguration", "istio-validator-istio-system")["webhooks"][0]["failurePolicy"] == "Fail"


def test_older_pods_are_spoken_of_where_there_are_some(api, cli):
    cli.run("install", "-y")
    status = api.named("Deployment", "istiod")["status"]
    status["availableReplicas"] = 0
    assert "0 of 1 pods; its pods have just become ready" in cli.run("install", "-y", "--timeout", "1", code=1)
    status["updatedReplicas"] = 0
    assert "0 of 1 pods; older pods are being replaced" in cli.run("install", "-y", "--timeout", "1", code=1)


def test_what_does_not_get_ready_is_explained(api, cli):
    """While it is waited for, and when no more is."""
    why = "pod {0}-n1 on n1: container main: ImagePullBackOff: no such image"
    api.is_ready = False
    said = cli.run("install", "-y", "--timeout", "1", code=1).splitlines()
    assert said.index(f"- Istiod: 0 of 1 pods ready; {why.format('istiod')}") < \
        said.index(f"✘ Istiod is not ready: 0 of 1 pods; {why.format('istiod')}")
    assert not api.named("DaemonSet", "ztunnel")
    api.is_ready = True
    api.delete(("apps/v1", "deployments", MESH, "istiod"))
    cli.run("install", "-y")
    api.delete(("apps/v1", "daemonsets", MESH, "ztunnel"))
    api.is_ready = False
    said = cli.run("install", "-y", "--timeout", "1", code=1).splitlines()
    assert said.index("✔ Istiod installed: control plane, 1 pods") < \
        said.index(f"- Ztunnel: 0 of 2 nodes ready; {why.format('ztunnel')}") < \
        said.index(f"✘ Ztunnel is not ready: 0 of 2 nodes; {why.format('ztunnel')}")


def test_definitions_of_others_stay_as_they_are(api, cli):
    name = "authorizationpolicies.security.istio.io"
    api.put({"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition", "metadata": {"name": name},
             "spec": {"group": "security.istio.io", "theirs": True}})
    said = cli.run("install", "-y")
    assert "those that others made are used as they are" in said
    assert api.named("CustomResourceDefinition", name)["spec"]["theirs"]


@pytest.mark.parametrize("times, code", [(1, 0), (10**9, 1)])
def test_definitions_that_are_not_seen_at_once_are_not_taken_over(api, cli, times, code):
    name = "authorizationpolicies.security.istio.io"
    api.put({"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition", "metadata": {"name": name},
             "spec": {"group": "security.istio.io", "theirs": True}})
    api.faults = [Fault("GET", f"/customresourcedefinitions/{name}", 503, "it is busy", times)]
    said = cli.run("install", "-y", code=code)
    assert f"CustomResourceDefinition {name}: trying again: it is busy" in said
    assert code == 0 or f"CustomResourceDefinition {name}: it is busy" in said
    assert api.named("CustomResourceDefinition", name)["spec"]["theirs"] and not api.calls("PATCH", name)


def test_an_upgrade_keeps_what_was_asked_for_and_prunes(api, cli):
    assert "nothing is installed" in cli.run("upgrade", "-y", code=1)
    cli.run("install", "--set", "profile=demo", "--set", "values.pilot.replicaCount=1", "-y")
    api.put({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole",
             "metadata": {"name": "of-a-version-before", "labels": {INSTALLED: "default"}}})
    api.put({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole", "metadata": {"name": "of-others"}})
    said = cli.run("upgrade", "-y", "-svalues.pilot.logLevel=debug")
    assert "1 objects of the version before removed" in said
    assert not api.named("ClusterRole", "of-a-version-before") and api.named("ClusterRole", "of-others")
    spec = json.loads(api.named("ConfigMap", "culvert-install")["data"]["spec"])
    assert spec == {"profile": "demo", "values": {"pilot": {"replicaCount": 1, "logLevel": "debug"}}}
    assert "--log-level=debug" in json.dumps(api.named("Deployment", "istiod"))


def test_selectors_of_a_version_before_stay_while_they_are_needed(api, cli):
    """There is a control plane behind the Service throughout: its old pods have fewer labels than the new ones."""
    cli.run("install", "-y")
    old, new = {"app": "istiod"}, {"app": "istiod", "istio": "pilot"}
    api.named("Deployment", "istiod")["spec"]["selector"] = {"matchLabels": old}
    api.named("Service", "istiod")["spec"]["selector"] = old
    done = len(api.log)
    cli.run("upgrade", "-y", "--set", "values.pilot.logLevel=debug")
    sent = [(path.split("?")[0].rsplit("/", 2)[1:], json.loads(text)["spec"]["selector"]) for method, path, text in api.log[done:]
            if method == "PATCH" and path.split("?")[0].endswith(("/services/istiod", "/deployments/istiod"))]
    assert sent == [(["services", "istiod"], old), (["deployments", "istiod"], {"matchLabels": old}), (["services", "istiod"], new)]
    assert not api.calls("DELETE") and "--log-level=debug" in json.dumps(api.named("Deployment", "istiod"))
    done = len(api.log)
    cli.run("upgrade", "-y")
    assert len([path for method, path, _ in api.log[done:] if method == "PATCH" and "/services/istiod" in path]) == 1


def test_a_deployment_with_another_selector_is_made_anew(api, cli):
    cli.run("install", "-y")
    api.named("Deployment", "istiod")["spec"]["selector"] = {"matchLabels": {"app": "control"}}
    assert "make anew  Deployment istio-system/istiod" in cli.run("upgrade", "--dry-run") and not api.calls("DELETE")
    cli.run("upgrade", "-y")
    assert len(api.calls("DELETE", "/deployments/istiod")) == 1
    assert api.named("Deployment", "istiod")["spec"]["selector"] == {"matchLabels": {"app": "istiod", "istio": "pilot"}}
    cli.run("upgrade", "-y")
    assert len(api.calls("DELETE")) == 1


def test_an_operator_file_and_the_old_spelling(api, cli, tmp_path):
    (tmp_path / "op.yaml").write_text("apiVersion: install.istio.io/v1alpha1\nkind: IstioOperator\nspec:\n  profile: minimal\n"
                                      "  components:\n    ingressGateways: [{name: x, enabled: true}]\n")
    said = cli.run("manifest", "apply", "-f", "op.yaml", "-y", "--skip-confirmation", program="culvert")
    assert "NOT installed by this one" in said and "- Ingress gateways are not installed" in said
    assert api.named("Deployment", "istiod")
    (tmp_path / "op.yaml").write_text("kind: IstioOperator\nspec:\n  profil: minimal\n")
    assert "op.yaml:3" in cli.run("install", "-f", "op.yaml", "-y", code=1)


@pytest.mark.parametrize("word, said", [
    ("outboundTrafficPolicy.mode=REGISTRY_ONLYY", "meshConfig.outboundTrafficPolicy.mode: "),
    ("outboundTrafficPolicy.mod=REGISTRY_ONLY", "meshConfig.outboundTrafficPolicy.mod: unknown field"),
    ("trustDomain=Corp_X", "meshConfig.trustDomain: expected a trust domain"),
    ("trustDomainAliases=old.example", "meshConfig.trustDomainAliases: "),
    ("trustDomainAliases={a: b}", "meshConfig.trustDomainAliases: "),
])
def test_a_mesh_config_that_the_control_plane_refuses_is_refused_before(api, cli, word, said):
    for words in (("install", "-y"), ("precheck",), ("manifest", "generate")):
        assert said in cli.run(*words, "--set", f"meshConfig.{word}", code=1)
    assert not api.named("ConfigMap", "istio")
    cli.run("install", "-y")
    assert said in cli.run("upgrade", "-y", "--set", f"meshConfig.{word}", code=1)
    assert not api.named("ConfigMap", "istio")


def test_a_mesh_config_is_not_looked_at_where_the_control_plane_is_anothers(cli):
    said = cli.run("manifest", "generate", "--set", "values.pilot.enabled=false", "--set", "meshConfig.trustDomain=Corp_X")
    assert "kind: DaemonSet" in said and "Corp_X" not in said


def test_a_list_is_written_as_for_istioctl_and_helm(api, cli):
    cli.run("install", "-y", "--set", "meshConfig.trustDomainAliases={old.example,older.example}",
            "--set", "meshConfig.discoverySelectors=[{matchLabels: {a: b}}]", "--set", "meshConfig.outboundTrafficPolicy={mode: ALLOW_ANY}")
    assert json.loads(api.named("ConfigMap", "istio")["data"]["mesh"]) == {
        "trustDomainAliases": ["old.example", "older.example"], "discoverySelectors": [{"matchLabels": {"a": "b"}}],
        "outboundTrafficPolicy": {"mode": "ALLOW_ANY"}}


def test_a_key_that_no_mesh_config_has_is_told(api, cli):
    for words in (("install", "-y"), ("upgrade", "-y"), ("precheck",), ("manifest", "generate")):
        said = cli.run(*words, "--set", "meshConfig.outboundTrafficPolcy.mode=REGISTRY_ONLY", "--set", "meshConfig.enableTracing=true")
        assert "meshConfig.outboundTrafficPolcy: no field of MeshConfig that is known: it has no effect" in said
        assert '; is "outboundTrafficPolicy" meant?' in said
        assert "meshConfig.enableTracing" not in said


def test_istio_itself_is_not_overwritten(api, cli):
    api.put(namespace(MESH))
    api.put({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "istiod", "namespace": MESH},
             "spec": {"template": {"spec": {"containers": [{"command": ["pilot-discovery"]}]}}}})
    said = cli.run("install", "-y", code=1)
    assert "Istio's own control plane is there" in said and not api.calls("PATCH")


def test_pods_are_released_before_anything_goes(api, cli):
    cli.run("install", "-y")
    seen = []

    def status(container):
        root = api.named("Namespace", MESH)["metadata"]["labels"]
        seen.append((root.get("culvert.io/mesh"), api.named("DaemonSet", "ztunnel") is not None))
        return {"pods": [] if len(seen) > 1 else [{"name": "web"}]}
    api.on_exec = agent(status)
    said = cli.run("uninstall", "-y")
    assert seen and all(s == ("released", True) for s in seen), "agents are told while they run"
    assert "Pods released on 2 nodes" in said and "✔ Uninstall complete" in said
    left = api.titles()
    assert "Namespace istio-system" in left and "CustomResourceDefinition telemetries.telemetry.istio.io" in left
    assert not {t for t in left if t.split()[0] in ("Deployment", "DaemonSet", "ClusterRole", "Role", "ConfigMap", "Service")}
    assert "culvert.io/mesh" not in api.named("Namespace", MESH)["metadata"]["labels"]
    said = cli.run("uninstall", "--purge", "-y")
    assert api.titles() == {"Node n1", "Node n2"}
    assert "Nothing of Culvert is installed" in cli.run("uninstall", "--purge", "-y")


def test_purge_ends_when_the_definitions_are_gone(api, cli):
    """The API server deletes them in its own time; who installs again before would lose them."""
    cli.run("install", "-y")
    api.on_exec = agent({"pods": []})
    api.lingering = {"telemetries.telemetry.istio.io": 2}
    assert "Uninstall complete" in cli.run("uninstall", "--purge", "-y")
    assert not [t for t in api.titles() if t.startswith("CustomResourceDefinition")]


def test_purge_keeps_what_people_wrote(api, cli):
    cli.run("install", "-y")
    api.on_exec = agent({"pods": []})
    api.put({"apiVersion": "security.istio.io/v1", "kind": "AuthorizationPolicy", "metadata": {"name": "a", "namespace": "x"}})
    api.put({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "istio-ca-root-cert", "namespace": "x"}})
    api.put({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "istio-ca-secret", "namespace": MESH}})
    api.put(pod(MESH, "grafana"))
    for name, labels in (("istio", {"app.kubernetes.io/managed-by": "culvert-control"}), ("istio-waypoint", {})):
        api.put({"apiVersion": "gateway.networking.k8s.io/v1", "kind": "GatewayClass", "metadata": {"name": name, "labels": labels}})
    said = cli.run("uninstall", "--purge", "-y")
    assert not api.named("GatewayClass", "istio") and api.named("GatewayClass", "istio-waypoint")
    assert "authorizationpolicies.security.istio.io stays" in said and "others have pods or services in it" in said
    assert api.named("AuthorizationPolicy", "a") and api.named("Pod", "grafana")
    assert not api.named("ConfigMap", "istio-ca-root-cert") and not api.named("Secret", "istio-ca-secret")


def test_purge_takes_what_has_our_names_and_nothing_that_only_begins_so(api, cli):
    """Whoever changes the CA keeps its old key under a name of their own."""
    cli.run("install", "-y")
    api.on_exec = agent({"pods": []})
    api.put(pod(MESH, "grafana"))
    for name in ("istio-ca-secret", "istio-ca-secret-of-last-year"):
        api.put({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name, "namespace": MESH}})
    for name in ("culvert-leader", "culvert-leader-canary", "istio-leader"):
        api.put({"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": {"name": name, "namespace": MESH}})
    cli.run("uninstall", "--purge", "-y")
    assert not api.named("Secret", "istio-ca-secret") and api.named("Secret", "istio-ca-secret-of-last-year")
    assert not api.named("Lease", "culvert-leader") and not api.named("Lease", "culvert-leader-canary")
    assert api.named("Lease", "istio-leader")


def test_purge_that_may_not_delete_the_key_says_so(api, cli):
    cli.run("install", "-y")
    api.on_exec = agent({"pods": []})
    api.put(pod(MESH, "grafana"))
    api.put({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "istio-ca-secret", "namespace": MESH}})
    api.faults = [Fault(method, "/secrets", 403, 'secrets "istio-ca-secret" is forbidden') for method in ("GET", "DELETE")]
    said = cli.run("uninstall", "--purge", "-y", code=1)
    assert "istio-ca-secret" in said and "forbidden" in said and "Keys, certificates" not in said


def put_what_a_control_plane_makes(api):
    api.put({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "istio-ca-secret", "namespace": MESH}})
    api.put({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "istio-ca-root-cert", "namespace": "shop"}})
    api.put({"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": {"name": "culvert-leader", "namespace": MESH}})
    api.put({"apiVersion": "gateway.networking.k8s.io/v1", "kind": "GatewayClass",
             "metadata": {"name": "istio", "labels": {"app.kubernetes.io/managed-by": "culvert-control"}}})


@pytest.mark.parametrize("last", ["Secret istio-ca-secret", "ConfigMap istio-ca-root-cert", "Lease culvert-leader", "GatewayClass istio"])
def test_purge_finds_what_an_uninstall_or_helm_left(api, cli, last):
    """Nothing of it has a label of an installation; not all of it need be there."""
    api.put(namespace(MESH))
    put_what_a_control_plane_makes(api)
    for key, o in list(api.objects.items()):
        if o["kind"] in ("Secret", "ConfigMap", "Lease", "GatewayClass") and f"{o['kind']} {o['metadata']['name']}" != last:
            api.delete(key)
    assert "Nothing of Culvert is installed" in cli.run("uninstall", "-y") and last in api.titles()
    cli.run("uninstall", "--purge", "--dry-run")
    assert last in api.titles()
    assert "Keys, certificates and definitions removed" in cli.run("uninstall", "--purge", "-y")
    assert last not in api.titles()
    assert "Nothing of Culvert is installed" in cli.run("uninstall", "--purge", "-y")


def test_purge_goes_on_from_a_plain_uninstall_where_the_definitions_are_others(api, cli):
    api.put(namespace(MESH))
    cli.run("install", "--set", "components.base.enabled=false", "-y")
    put_what_a_control_plane_makes(api)
    api.on_exec = agent({"pods": []})
    assert '"culvert uninstall --purge" removes them, too' in cli.run("uninstall", "-y")
    cli.run("uninstall", "--purge", "-y")
    assert not {"Secret istio-ca-secret", "ConfigMap istio-ca-root-cert", "Lease culvert-leader", "GatewayClass istio"} & api.titles()


def test_purge_does_not_take_what_it_was_not_told_of_for_absent(api, cli):
    api.put(namespace(MESH))
    api.faults = [Fault(method, "/secrets/", 403, "the key is forbidden") for method in ("GET", "DELETE")]
    assert "the key is forbidden" in cli.run("uninstall", "--purge", "-y", code=1)


def test_purge_that_cannot_see_whose_the_key_is_leaves_it(api, cli):
    """It may be that of Istio's own control plane, of which nothing is seen."""
    api.put(namespace(MESH))
    put_what_a_control_plane_makes(api)
    api.faults = [Fault("GET", f"/namespaces/{MESH}/deployments", 403, "the deployments are forbidden")]
    assert "the deployments are forbidden" in cli.run("uninstall", "--purge", "-y", code=1)
    assert api.named("Secret", "istio-ca-secret") and api.named("ConfigMap", "istio-ca-root-cert")


def test_purge_takes_no_definition_whose_objects_are_in_another_version(api, cli):
    """As somebody's newer definitions have it, whose first version is one of the past: nothing is listed in that."""
    cli.run("install", "-y")
    api.on_exec = agent({"pods": []})
    for plural, kind, versions in (("tlsroutes", "TLSRoute", (("v1alpha2", False), ("v1", True))),
                                   ("httproutes", "HTTPRoute", (("v1", False),))):
        api.named("CustomResourceDefinition", f"{plural}.gateway.networking.k8s.io")["spec"]["versions"] = [
            {"name": name, "served": is_served} for name, is_served in versions]
        api.put({"apiVersion": "gateway.networking.k8s.io/v1", "kind": kind, "metadata": {"name": "r", "namespace": "shop"}, "spec": {}})
    said = cli.run("uninstall", "--purge", "-y")
    assert "tlsroutes.gateway.networking.k8s.io stays: there are 1 of them" in said
    assert "httproutes.gateway.networking.k8s.io stays: it is not served" in said
    left = {t for t in api.titles() if t.startswith("CustomResourceDefinition")}
    assert left == {f"CustomResourceDefinition {p}.gateway.networking.k8s.io" for p in ("tlsroutes", "httproutes")}


def test_an_agent_that_cannot_be_asked_is_named(api, cli):
    cli.run("install", "-y")
    api.nodes.pop()
    api.delete(("v1", "pods", MESH, "ztunnel-n2"))
    api.on_exec = lambda *_: (1, "", "culvert: agent: not running\n")
    said = cli.run("uninstall", "-y", "--dry-run")
    assert "DaemonSet istio-system/ztunnel" in said and api.named("DaemonSet", "ztunnel")
    api.faults = [Fault("GET", "/exec", 403, 'pods "ztunnel-n1" is forbidden: cannot create resource "pods/exec"')]
    said = cli.run("uninstall", "-y", "--timeout", "1")
    assert "node n1: it cannot be seen whether its pods are released" in said and "pods/exec" in said


def test_nodes_that_may_keep_the_plugin_are_named(api, cli):
    """No pod would start there. A node that is off ends no pod: it is not waited for, and comes back with all that was on it."""
    cli.run("install", "-y", "--set", "values.cni.cniBinDir=/home/bin")
    for name, status in (("off", "Unknown"), ("down", "False"), ("up", "True")):
        api.put({"apiVersion": "v1", "kind": "Node", "metadata": {"name": name}, "spec": {},
                 "status": {"nodeInfo": {"operatingSystem": "linux"}, "conditions": [{"type": "Ready", "status": status}]}})
    api.put({"apiVersion": "v1", "kind": "Node", "metadata": {"name": "windows"}, "spec": {},
             "status": {"nodeInfo": {"operatingSystem": "windows"}, "conditions": [{"type": "Ready", "status": "False"}]}})
    api.put(pod(MESH, "ztunnel-off", "off", {"app": "ztunnel"}))
    api.put(pod(MESH, "ztunnel-n7", "up", {"app": "ztunnel"}, status={"phase": "Pending"}))
    asked = []

    def on_exec(name, container, command):
        asked.append(name)
        return (1, "", "culvert: agent: not running\n") if name == "ztunnel-n2" else agent({"pods": []})(name, container, command)
    api.on_exec = on_exec
    said = cli.run("uninstall", "--purge", "-y", "--timeout", "2")
    assert "ztunnel-off" not in asked and "Pods released on 1 nodes" in said
    assert "namespace istio-system stays" in said and api.named("Pod", "ztunnel-off")
    assert said.split("✔ Uninstall complete\n")[1].splitlines() == [
        "The CNI plugin may still be on these nodes, where no pod would start then:", "  down: it is not Ready",
        "  off: it is not Ready", "  up: its agent does not run", "  n2: its agent did not answer",
        "Where it is, root takes it away there; a node that ran on meanwhile is rebooted, too:",
        "  /home/bin/culvert-cni --remove /etc/cni/net.d"]


def test_no_node_is_named_that_has_no_plugin(api, cli):
    cli.run("install", "-y", "--set", "values.cni.enabled=false")
    api.on_exec = lambda *_: (1, "", "culvert: agent: not running\n")
    assert "The CNI plugin" not in cli.run("uninstall", "-y", "--timeout", "1")


def test_what_kubectl_applied_is_found_too(api, cli):
    cli.run("install", "-y")
    for o in api.objects.values():
        (o["metadata"].get("labels") or {}).pop(INSTALLED, None)
    api.on_exec = agent({"pods": []})
    cli.run("uninstall", "-y")
    assert not api.named("DaemonSet", "ztunnel") and not api.named("ClusterRole", "culvert-istiod")


@pytest.mark.parametrize("kind, part", [("ClusterRole", "/clusterroles"), ("ClusterRoleBinding", "/clusterrolebindings")])
def test_what_may_not_be_seen_is_not_said_to_be_removed(api, cli, kind, part):
    cli.run("install", "-y")
    api.on_exec = agent({"pods": []})
    before = api.titles()
    api.faults = [Fault(method, part, 403, "it is forbidden") for method in ("GET", "DELETE")]
    said = cli.run("uninstall", "-y", code=1)
    assert f"it cannot be seen whether {kind} culvert-" in said and "it is forbidden" in said and "complete" not in said
    assert api.titles() == before
    # by name is enough
    api.faults = [Fault("GET", f"{part}?", 403, "it is forbidden")]
    cli.run("uninstall", "-y")
    assert not any(title.startswith(kind + " ") for title in api.titles())


def test_istios_own_is_not_removed_while_it_cannot_be_seen_whose_it_is(api, cli):
    template = {"spec": {"containers": [{"command": ["/usr/local/bin/pilot-discovery"]}]}}
    api.put(namespace(MESH))
    api.put({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "istiod", "namespace": MESH}})
    api.put({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "istiod", "namespace": MESH},
             "spec": {"template": template}})
    api.faults = [Fault("GET", "/deployments/istiod", 503, "it is busy")]
    assert "whether Deployment istio-system/istiod is there: it is busy" in cli.run("uninstall", "-y", code=1)
    assert api.named("Service", "istiod")


def test_istios_own_is_not_removed(api, cli):
    template = {"spec": {"containers": [{"command": ["/usr/local/bin/pilot-discovery"]}]}}
    for version, kind, spec in (("v1", "Namespace", {}), ("v1", "Service", {}), ("apps/v1", "Deployment", {"template": template})):
        name = MESH if kind == "Namespace" else "istiod"
        api.put({"apiVersion": version, "kind": kind, "metadata": {"name": name, "namespace": "" if kind == "Namespace" else MESH},
                 "spec": spec})
    for name in ("istio-ca-secret", "istio-ca-root-cert"):
        api.put({"apiVersion": "v1", "kind": "Secret" if "secret" in name else "ConfigMap", "metadata": {"name": name, "namespace": MESH}})
    assert "Nothing of Culvert is installed" in cli.run("uninstall", "--purge", "-y")
    assert api.named("Deployment", "istiod") and api.named("Service", "istiod")
    api.put({"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": {"name": "culvert-leader", "namespace": MESH}})
    assert "Istio's own control plane is there, whose they are" in cli.run("uninstall", "--purge", "-y")
    assert api.named("Secret", "istio-ca-secret") and api.named("ConfigMap", "istio-ca-root-cert")


def test_purge_leaves_definitions_that_istio_has_too(api, cli):
    """One that nobody uses yet is there for those who will."""
    cli.run("install", "-y")
    api.on_exec = agent({"pods": []})
    template = {"metadata": {"labels": {"app": "istiod-istio"}}, "spec": {"containers": [{"command": ["/usr/local/bin/pilot-discovery"]}]}}
    api.put({"apiVersion": "apps/v1", "kind": "Deployment", "spec": {"template": template},
             "metadata": {"name": "istiod-1-30", "namespace": MESH, "labels": {"app": "istiod"}}})
    api.delete(("v1", "pods", MESH, "istiod-1-30-n1"))
    before = {t for t in api.titles() if t.startswith("CustomResourceDefinition")}
    assert "definitions stay: Istio's own control plane is there" in cli.run("uninstall", "--purge", "-y")
    assert {t for t in api.titles() if t.startswith("CustomResourceDefinition")} == before and not api.named("DaemonSet", "ztunnel")


def test_an_installation_takes_an_unfinished_removal_back(api, cli):
    cli.run("install", "-y")
    api.named("Namespace", MESH)["metadata"]["labels"]["culvert.io/mesh"] = "released"
    cli.run("install", "-y")
    assert "culvert.io/mesh" not in api.named("Namespace", MESH)["metadata"]["labels"]

# SPDX-License-Identifier: Apache-2.0
"""Two control planes beside each other: what each has of its own, who has what there is one of, and how that changes hands."""
import base64
import json
import subprocess

import pytest
import yaml
from fake_api import MESH, Fault, namespace

INSTALLED = "culvert.io/installed"
SHARED = ["DaemonSet ztunnel", "ServiceAccount ztunnel", "ClusterRole culvert-ztunnel", "ClusterRoleBinding culvert-ztunnel",
          "Role culvert-ztunnel", "RoleBinding culvert-ztunnel", "ValidatingWebhookConfiguration istiod-default-validator"]
OWN = ["Deployment istiod", "Service istiod", "ServiceAccount istiod", "PodDisruptionBudget istiod", "ClusterRole culvert-istiod",
       "ClusterRoleBinding culvert-istiod", "Role culvert-istiod", "RoleBinding culvert-istiod", "ConfigMap culvert-install"]
TAKE = ("--set", "components.ztunnel.enabled=true")
NO_CRDS = ("--set", "components.base.enabled=false")  # many, and all revisions'


def owner(api, title):
    return api.named(*title.split())["metadata"]["labels"][INSTALLED]


def addresses(api):
    """Whom the nodes ask."""
    containers = api.named("DaemonSet", "ztunnel")["spec"]["template"]["spec"]["containers"]
    return {e["value"] for c in containers for e in c["env"] if e["name"] in ("XDS_ADDRESS", "CA_ADDRESS")}


def validator(api):
    return api.named("ValidatingWebhookConfiguration", "istiod-default-validator")["webhooks"][0]["clientConfig"]["service"]["name"]


@pytest.fixture
def both(api, cli):
    """default, and canary beside it; agents say that they hold nothing."""
    api.on_exec = lambda _pod, _container, command: (0, "v9\n", "") if command[1] == "version" else (0, '200\n{"pods": []}', "")
    cli.run("install", *NO_CRDS, "-y")
    before = {k: dict(o) for k, o in api.objects.items()}
    cli.said = cli.run("install", *NO_CRDS, "--revision", "canary", "--set", "values.pilot.logLevel=debug", "-y")
    changed = [k for k, o in before.items() if api.objects.get(k) != o]
    assert not changed, "what was there stays as it was"
    return cli


def test_a_second_control_plane_beside_the_first(api, both):
    said = both.said
    assert "Ztunnel" not in [line.split()[1] for line in said.splitlines() if line.startswith("✔")]
    assert "ask revision default" in said and "components.ztunnel.enabled=true" in said
    assert "Revision canary validates objects that name it, revision default all that name none" in said
    for title in OWN:
        assert owner(api, title) == "default" and owner(api, f"{title}-canary") == "canary"
    for title in SHARED:
        assert owner(api, title) == "default"
    hook = api.named("ValidatingWebhookConfiguration", "istio-validator-canary-istio-system")["webhooks"][0]
    assert hook["clientConfig"]["service"]["name"] == "istiod-canary"
    assert hook["objectSelector"]["matchExpressions"][0]["values"] == ["canary"]
    assert addresses(api) == {"istiod.istio-system.svc:15012"} and validator(api) == "istiod"
    for name in ("istiod", "istiod-canary"):
        labels = api.named("Deployment", name)["spec"]["template"]["metadata"]["labels"]
        wanted = api.named("Service", name)["spec"]["selector"]
        others = api.named("Service", "istiod" if name != "istiod" else "istiod-canary")["spec"]["selector"]
        assert wanted.items() <= labels.items() and not others.items() <= labels.items(), "no Service has both"
    assert json.loads(api.named("ConfigMap", "culvert-install-canary")["data"]["spec"]) == \
        {"revision": "canary", "components": {"base": {"enabled": False}}, "values": {"pilot": {"logLevel": "debug"}}}


def test_each_is_installed_again_without_a_change(api, both):
    for words in ([], ["--revision", "canary", "--set", "values.pilot.logLevel=debug"], ["--revision", "default"]):
        before = {k: o["metadata"].get("resourceVersion") for k, o in api.objects.items()}
        assert "0 objects made, 0 changed" in both.run("install", *NO_CRDS, *words, "-y")
        records = [("v1", "configmaps", MESH, f"culvert-install{s}") for s in ("", "-canary")]
        after = {k: o["metadata"].get("resourceVersion") for k, o in api.objects.items()}
        assert {k: v for k, v in after.items() if k not in records} == {k: v for k, v in before.items() if k not in records}


def test_a_set_revision_is_the_same_and_the_question_says_it(api, cli):
    cli.run("install", *NO_CRDS, "-y")
    said = cli.run("install", *NO_CRDS, "--set", "revision=canary", text="n\n", code=1)
    assert "as revision canary; there is default. Proceed?" in said and not api.named("Deployment", "istiod-canary")


def test_the_nodes_go_over_when_asked_and_stay(api, both):
    both.run("upgrade", "--revision", "canary", "-y")
    assert addresses(api) == {"istiod.istio-system.svc:15012"}, "an upgrade alone moves nothing"
    said = both.run("upgrade", "--revision", "canary", *TAKE, text="y\n")
    assert "of all nodes go over from revision default" in said
    assert addresses(api) == {"istiod-canary.istio-system.svc:15012"}
    for title in SHARED[:-1]:
        assert owner(api, title) == "canary"
    assert validator(api) == "istiod"
    assert "ztunnel" not in api.named("ConfigMap", "culvert-install-canary")["data"]["spec"], "a move is not asked for again"
    both.run("upgrade", "-y", "--revision", "default")
    both.run("install", *NO_CRDS, "-y")
    assert addresses(api) == {"istiod-canary.istio-system.svc:15012"}
    said = both.run("install", "--revision", "canary", "--set", "components.ztunnel.enabled=false", "-y", code=1)
    assert "the nodes' DaemonSet belongs to revision canary" in said
    both.run("upgrade", "-y", "--revision", "default", "--set", "values.ztunnel.enabled=true")
    both.run("upgrade", "-y", "--revision", "canary")
    assert addresses(api) == {"istiod.istio-system.svc:15012"}


def test_nodes_of_one_may_ask_another(api, both):
    """Istio's word of the ztunnel chart, for Helm."""
    said = both.run("upgrade", "--revision", "default", "--set", "values.ztunnel.revision=none", "-y", code=1)
    assert "revision none, which the nodes are to ask, is not installed" in said
    both.run("upgrade", "--revision", "default", "--set", "values.ztunnel.revision=canary", "-y")
    assert addresses(api) == {"istiod-canary.istio-system.svc:15012"} and owner(api, "DaemonSet ztunnel") == "default"
    for name in ("default", "canary"):
        assert f"ask revision {name}" in both.run("uninstall", "--revision", name, "-y", code=1)
    both.run("upgrade", "--revision", "default", "--set", "values.ztunnel.revision=default", "-y")
    assert addresses(api) == {"istiod.istio-system.svc:15012"}
    words = ("--set", "values.ztunnel.revision=default", *TAKE)
    assert "default has no name" in both.run("install", "--revision", "canary", *words, "-y", code=1)


def test_an_upgrade_says_of_which(api, both, cli):
    assert "upgrade: revision other is not installed" in cli.run("upgrade", "--revision", "other", "-y", code=1)
    cli.run("upgrade", "--set", "values.pilot.logLevel=warn", "-y")
    assert "--log-level=warn" in json.dumps(api.named("Deployment", "istiod"))
    assert "--log-level=debug" in json.dumps(api.named("Deployment", "istiod-canary"))
    api.put({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole",
             "metadata": {"name": "of-canary-before", "labels": {INSTALLED: "canary"}}})
    cli.run("upgrade", "-y")
    assert api.named("ClusterRole", "of-canary-before"), "each prunes its own"
    assert "1 objects of the version before removed" in cli.run("upgrade", "--revision", "canary", "-y")


def test_the_only_one_may_have_a_name(api, cli):
    cli.run("install", *NO_CRDS, "--revision", "canary", "-y")
    assert addresses(api) == {"istiod-canary.istio-system.svc:15012"} and validator(api) == "istiod-canary"
    assert not api.named("Deployment", "istiod")
    cli.run("upgrade", "-y", "--set", "values.pilot.logLevel=debug")
    assert "debug" in json.dumps(api.named("Deployment", "istiod-canary")) and not api.named("Deployment", "istiod")
    api.on_exec = lambda *_: (0, '200\n{"pods": []}', "")
    assert "Pods released" in cli.run("uninstall", "--revision", "canary", "-y")
    assert not api.named("DaemonSet", "ztunnel") and not api.named("Service", "istiod-canary")


def test_the_default_tag_moves_who_validates(api, both):
    assert "revision x is not installed" in both.run("tag", "set", "default", "--revision", "x", "--overwrite", code=1)
    hook = api.named("ValidatingWebhookConfiguration", "istiod-default-validator")["webhooks"][0]
    hook["failurePolicy"] = "Fail"
    text = both.run("tag", "generate", "default", "--revision", "canary")
    assert "name: istiod-canary" in text and "kind: ConfigMap" in text and validator(api) == "istiod"
    assert "Revision canary is now the default" in both.run("tag", "set", "default", "--revision", "canary")
    hook = api.named("ValidatingWebhookConfiguration", "istiod-default-validator")
    assert validator(api) == "istiod-canary" and owner(api, SHARED[-1]) == "canary"
    assert hook["webhooks"][0]["failurePolicy"] == "Fail"
    both.run("install", *NO_CRDS, "-y")
    assert validator(api) == "istiod-canary"
    assert both.run("tag", "list").splitlines()[1].split() == ["default", "canary"]
    assert "Revision tag default removed" in both.run("tag", "remove", "default")
    assert validator(api) == "istiod-canary"


def test_a_tag_that_kubectl_has_applied_goes_too(api, both):
    """As `tag generate` is for; what is left of it would keep its revision from going."""
    both.run("tag", "set", "mine", "--revision", "canary")
    for o in yaml.safe_load_all(both.run("tag", "generate", "prod", "--revision", "canary")):
        api.put(o)
    assert {t["tag"] for t in both.json("tag", "list")} == {"mine", "prod"}
    for name in ("prod", "mine"):
        assert f"Revision tag {name} removed" in both.run("tag", "remove", name)
        assert name not in {t["tag"] for t in both.json("tag", "list")}
    both.run("uninstall", "--revision", "canary", "-y")


def test_one_goes_once_nothing_asks_it(api, both):
    assert "--revision NAME says which is to go" in both.run("uninstall", "-y", code=1)
    assert "--purge takes all of them" in both.run("uninstall", "--purge", "--revision", "canary", "-y", code=1)
    assert "revision other is not installed" in both.run("uninstall", "--revision", "other", "-y", code=1)
    assert "ask revision default" in both.run("uninstall", "--revision", "default", "-y", code=1)
    both.run("upgrade", "--revision", "canary", *TAKE, "-y")
    assert "validates objects that name no revision" in both.run("uninstall", "--revision", "default", "-y", code=1)
    both.run("tag", "set", "default", "--revision", "canary")
    both.run("tag", "set", "old", "--revision", "default")
    assert "tag old means revision default" in both.run("uninstall", "--revision", "default", "-y", code=1)
    both.run("tag", "remove", "old")
    said = both.run("uninstall", "--revision", "default", "-y")
    assert "Control plane of revision default removed" in said and "Pods released" not in said
    for title in OWN:
        assert not api.named(*title.split()), title
        assert api.named(*f"{title}-canary".split())
    for title in SHARED:
        assert owner(api, title) == "canary"
    assert api.named("Namespace", MESH) and api.named("ConfigMap", "culvert-tags")
    assert "No issues" in both.run("precheck")


@pytest.mark.parametrize("words", [("uninstall", "--revision", "canary"), ("upgrade", "--revision", "canary")])
def test_who_began_to_take_the_nodes_takes_nothing_of_theirs_away(api, both, words):
    api.faults = [Fault("PATCH", "/deployments/istiod-canary", 403)]
    both.run("upgrade", "--revision", "canary", *TAKE, "-y", code=1)
    assert owner(api, "DaemonSet ztunnel") == "default" and owner(api, "ClusterRole culvert-ztunnel") == "canary"
    api.faults = []
    both.run(*words, "-y")
    for title in SHARED:
        assert api.named(*title.split()), title
    both.run("upgrade", "--revision", "default", "-y")
    for title in SHARED:
        assert owner(api, title) == "default"


def test_a_validator_that_kubectl_moved_is_who_answers_its_own(api, both):
    hook = api.named("ValidatingWebhookConfiguration", "istiod-default-validator")
    hook["webhooks"][0]["clientConfig"]["service"]["name"] = "istiod-canary"  # its label stays
    both.run("upgrade", "--revision", "default", "-y")
    assert validator(api) == "istiod-canary"


def test_what_is_left_of_one_goes_by_the_same_command(api, both):
    api.faults = [Fault("DELETE", "/clusterroles/culvert-istiod-canary", 403)]
    assert "the same command goes on from here" in both.run("uninstall", "--revision", "canary", "-y", code=1)
    assert not api.named("ConfigMap", "culvert-install-canary")
    api.faults = []
    both.run("uninstall", "--revision", "canary", "-y")
    assert not {t for t in api.titles() if "canary" in t} and api.named("Deployment", "istiod")
    assert "revision canary is not installed" in both.run("uninstall", "--revision", "canary", "-y", code=1)
    api.faults = [Fault("PATCH", "/services/istiod-canary", 403)]
    both.run("install", "--revision", "canary", *NO_CRDS, "-y", code=1)
    api.faults = []
    both.run("uninstall", "--revision", "canary", "-y")
    assert not {t for t in api.titles() if "canary" in t} and api.named("Deployment", "istiod")


def test_one_with_a_name_of_a_version_whose_objects_had_none(api, cli):
    cli.run("install", *NO_CRDS, "-y")
    for o in api.objects.values():
        labels = o["metadata"].get("labels") or {}
        labels.update({k: "old" for k in (INSTALLED, "istio.io/rev") if k in labels})
    spec = {"revision": "old", "components": {"base": {"enabled": False}}}
    api.named("ConfigMap", "culvert-install")["data"].update(revision="old", spec=json.dumps(spec))
    cli.run("upgrade", "-y")
    assert validator(api) == "istiod-old" and addresses(api) == {"istiod-old.istio-system.svc:15012"}
    assert api.named("Deployment", "istiod-old") and not api.named("Deployment", "istiod")


def test_what_kubectl_applied_goes_by_its_names(api, both):
    for o in api.objects.values():
        (o["metadata"].get("labels") or {}).pop(INSTALLED, None)
    both.run("uninstall", "--revision", "canary", "-y")
    assert not {t for t in api.titles() if t.split()[1].startswith("istiod-canary")}
    assert api.named("DaemonSet", "ztunnel") and api.named("Deployment", "istiod") and validator(api) == "istiod"


def test_a_purge_takes_all(api, both):
    both.run("tag", "set", "prod", "--revision", "canary")
    both.run("uninstall", "--purge", "-y")
    assert api.titles() == {"Node n1", "Node n2"}


def test_precheck_knows_the_names(api, both):
    both.run("tag", "set", "prod", "--revision", "canary")
    for name in ("default", "canary", "prod", "prodd"):
        api.put(namespace(f"of-{name}"))
        api.named("Namespace", f"of-{name}")["metadata"]["labels"]["istio.io/rev"] = name
    found = both.json("precheck")
    assert [(f["code"], f["origin"]) for f in found] == [("CUL0006", "Namespace of-prodd")], found
    assert "istio.io/rev=prodd is the name of no revision and no tag" in found[0]["message"]
    api.faults = [Fault("GET", "/deployments", 403), Fault("GET", "/culvert-tags", 403)]
    assert "CUL0006" not in both.run("precheck")


def test_two_trust_domains_are_refused(api, cli):
    cli.run("install", "--set", "meshConfig.trustDomain=one.example", *NO_CRDS, "-y")
    said = cli.run("install", "--revision", "canary", "-y", code=1)
    assert "would sign for trust domain cluster.local, revision default signs for one.example" in said
    assert not api.named("Deployment", "istiod-canary")
    cli.run("install", "--revision", "canary", "--set", "meshConfig.trustDomain=one.example", *NO_CRDS, "-y")
    assert "one.example" in api.named("ConfigMap", "istio-canary")["data"]["mesh"]
    cli.run("install", "--revision", "other", "--force", *NO_CRDS, "-y")


def root(folder, name):
    """A certificate that signs itself, as PEM."""
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "1", "-subj",
                    f"/CN={name}", "-keyout", f"{folder}/{name}.key", "-out", f"{folder}/{name}.pem"], check=True, capture_output=True)
    with open(f"{folder}/{name}.pem", encoding="ascii") as f:
        return f.read()


def test_a_ca_that_nodes_do_not_trust_yet_is_not_started_with(api, cli, tmp_path):
    """A control plane that starts takes Secret cacerts, also where the others signed with istio-ca-secret before it came."""
    in_use, to_come = root(tmp_path, "in-use"), root(tmp_path, "to-come")

    def trust(pem):
        api.put({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "istio-ca-root-cert", "namespace": MESH},
                 "data": {"root-cert.pem": pem}})

    trust(in_use)  # of an installation before: nobody runs who would refuse another
    api.put({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "cacerts", "namespace": MESH},
             "data": {"root-cert.pem": base64.b64encode(to_come.encode()).decode()}})
    cli.run("install", *NO_CRDS, "-y")
    before = dict(api.objects)
    for words in (["install", "--revision", "canary", *NO_CRDS, "-y"], ["upgrade", "-y"]):
        assert "Secret cacerts is of another CA than the one in use" in cli.run(*words, code=1)
    assert api.objects == before
    trust(in_use + to_come)
    cli.run("install", "--revision", "canary", *NO_CRDS, "-y")
    trust(in_use)
    cli.run("install", "--revision", "other", "--force", *NO_CRDS, "-y")


def test_version_tells_them_apart(api, both):
    said = both.run("version")
    assert "control plane version: v9 (2 replicas)" in said
    assert "revision canary\n  control plane version: v9 (1 replicas)\n" in said
    assert both.json("version")["revisions"] == {"default": {"controlPlane": {"v9": 1}, "dataPlane": {"v9": 2}},
                                                 "canary": {"controlPlane": {"v9": 1}, "dataPlane": {}}}


def test_istios_own_revision_is_named(api, cli):
    api.put(namespace(MESH))
    api.put({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "istiod-1-29", "namespace": MESH, "labels": {
        "app": "istiod", "istio.io/rev": "1-29"}}, "spec": {"template": {"spec": {"containers": [{"command": ["pilot-discovery"]}]}}}})
    assert "Istio's own control plane is there" in cli.run("install", "-y", code=1)
    api.named("Deployment", "istiod-1-29")["metadata"]["labels"]["app"] = "exporter"
    cli.run("install", *NO_CRDS, "-y")


def test_a_variable_of_that_name_is_no_option_on_a_host(cli):
    words = ("--node", "n1", "--config-dir", ".", "--log-level=none")
    assert "none is not a level" in cli.run(*words, program="culvert-control", code=1, REVISION="No Name")


def test_what_the_api_server_refuses_is_said(api, cli):
    for part in ("/deployments", "/daemonsets/ztunnel", "/configmaps", "/istiod-default-validator"):
        api.faults = [Fault("GET", part, 403, "it is forbidden")]
        assert "what is installed: it is forbidden" in cli.run("install", "-y", code=1)
    api.faults = []
    assert "revision: does not match" in cli.run("install", "--revision", "No_Name", "-y", code=1)
    assert "revision: is too long" in cli.run("install", "--revision", "a" * 57, "-y", code=1)
    assert "revision: is too long" in cli.run("install", "--revision", "a" * 100, "-y", code=1)


def manifests(cli, *words):
    """Lines of what `manifest generate` prints."""
    return cli.run("manifest", "generate", *words).splitlines()


def test_manifests_of_a_revision_differ_in_its_name_only(cli):
    plain, named = manifests(cli), manifests(cli, "--revision", "canary")
    assert named == manifests(cli, "--set", "revision=canary") and plain == manifests(cli, "--revision", "default")
    told = [line for line in named if "name: REVISION" in line]
    differing = [b for a, b in zip(plain, [line for line in named if line not in told]) if a != b]
    assert len(told) == 1 and len(plain) + 1 == len(named) and differing
    assert all("canary" in line for line in [*told, *differing])
    second = "\n".join(manifests(cli, "--revision", "canary", "--set", "components.ztunnel.enabled=false",
                                 "--set", "values.defaultRevision="))
    assert "DaemonSet" not in second and "istiod-default-validator}" not in second and "name: istiod-canary" in second

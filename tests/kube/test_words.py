# SPDX-License-Identifier: Apache-2.0
"""The words that ask daemons of a cluster, by a user with no more rights than they need."""
import base64
import json
import subprocess
import tarfile

import pytest
from kubelab import layout
from kubelab.cluster import culvert, eventually

SYSTEM = "istio-system"
CANARIES = {"in-a-secret": "canary7secret7d41", "in-annotations": "canary7annotation7e52", "in-an-argument": "canary7argument7f63"}


@pytest.fixture
def user(cluster, mesh, tmp_path):
    """user(right, ...): a kubeconfig of somebody who may see the pods of the mesh, and these subresources of theirs."""
    made = []

    def make(*rights):
        name = f"u{len(made)}{'-'.join(rights)}"
        made.append(name)
        cluster.run("create", "serviceaccount", "-n", SYSTEM, name)
        cluster.apply(
            {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role", "metadata": {"name": name, "namespace": SYSTEM},
             "rules": [{"apiGroups": [""], "resources": ["pods"], "verbs": ["get", "list"]}] +
                      [{"apiGroups": [""], "resources": [f"pods/{r}"], "verbs": ["get", "create"]} for r in rights]},
            {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding", "metadata": {"name": name, "namespace": SYSTEM},
             "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": name},
             "subjects": [{"kind": "ServiceAccount", "name": name, "namespace": SYSTEM}]})
        with open(layout.ADMIN_CONF, encoding="ascii") as f:
            path = tmp_path / name
            path.write_text(f.read())
        words = [cluster.kubectl[0], "--kubeconfig", str(path), "config"]
        token = cluster.run("create", "token", "-n", SYSTEM, name).strip()
        subprocess.run([*words, "set-credentials", "somebody", f"--token={token}"], check=True, stdout=subprocess.DEVNULL)
        subprocess.run([*words, "set-context", "--current", "--user=somebody"], check=True, stdout=subprocess.DEVNULL)
        return "--kubeconfig", str(path)
    yield make
    for name in made:
        cluster.run("delete", "serviceaccount,role,rolebinding", "-n", SYSTEM, name)


def test_who_may_forward_ports_asks_ztunnel_and_the_control_plane(apps, user):
    who = user("portforward")
    for table in ("workload", "service", "policy", "certificate", "connections", "all"):
        said = culvert(*who, "ztunnel-config", table, "--node", "n1")
        assert said.splitlines() and "exec is used" not in said, table
    assert "HBONE" in culvert(*who, "zc", "workload", "--node", "n1")
    assert "current log level is" in culvert(*who, "zc", "log", "--node", "n2")
    rows = [line.split() for line in culvert(*who, "proxy-status").splitlines()]
    assert {row[2] for row in rows if "SYNCED" in row} == {"n1", "n2"}


def test_who_may_only_exec_asks_all_the_same(apps, user):
    who = user("exec")
    assert "HBONE" in culvert(*who, "zc", "workload", "--node", "n1")
    nobody = user()
    said = culvert(*nobody, "zc", "workload", "--node", "n1", code=1)
    assert "pods/portforward" in said and "pods/exec" in said, said


def test_words_that_look_at_what_there_is(apps, cluster):
    said = culvert("describe", "service", f"web.{apps}")
    assert "80/TCP" in said and "web" in said and cluster.service_ip(apps, "web") in said
    assert 'Revision tag "prod" set' in culvert("tag", "set", "prod", "--revision", "default", "-y")
    assert ("prod", "default") in {(t["tag"], t["revision"]) for t in json.loads(culvert("tag", "list", "-o", "json"))}
    culvert("tag", "remove", "prod", "-y")
    assert "prod" not in {t["tag"] for t in json.loads(culvert("tag", "list", "-o", "json"))}


def test_installed_by_files(apps, cluster, tmp_path):
    """An operator's file, Helm's values, `manifest apply`: each is what the API server then has."""
    def level():
        return cluster.get("daemonset", "-n", SYSTEM, "ztunnel")["spec"]["template"]["spec"]["containers"][1]["command"]
    operator, values = tmp_path / "operator.yaml", tmp_path / "values.yaml"
    operator.write_text("apiVersion: install.istio.io/v1alpha1\nkind: IstioOperator\nspec:\n  profile: demo\n"
                        "  values: {ztunnel: {logLevel: debug}}\n")
    values.write_text("ztunnel: {logLevel: info}\n")
    # what kubectl has applied is taken over as it is; what is to be otherwise than kubectl has it, only by force
    assert "✔ Installation complete" in culvert("install", "-y")
    assert "--force takes them over" in culvert("install", "-f", str(operator), "-y", code=1)
    assert "✔ Installation complete" in culvert("install", "-f", str(operator), "--force", "-y")
    assert "--log-level=debug" in level()
    assert "✔ Installation complete" in culvert("manifest", "apply", "--set", "profile=demo", "-f", str(values), "-y")
    assert "--log-level=info" in level()
    assert "0 objects made, 0 changed" in culvert("install", "--set", "profile=demo", "-f", str(values), "-y")
    cluster.install()
    assert "--log-level=info" in level()


def test_a_bug_report_has_no_secret(apps, cluster, tmp_path):
    """Of the cluster as it is: the CA's key and certificates' keys, tokens, and canaries where users put secrets."""
    secret, note, argument = CANARIES.values()
    cluster.apply({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "mine", "namespace": SYSTEM},
                   "stringData": {"password": secret}},
                  {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "mine", "namespace": SYSTEM, "annotations": {
                      "kubectl.kubernetes.io/last-applied-configuration": json.dumps({"data": {"password": note}})}},
                   "data": {"db.properties": f"db.user=kept-user\ndb.password={argument}\n"}})
    cluster.run("annotate", "pod", "-n", apps, "web", f"example.org/api-token={note}")
    ca = json.loads(cluster.run("get", "secret", "-n", SYSTEM, "istio-ca-secret", "-o", "json"))["data"]
    keys = [base64.b64decode(v).decode() for k, v in ca.items() if "key" in k and v]
    assert keys and all("PRIVATE KEY" in k for k in keys)
    token = cluster.run("create", "token", "-n", SYSTEM, "ztunnel").strip()
    path = tmp_path / "report.tar.gz"
    culvert("bug-report", "--output-file", str(path))
    with tarfile.open(path) as archive:
        files = {m.name: archive.extractfile(m).read().decode(errors="replace") for m in archive if m.isfile()}
    text = "\n".join(files.values())
    assert len(files) > 10 and "HBONE" in text and f"{apps}" in text and "kept-user" in text, sorted(files)
    hidden = [*CANARIES.values(), *(base64.b64encode(c.encode()).decode().rstrip("=")[:-1] for c in CANARIES.values()),
              "PRIVATE KEY", token.split(".")[2], *(k.splitlines()[1] for k in keys), *(v[:60] for k, v in ca.items() if "key" in k and v)]
    found = [(h, name) for h in hidden for name, body in files.items() if h in body]
    cluster.run("delete", "secret,configmap", "-n", SYSTEM, "mine")
    assert found == []
    assert not [line for line in text.splitlines() if "eyJhbGciOi" in line], "a token of a cluster"
    eventually(lambda: cluster.is_captured(apps, "web"), what="the pods are as they were")

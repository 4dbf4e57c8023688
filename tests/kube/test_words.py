# SPDX-License-Identifier: Apache-2.0
"""The words that ask daemons of a cluster, by a user with no more rights than they need."""
import subprocess

import pytest
from kubelab import layout
from kubelab.cluster import culvert

SYSTEM = "istio-system"


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

# SPDX-License-Identifier: Apache-2.0
"""The cluster is a real one: kubelets run pods, Services and their names work, across nodes."""
import os

from kubelab import plane
from kubelab.cluster import eventually, pod, service


def test_nodes_run_what_was_built_for_this_kubernetes(cluster, namespace):
    cluster.apply(pod(namespace, "one", "client", "n1"), pod(namespace, "two", "client", "n2"))
    cluster.wait_ready(namespace, "one", "two")
    folder = plane.bin_dir_of_cluster()
    is_built = os.path.exists(f"{folder}/containerd")
    for number in (1, 2):
        info = cluster.get("node", f"n{number}")["status"]["nodeInfo"]
        assert info["kubeletVersion"] == os.path.basename(folder)
        assert info["containerRuntimeVersion"].startswith("containerd://2.") is is_built
        shims = cluster.on_node(number, "pgrep", "-a", "-f", "containerd-shim-runc-v2 ").stdout.splitlines()
        assert shims and all(line.split()[1].startswith(f"{folder}/") is is_built for line in shims)


def test_a_service_works_across_nodes(cluster, namespace):
    cluster.apply(pod(namespace, "web", "nginx", "n1"), service(namespace, "web"), pod(namespace, "client", "client", "n2"))
    cluster.wait_ready(namespace, "web", "client")
    client_ip = cluster.get("pod", "-n", namespace, "client")["status"]["podIP"]
    body = eventually(lambda: cluster.curl(namespace, "client", "http://web"), what="an answer of the Service by name")
    assert body == f"nginx web\nclient {client_ip}\n"

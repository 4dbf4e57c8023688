# SPDX-License-Identifier: Apache-2.0
"""The cluster is a real one: kubelets run pods, Services and their names work, across nodes."""
from kubelab.cluster import eventually, pod, service


def test_a_service_works_across_nodes(cluster, namespace):
    cluster.apply(pod(namespace, "web", "nginx", "n1"), service(namespace, "web"), pod(namespace, "client", "client", "n2"))
    cluster.wait_ready(namespace, "web", "client")
    client_ip = cluster.get("pod", "-n", namespace, "client")["status"]["podIP"]
    body = eventually(lambda: cluster.curl(namespace, "client", "http://web"), what="an answer of the Service by name")
    assert body == f"nginx web\nclient {client_ip}\n"

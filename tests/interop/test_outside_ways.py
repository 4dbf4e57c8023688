# SPDX-License-Identifier: Apache-2.0
"""The ways to a Service that are meant for those outside, taken by a pod of the mesh: its external and load balancer's
addresses are the Service, and so is a NodePort at an address that a Node says it has; a hostPort there is its pod; at another
address of a host both are the host's affair."""
import contextlib
import os
import time

import pytest
from culvert_node import wait_for
from same_node import PORT, VIP, Direct
from test_guard import STRICT

NODE_PORT = 30080
WAYS = ("192.0.2.79", "fd00:99::79", "198.51.100.79", "::ffff:198.51.100.79")


@pytest.fixture(name="direct")
def fixture_direct():
    """A node whose Service has all of these ways."""
    d = Direct()
    d.edit(f"spec: {{clusterIP: {VIP},", 'status: {loadBalancer: {ingress: [{ip: 198.51.100.79}]}}\n'
           f'spec: {{type: LoadBalancer, clusterIP: {VIP}, externalIPs: [192.0.2.79, "fd00:99::79"],')
    yield d
    d.close()


def strict(d):
    """Nobody comes in in plaintext any more."""
    with open(os.path.join(d.config, "strict.yaml"), "w", encoding="utf-8") as f:
        f.write(STRICT)


def tell_of_node(d, addresses):
    """The Node says that it has these."""
    d.edit("metadata: {name: n1}", "metadata: {name: n1}\nstatus: {addresses: ["
           + ", ".join(f'{{type: InternalIP, address: "{a}"}}' for a in addresses) + "]}")


def seen_at(d, address):
    """Whom the server sees behind the port of the node; "" when nothing comes through."""
    with contextlib.suppress(RuntimeError):
        return d.talk(NODE_PORT, address, 5)
    return ""


def is_client(d, address):
    """Is it the pod itself?"""
    return seen_at(d, address) in (d.client.ip4, d.client.ip6)


def kube_proxy(d):
    """What kube-proxy does with a NodePort, and a CNI with a hostPort: another destination, another source."""
    node = d.topology.nodes[0]
    node.run("nft", "add table inet p; add chain inet p d { type nat hook prerouting priority -100; }; "
             "add chain inet p s { type nat hook postrouting priority 100; }; "
             f"add rule inet p d meta nfproto ipv4 fib daddr type local tcp dport {NODE_PORT} dnat ip to {d.server.ip4}:{PORT}; "
             f"add rule inet p d meta nfproto ipv6 fib daddr type local tcp dport {NODE_PORT} dnat ip6 to [{d.server.ip6}]:{PORT}; "
             f"add rule inet p s tcp dport {PORT} masquerade")
    return f"172.30.{d.topology.octet}.1", f"fd00:30:{d.topology.octet}::1"


def test_external_addresses_are_the_service(direct):
    strict(direct)

    def went_direct(host):
        before = direct.counter("direct")
        with contextlib.suppress(RuntimeError):  # until the address is known, it leads nowhere
            return direct.talk(80, host, 5) in (direct.client.ip4, direct.client.ip6) and direct.counter("direct") > before
        return False

    for host in WAYS:
        wait_for(lambda h=host: went_direct(h), 15, f"a direct connection to {host}")


def test_node_ports_are_the_service_where_the_node_is_known(direct):
    """Else as without a mesh: in plaintext, nobody's identity, so PERMISSIVE takes it and STRICT does not."""
    addresses = kube_proxy(direct)
    before = direct.counter("passthrough")
    for address in addresses:
        assert direct.talk(NODE_PORT, address) not in (direct.client.ip4, direct.client.ip6)  # an address of the node's
    assert direct.counter("passthrough") == before + 2
    assert direct.counter("direct") == direct.counter("guard_plaintext") == 0
    strict(direct)

    for address in addresses:
        wait_for(lambda a=address: not seen_at(direct, a), 15, "STRICT")
    tell_of_node(direct, addresses)
    direct.edit("ports: [{", f"ports: [{{nodePort: {NODE_PORT}, ")
    for address in addresses:
        wait_for(lambda a=address: is_client(direct, a), 15, "the node port is the Service")


def test_a_node_port_that_is_gone_is_refused_for_a_while(direct):
    """kube-proxy, which hears of it later, still leads to a pod of the mesh: in plaintext, which PERMISSIVE would take."""
    address = kube_proxy(direct)[0]
    tell_of_node(direct, [address])
    direct.edit("ports: [{", f"ports: [{{nodePort: {NODE_PORT}, ")
    wait_for(lambda: is_client(direct, address), 15, "the node port is the Service")
    direct.edit(f"nodePort: {NODE_PORT}, ", "")
    end = time.monotonic() + 8
    wait_for(lambda: not is_client(direct, address), 5, "the end of the node port")
    while time.monotonic() < end:
        assert seen_at(direct, address) == ""
        time.sleep(0.2)
    wait_for(lambda: seen_at(direct, address), 15, "the way without the mesh")


def test_a_host_port_is_its_pod_while_that_is_in_the_mesh(direct):
    """Without the mesh's doing it is in plaintext, which STRICT does not take; outside the mesh it stays so."""
    addresses = kube_proxy(direct)
    strict(direct)
    for address in addresses:
        wait_for(lambda a=address: not seen_at(direct, a), 15, "STRICT")
    tell_of_node(direct, addresses)
    direct.edit(f"serviceAccountName: {direct.server.name}", f"serviceAccountName: {direct.server.name}, "
                f"containers: [{{name: app, ports: [{{containerPort: {PORT}, hostPort: {NODE_PORT}}}]}}]")
    for address in addresses:
        wait_for(lambda a=address: is_client(direct, a), 15, "the hostPort is the pod")
    direct.edit("labels: {app: web", "labels: {istio.io/dataplane-mode: none, app: web")
    for address in addresses:
        wait_for(lambda a=address: seen_at(direct, a) and not is_client(direct, a), 15, "the CNI's way")

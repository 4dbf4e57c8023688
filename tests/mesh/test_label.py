# SPDX-License-Identifier: Apache-2.0
"""A label turns the mesh on and off for running pods: nothing restarts, nothing that was open is cut."""

import time

from labkit.wire import is_tls13_server_hello, streams, tls_records

SYN = 2


def test_plaintext_is_seen_on_the_link_before_the_label(cluster, eventually):
    cluster.release()
    try:
        answer = cluster.client(cluster.alice, "talk", cluster.bob.ip4, "echo", text=cluster.plain)
        assert answer["ok"]
        eventually(lambda: cluster.wire.find([cluster.plain]), what="the capture to see what is plain, or it proves nothing")
    finally:
        cluster.enrol()


def test_label_and_its_removal_cut_nothing_and_restart_nothing(cluster, eventually):
    cluster.release()
    started = {p.key: p.start_time() for p in cluster.meshed()}
    plain = cluster.hold(cluster.alice, cluster.bob.ip4, text=cluster.plain)
    cluster.enrol()
    meshed = cluster.hold(cluster.alice, cluster.bob.ip4)
    cluster.release()
    after = cluster.hold(cluster.carol, cluster.bob.ip4, text=cluster.plain)
    cluster.enrol()
    for holder in (plain, meshed, after):
        holder.stdout.readline()  # one more line asked and answered
        result = cluster.release_hold(holder)
        assert result["ok"], result
        assert result["lines"] > 1
    assert {p.key: p.start_time() for p in cluster.meshed()} == started


def test_only_tls13_on_15008_between_meshed_pods(cluster, eventually):
    began = time.time()
    for host in (cluster.bob.ip4, cluster.bob.ip6, "bob"):
        cluster.say_secret(cluster.alice, host, "80" if host == "bob" else "echo")
    pair = {cluster.alice.ip4, cluster.alice.ip6, cluster.bob.ip4, cluster.bob.ip6}
    # the ends of the plain ones of the test before may still be crossing
    between = eventually(lambda: [s for s in cluster.wire.segments() if s.src in pair and s.dst in pair and s.time >= began
                                  and (s.payload or s.flags & SYN)], what="what three connections left on the link")
    assert all(15008 in (s.sport, s.dport) for s in between), \
        sorted({(s.src, s.sport, s.dst, s.dport) for s in between})


def test_a_new_tunnel_is_tls13_from_its_first_byte(cluster, eventually):
    """Certificates are exchanged encrypted, so a stream is: ServerHello 1.3, then application data only."""
    cluster.nginx.run("curl", "-sS", "-m", "60", "-A", cluster.secret, "http://httpd.demo.svc.cluster.local/")
    friends = {ip for p in cluster.meshed() for ip in (p.ip4, p.ip6)}
    flows = {}

    def has_hello():
        flows.update(streams(s for s in cluster.wire.segments() if s.src in friends and s.dst in friends))
        return any(flow[1] == 15008 and is_tls13_server_hello(data) for flow, data in flows.items())

    eventually(has_hello, what="the capture of a TLS 1.3 ServerHello")
    for flow, data in flows.items():
        if 15008 in (flow[1], flow[3]):
            records = tls_records(data)
            assert records is not None, f"{flow}: not TLS records: {data[:64]!r}"


def test_pod_label_overrides_namespace(cluster, eventually):
    from labkit.lab import Lab
    key = cluster.carol.key
    Lab.label("pod", key, "istio.io/dataplane-mode=none")
    try:
        cluster.mesh.wait_released([cluster.carol])
        cluster.client(cluster.carol, "talk", cluster.bob.ip4, "echo", text=cluster.plain)
    finally:
        Lab.label("pod", key, "istio.io/dataplane-mode-")
        cluster.mesh.wait_captured([cluster.carol])
    cluster.say_secret(cluster.carol, cluster.bob.ip4)

# SPDX-License-Identifier: Apache-2.0
"""PeerAuthentication and AuthorizationPolicy take effect at once, on new and on open connections."""

import pytest

STRICT = """
apiVersion: security.istio.io/v1
kind: PeerAuthentication
metadata: {name: default, namespace: demo}
spec:
  mtls: {mode: STRICT}
"""

STRICT_BUT_WHOAMI = """
apiVersion: security.istio.io/v1
kind: PeerAuthentication
metadata: {name: bob, namespace: demo}
spec:
  selector: {matchLabels: {app: bob}}
  mtls: {mode: STRICT}
  portLevelMtls:
    7004: {mode: PERMISSIVE}
"""

DENY_ALICE = """
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: deny-alice, namespace: demo}
spec:
  selector: {matchLabels: {app: bob}}
  action: DENY
  rules:
    - from:
        - source:
            principals: ["cluster.local/ns/demo/sa/alice"]
"""

ALLOW_CAROL_7000 = """
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: allow-carol, namespace: demo}
spec:
  selector: {matchLabels: {app: bob}}
  action: ALLOW
  rules:
    - from:
        - source:
            principals: ["cluster.local/ns/demo/sa/carol"]
      to:
        - operation:
            ports: ["7000"]
"""

UNKNOWABLE = """
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: broken, namespace: demo}
spec:
  selector: {matchLabels: {app: bob}}
  action: ALLOW
  rules:
    - fromm:
        - source:
            principals: ["*"]
"""


def talks(cluster, pod, host, port="echo", family="any"):
    """True when a connection carries data both ways; plaintext clients say the plain canary."""
    text = cluster.plain if pod.namespace == "outside" else cluster.secret
    return cluster.client(pod, "talk", host, port, check=False, text=text, timeout=10, family=family)["ok"]


def test_permissive_serves_plaintext_and_reports_it(cluster, eventually):
    before = cluster.mesh["n2"].metric("istio_tcp_connections_opened_total", connection_security_policy="unknown",
                                       reporter="destination")
    eventually(lambda: talks(cluster, cluster.outsider, cluster.bob.ip4), what="the policy of the file before to be gone")
    assert talks(cluster, cluster.outsider, cluster.bob.ip6)
    eventually(lambda: cluster.mesh["n2"].metric("istio_tcp_connections_opened_total", reporter="destination",
                                                 connection_security_policy="unknown") >= before + 2,
               what="plaintext connections in the metrics")


def test_plaintext_server_sees_the_outsiders_address(cluster):
    answer = cluster.client(cluster.outsider, "read", cluster.bob.ip4, "whoami")["text"]
    assert f'"peer": "{cluster.outsider.ip4}:' in answer


def test_strict_refuses_plaintext_and_serves_the_mesh(cluster, manifest, eventually):
    manifest("strict", STRICT)
    eventually(lambda: not talks(cluster, cluster.outsider, cluster.bob.ip4), what="STRICT to refuse IPv4")
    eventually(lambda: not talks(cluster, cluster.outsider, cluster.bob.ip6), what="STRICT to refuse IPv6")
    assert talks(cluster, cluster.alice, cluster.bob.ip4)
    assert talks(cluster, cluster.carol, cluster.alice.ip4)


def test_strict_taken_away_serves_again(cluster, eventually):
    eventually(lambda: talks(cluster, cluster.outsider, cluster.bob.ip4), what="PERMISSIVE to be back")


def test_port_exception_of_strict(cluster, manifest, eventually):
    manifest("strict-but", STRICT_BUT_WHOAMI)
    eventually(lambda: not talks(cluster, cluster.outsider, cluster.bob.ip4), what="STRICT for bob")
    assert cluster.client(cluster.outsider, "read", cluster.bob.ip4, "whoami")["ok"]
    eventually(lambda: talks(cluster, cluster.outsider, cluster.alice.ip4), what="the other node to have heard of PERMISSIVE")


def test_deny_of_one_account_with_its_reason_everywhere(cluster, manifest, eventually):
    manifest("deny-alice", DENY_ALICE)
    eventually(lambda: not talks(cluster, cluster.alice, cluster.bob.ip4), what="the policy to deny alice")
    assert talks(cluster, cluster.carol, cluster.bob.ip4)
    eventually(lambda: talks(cluster, cluster.outsider, cluster.bob.ip4), what="STRICT of the test before to be gone")
    eventually(lambda: any("demo/deny-alice" in line and cluster.alice.identity in line
                           for line in cluster.mesh["n2"].log().splitlines()), what="log line that names the policy")

    def counted():
        return any(cluster.mesh["n2"].metric(f"istio_tcp_connections_{name}_total", response_flags="DENY",
                                             source_principal=cluster.alice.identity) for name in ("opened", "closed", "failed"))

    eventually(counted, what="the denial in the metrics")
    from labkit.lab import culvert
    table = culvert("ztunnel-config", "policy", "--node", "n2", "--run-dir", "/run/culvert/n2").stdout
    assert "deny-alice" in table


def test_deny_taken_away_serves_again(cluster, eventually):
    eventually(lambda: talks(cluster, cluster.alice, cluster.bob.ip4), what="alice to be served again")


def test_deny_closes_open_connections(cluster, manifest, eventually):
    denied = cluster.hold(cluster.alice, cluster.bob.ip4)
    kept = cluster.hold(cluster.carol, cluster.bob.ip4)
    manifest("deny-alice", DENY_ALICE)
    eventually(lambda: denied.poll() is not None, what="the open connection of alice to end")
    assert cluster.release_hold(kept)["ok"]


def test_allow_names_who_and_where(cluster, manifest, eventually):
    eventually(lambda: talks(cluster, cluster.alice, cluster.bob.ip4), what="the policy before to be gone")
    manifest("allow-carol", ALLOW_CAROL_7000)
    eventually(lambda: not talks(cluster, cluster.alice, cluster.bob.ip4), what="alice to be refused")
    assert talks(cluster, cluster.carol, cluster.bob.ip4)
    assert not cluster.client(cluster.carol, "read", cluster.bob.ip4, "whoami", check=False)["ok"] or \
        not cluster.client(cluster.carol, "read", cluster.bob.ip4, "whoami", check=False)["text"]
    assert not talks(cluster, cluster.outsider, cluster.bob.ip4)


def test_policy_that_is_not_understood_denies(cluster, manifest, eventually):
    eventually(lambda: talks(cluster, cluster.alice, cluster.bob.ip4), what="the policy before to be gone")
    manifest("broken", UNKNOWABLE)
    eventually(lambda: not talks(cluster, cluster.alice, cluster.bob.ip4), what="the broken policy to deny")
    assert talks(cluster, cluster.bob, cluster.alice.ip4), "others are not affected"
    errors = cluster.mesh["n2"].status("control")["errors"]
    assert any("fromm" in e["field"] + e["message"] and e["name"] == "broken" and e["line"] > 0 for e in errors), errors


@pytest.fixture(scope="module", autouse=True)
def served_in_the_end(cluster):
    """Leave no policy behind."""
    yield
    from labkit.mesh import wait_until
    wait_until(lambda: talks(cluster, cluster.alice, cluster.bob.ip4), what="everything to be allowed again")

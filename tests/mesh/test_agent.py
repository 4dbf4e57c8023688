# SPDX-License-Identifier: Apache-2.0
"""culvert-agent alone: a pod is captured, and what the kernel then does with its connections."""

import contextlib
import os
import pathlib
import socket
import struct
import subprocess

import pytest
from agentkit import (
    ALIVE, BIN, CAPTURE, CV_SOL_CULVERT, CV_SO_CLIENT, DIAL_APP, DIAL_HBONE, DIAL_PLAIN, DIR, DNS_UDP, HBONE,
    METRICS, NAMESERVER, NODE, OUTBOUND, PATIENCE_S, PIN_DIR, PLAIN, POD_ADD, POD_DNS, PodAdd, Pods, SYNCED,
    WORKLOAD_A, Ztunnel, addr, connect, in_netns, output, run, wait)


def dialled_as(app, ip, port):
    """ztunnel's socket reaches the application of pod a, which sees the client that it was told. Closes it."""
    with in_netns("c-agent-a", lambda: socket.create_server(("0.0.0.0", port))) as server, app:
        app.setsockopt(CV_SOL_CULVERT, CV_SO_CLIENT, addr("10.251.0.2") + struct.pack(">HH", 5555, 0))
        app.setblocking(True)
        app.bind(("127.64.1.2", 0))
        app.connect((ip, port))
        s, peer = server.accept()
        s.close()
        assert peer == ("10.251.0.2", 5555)


def test_pod_is_captured_after_the_ack_only(agent):
    z = Ztunnel()
    wait(lambda: agent.status()["ztunnel"] == "connected")
    z.expect(SYNCED)
    agent.label()
    _, body, fds = z.expect(POD_ADD)
    pod = PodAdd(body, fds)
    assert (pod.uid, pod.namespace, pod.name, pod.account) == ("Kubernetes//Pod/demo/a", "demo", "a", "a-account")
    assert pod.addrs[0] == addr("10.251.0.1") and addr("fd00:251::1") in pod.addrs
    assert any(a.startswith(b"\xfe\x80") for a in pod.addrs)
    assert pod.has_resolv_conf and pod.search == ["demo.svc.cluster.local", "svc.cluster.local"]
    assert pod.nameservers == [bytes(10) + b"\xff\xff" + socket.inet_aton("10.96.0.10")]
    assert agent.flags(pod.cookie) == 0
    assert agent.pod("a")["state"] == "pending"
    dialled_as(z.need(pod.cookie, DIAL_APP, 1)[0], "10.251.0.1", 9001)  # for a tunnel that is open already
    z.ack(pod.cookie)
    wait(lambda: agent.pod("a")["state"] == "captured")
    assert agent.flags(pod.cookie) == ALIVE | CAPTURE | POD_DNS
    assert (PIN_DIR / f"lookup_{pod.cookie}").exists()
    assert agent.pod("a")["netns_cookie"] == pod.cookie
    z.close()
    pod.close()


def test_listeners_are_in_the_pods_namespace(captured):
    pod = captured.a
    for i in range(4):
        assert pod.listeners[OUTBOUND + i].getsockname()[1] == pod.outbound[i]
    assert [s.getsockname()[1] for s in pod.listeners[DNS_UDP:]] == list(pod.dns_udp)
    listening = in_netns("c-agent-a", lambda: pathlib.Path("/proc/thread-self/net/tcp6").read_text())
    assert f":{pod.outbound[0]:04X} " in listening


def test_outbound_reaches_ztunnel_with_its_original_destination(captured):
    c = in_netns("c-agent-a", lambda: connect("10.251.0.2", 80))
    s, _ = captured.a.listeners[OUTBOUND].accept()
    assert s.family == socket.AF_INET6
    assert c.getpeername() == ("10.251.0.2", 80)
    c.sendall(b"hello")
    s.settimeout(PATIENCE_S)
    assert s.recv(10) == b"hello"
    s.close()
    c.close()


def test_service_frontend_is_a_mesh_destination(captured):
    c = in_netns("c-agent-a", lambda: connect("10.96.7.7", 80))
    captured.a.listeners[OUTBOUND].accept()[0].close()
    c.close()
    # without an endpoint ztunnel refuses; kube-proxy, which hears of it later, would still lead there in plaintext
    other = "workload Kubernetes//Pod/demo/c demo c {} 10.251.0.9"
    captured.tell("workload Kubernetes//Pod/demo/a demo a hbone 10.251.0.1,fd00:251::1", other.format("hbone"))
    wait(lambda: any(e["value"]["name"] == "demo/c" for e in captured.map("cv_workloads")))
    assert captured.map("cv_services")
    captured.tell(other.format("none") + " demo/web.demo.svc.cluster.local")
    wait(lambda: not captured.map("cv_services"))


def test_passthrough_stays_outside(captured):
    with socket.socket() as server:
        in_netns("c-agent-b", lambda: None)
        server = in_netns("c-agent-b", lambda: socket.create_server(("10.251.0.2", 4000)))
    server.settimeout(PATIENCE_S)
    captured.tell("workload Kubernetes//Pod/demo/b demo b none 10.251.0.2")
    wait(lambda: not any(e["value"]["name"] == "demo/b" for e in captured.map("cv_workloads")))
    c = in_netns("c-agent-a", lambda: connect("10.251.0.2", 4000))
    s, peer = server.accept()
    assert peer[0] == "10.251.0.1"
    for x in (s, c, server):
        x.close()


def test_inbound_is_steered_and_hbone_apart(captured):
    c = in_netns("c-agent-b", lambda: connect("10.251.0.1", 8080))
    s, _ = captured.a.listeners[PLAIN].accept()
    assert s.getsockname()[1] == 8080
    h = in_netns("c-agent-b", lambda: connect("fd00:251::1", 15008))
    t, _ = captured.a.listeners[HBONE].accept()
    assert t.getsockname()[:2] == ("fd00:251::1", 15008)
    for x in (c, s, h, t):
        x.close()


def test_dial_app_shows_the_client_and_other_kinds_are_refused(captured):
    cookie = captured.a.cookie
    app, stray = captured.z.need(cookie, DIAL_APP, 2)
    dialled_as(app, "10.251.0.1", 9000)
    stray.setblocking(True)
    with pytest.raises(OSError):
        stray.connect(("10.251.0.2", 9000))
    (hbone,) = captured.z.need(cookie, DIAL_HBONE, 1)
    hbone.setblocking(True)
    with pytest.raises(OSError):
        hbone.connect(("10.251.0.2", 80))
    (plain6,) = captured.z.need(cookie, DIAL_PLAIN, 1, family=1)
    assert plain6.family == socket.AF_INET6
    plain6.setblocking(True)
    with pytest.raises(OSError):
        plain6.connect(("fd00:251::2", 80))
    wait(lambda: captured.status()["counters"]["socket_kind"] >= 3)
    for x in (stray, hbone, plain6):
        x.close()


def test_another_sk_lookup_program_in_a_pod_is_reported(captured):
    run2, pin2 = DIR / "run2", pathlib.Path(f"{PIN_DIR}2")
    (run2 / "control").mkdir(parents=True)
    feed = subprocess.Popen([BIN / "agent-feed", run2 / "control/xds.sock"], stdin=subprocess.PIPE, text=True)
    feed.stdin.write(f"{WORKLOAD_A}\nflush\n")
    feed.stdin.flush()
    other = subprocess.Popen([BIN / "culvert-agent", "--node", NODE, "--config-dir", DIR / "config", "--run-dir", run2,
                              "--pin-dir", pin2], stderr=captured.log)
    try:

        def come():
            with contextlib.suppress(OSError):
                return Ztunnel(run_dir=run2)
            return None

        z = wait(come, what="the other agent")
        z.take_pod()
        wait(lambda: "another sk_lookup program is attached in a pod" in (DIR / "log").read_text(), timeout=20)
        z.close()
    finally:
        other.kill()
        other.wait()
        feed.kill()
        feed.wait()
        run(BIN / "culvert-agent", "--clean", "--pin-dir", pin2)


def test_bad_pods_are_named_and_the_host_is_never_captured(agent):
    agent.label()
    agent.put("host.yaml", Pods.manifest("host", f"/proc/{os.getpid()}/ns/net", "10.251.0.9"))
    agent.put("gone.yaml", Pods.manifest("gone", "/run/netns/c-agent-none", "10.251.0.9"))
    agent.put("wrongip.yaml", Pods.manifest("wrongip", "/run/netns/c-agent-b", "10.251.0.200"))
    agent.put("other.yaml", Pods.manifest("other", "/run/netns/c-agent-b", "10.251.0.2", node="elsewhere"))
    agent.put("twice.yaml", Pods.manifest("twice", "/run/netns/c-agent-a", "10.251.0.1"))
    wait(lambda: agent.pod("wrongip") and agent.pod("twice") and agent.pod("host") and agent.pod("gone"))
    assert "host's network namespace" in agent.pod("host")["error"]
    assert "No such file" in agent.pod("gone")["error"]
    assert "has no address 10.251.0.200" in agent.pod("wrongip")["error"]
    assert "already enrolled as demo/a" in agent.pod("twice")["error"]
    assert agent.pod("other") is None


def test_drop_events_and_metrics_name_the_reason(captured):
    captured.z.close()
    wait(lambda: captured.flags(captured.a.cookie) == CAPTURE | POD_DNS)
    with pytest.raises(ConnectionRefusedError):
        in_netns("c-agent-a", lambda: connect("10.251.0.2", 80))
    wait(lambda: "reason=ztunnel_dead pod=demo/a" in (DIR / "log").read_text())
    captured.z = z = Ztunnel()
    z.take_pod()
    text = ""
    while 'culvert_agent_pods{state="captured"} 1\n' not in text:  # what was on its way already is older
        text = z.expect(METRICS)[1].decode()
    assert 'culvert_bpf_events_total{reason="ztunnel_dead"} 1\n' in text
    assert 'culvert_agent_pods{state="captured"}' in text and "# EOF" not in text


def test_nameservers_are_announced(captured):
    def ask():
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
            s.sendto(b"query", ("10.251.0.2", 53))

    in_netns("c-agent-a", ask)
    _, body, _ = captured.z.expect(NAMESERVER)
    cookie, number, slot = struct.unpack_from("<QII", body)
    assert (cookie, slot) == (0, 0) and number >= 1 and body[16:32] == addr("10.251.0.2")
    data, _ = captured.a.listeners[DNS_UDP].recvfrom(100)
    assert data == b"query"


def test_a_nameserver_whose_event_was_lost_is_announced_later(captured):
    key = [f"{b:#04x}" for b in addr("10.251.9.9")]
    run("bpftool", "map", "update", "pinned", PIN_DIR / "cv_nameservers", "key", *key, "value", "9", "0", "0", "0")
    _, body, _ = captured.z.expect(NAMESERVER)
    assert struct.unpack_from("<QII", body) == (0, 9, 0) and body[16:32] == addr("10.251.9.9")


def test_a_link_local_address_of_two_pods_is_served_by_neither(captured):
    for n in ("c-agent-a", "c-agent-b"):
        run("ip", "-n", n, "addr", "add", "169.254.7.7/32", "dev", "eth0")
    captured.put("b.yaml", Pods.manifest("b", "/run/netns/c-agent-b", "10.251.0.2"))
    cookies = {captured.z.take_pod().cookie for _ in range(2)}
    assert len(cookies) == 2
    captured.z.take_pods_until(lambda: captured.pod("b")["state"] == captured.pod("a")["state"] == "captured", "both captured")

    def steered(address):
        return [e for e in captured.raw_map("cv_steer") if bytes(int(x, 16) for x in e["key"][12:16]) == socket.inet_aton(address)]

    wait(lambda: steered("10.251.0.1") and steered("10.251.0.2") and not steered("169.254.7.7"))
    wait(lambda: "two pods have one link-local address" in (DIR / "log").read_text())


def test_a_long_name_is_whole(captured):
    """A name that was cut would be another workload's, or nobody's."""
    namespace, name = "n" * 63, ".".join(["p" * 62] * 4)
    text = Pods.manifest(name, "/run/netns/c-agent-b", "10.251.0.2", more="  labels: {istio.io/dataplane-mode: ambient}")
    captured.put("b.yaml", text.replace("namespace: demo", f"namespace: {namespace}").replace(f"{name}-account", "b"))
    pod = captured.z.take_pod()
    assert (pod.uid, pod.namespace, pod.name) == (f"Kubernetes//Pod/{namespace}/{name}", namespace, name)


def test_a_second_agent_and_wrong_starts_fail_with_one_line(agent):
    def attempt(*args):
        return subprocess.run([BIN / "culvert-agent", *args], check=False, capture_output=True, text=True, timeout=2 * PATIENCE_S)

    base = ["--node", NODE, "--config-dir", str(DIR / "config")]
    for args, words in [
            ([*base, "--run-dir", str(DIR / "run"), "--pin-dir", str(PIN_DIR)], "another culvert-agent is running"),
            ([*base, "--run-dir", str(DIR / "run2"), "--pin-dir", str(PIN_DIR)], "another culvert-agent is running"),
            ([*base, "--run-dir", str(DIR / "run2"), "--pin-dir", "/tmp/no-bpffs"], "not on a bpffs"),
            ([*base, "--run-dir", str(DIR / "run2"), "--pin-dir", f"{PIN_DIR}2", "--ztunnel-user", "nosuchuser"],
             "no such user"),
            (["--node", NODE, "--config-dir", str(DIR / "none"), "--run-dir", str(DIR / "run2"), "--pin-dir",
              f"{PIN_DIR}2"], "cannot read the manifests"),
            (["--config-dir", "/"], "--node"), (["--node", "x"], "--config-dir"),
            (["--clean", "--pin-dir", str(PIN_DIR)], "stop it first")]:
        done = attempt(*args)
        assert done.returncode == 1, args
        assert words in done.stderr and done.stderr.count("\n") == 1, done.stderr


@pytest.mark.parametrize("before,words", [
    ("umount -l -a -t cgroup2", 'feature="mounted cgroup2 file system" since=4.5'),
    ("mount -t tmpfs -o ro none /sys/fs", "cannot mount a bpffs"),
    ("exec setpriv --reuid=65534 --clear-groups \"$@\"", "must be started as root")])
def test_what_it_cannot_do_without_is_one_line(tmp_path, before, words):
    if os.geteuid() != 0:
        pytest.skip("needs root: mount namespaces")
    done = subprocess.run(["unshare", "--mount", "sh", "-c", f"{before}; exec \"$@\"", "-", BIN / "culvert-agent", "--node", NODE,
                           "--config-dir", "/etc", "--run-dir", tmp_path / "run"],
                          check=False, capture_output=True, text=True, timeout=PATIENCE_S)
    assert done.returncode == 1 and words in done.stderr and done.stderr.count("\n") == 1, done.stderr


def test_only_five_capabilities_are_kept(agent):
    status = pathlib.Path(f"/proc/{agent.proc.pid}/status").read_text()
    caps = dict(line.split(":\t") for line in status.splitlines() if line.startswith("Cap"))
    expected = sum(1 << n for n in (12, 19, 21, 38, 39))  # NET_ADMIN SYS_PTRACE SYS_ADMIN PERFMON BPF
    for name in ("CapPrm", "CapEff", "CapBnd"):
        assert int(caps[name], 16) == expected
    assert int(caps["CapInh"], 16) == int(caps["CapAmb"], 16) == 0


def test_a_pod_whose_link_has_no_guard_is_worth_a_look(captured):
    """It ends in another pod, as one that is no veth ends nowhere on the host. With one more that does, there is nothing to say."""
    def notices():
        return [e for e in captured.status()["errors"] if isinstance(e, dict) and "no guard on the pod's link" in e["message"]]

    (said,) = wait(notices, what="the notice")
    assert (said["kind"], said["namespace"], said["name"], said["severity"]) == ("Pod", "demo", "a", "warning")
    shown = subprocess.run([BIN / "culvert", "status", "--run-dir", DIR / "run"], check=False, capture_output=True, text=True).stdout
    assert "Pod demo/a: no guard on the pod's link, which is no veth that ends on the host" in " ".join(shown.split())
    run("ip", "link", "add", "c-agent-v", "type", "veth", "peer", "name", "eth1", "netns", "c-agent-a")
    wait(lambda: not notices(), what="the guard")
    assert list(PIN_DIR.glob("guard_*"))
    run("ip", "link", "del", "c-agent-v")
    wait(notices, what="the notice again")
    assert (DIR / "log").read_text().count("no guard on the pod's link") == 2

# SPDX-License-Identifier: Apache-2.0
"""Peers that are gone without a word: a node that answers nothing any more, and pods whose name and address another one has."""
import re
import subprocess
import sys
import time
from collections import Counter

import pytest
import who
from culvert_node import SLOW, started, wait_for
from pair import Pair
from topology import Pod

PORT, VIP = 8080, "10.96.73.1"
SERVICE = f"""---
apiVersion: v1
kind: Service
metadata: {{name: web, namespace: gone}}
spec: {{clusterIP: {VIP}, selector: {{app: web}}, ports: [{{port: 80, targetPort: {PORT}}}]}}
---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {{name: no-old, namespace: gone}}
spec:
  action: DENY
  rules: [{{from: [{{source: {{principals: ["cluster.local/ns/gone/sa/old"]}}}}]}}]
"""
# One connection that speaks every half second; the last line is what it came to, and when.
TALK = """
import socket, sys, time
with socket.create_connection((sys.argv[1], int(sys.argv[2])), 60) as conn:
    try:
        while True:
            conn.sendall(b"who")
            conn.recv(10) or sys.exit("closed")
            print("answered", flush=True)
            time.sleep(0.5)
    except OSError as e:
        sys.exit(type(e).__name__)
"""
# Connections one after the other in each thread; a line for each that was answered: its local port, and who said so.
HAMMER = """
import os, socket, sys, time, threading
def hammer():
    while True:
        time.sleep(0.005)
        try:
            with socket.create_connection((sys.argv[1], int(sys.argv[2])), 5) as conn:
                conn.sendall(b"who")
                said = conn.recv(10)
                if said:
                    os.write(1, b"%d %s\\n" % (conn.getsockname()[1], said))
        except OSError:
            pass
for _ in range(4):
    threading.Thread(target=hammer, daemon=True).start()
sys.stdin.read()
"""
LETTERS = "abcdefghijklmnopqrstu"
PING_S = 30  # 10 s until a PING, 20 s for its answer
FAILOVER_S = 3  # that a server may say nothing before another one is asked; 30 where there is none
NOISE_S = 10 * SLOW  # more than a busy machine adds to either, and less than what it would take without


class Gone(Pair):
    """`client` and `b` on node 1, `a` on node 2; `a` and `b` are behind a service."""

    def __init__(self, work_dir):
        super().__init__(work_dir, "gone", "cg", 73)
        self.client = self.pod(1, "c")
        self.a, self.b = self.pod(2, "a"), self.pod(1, "b")
        for pod in (self.a, self.b):
            pod.labels = "app: web"
            self.processes.append(who.start(pod, pod.name[-1], PORT))

    def start(self):
        """Both nodes, both servers behind the service."""
        self.write(SERVICE)
        super().start()
        wait_for(lambda: set(who.letters(self.client, VIP, 80, 10)) == {"a", "b"}, 20, "both servers")

    def replaced(self, old, account, uid=None, name=None):
        """Another pod with the addresses of one whose link is cut, and its name; the processes of that one live on."""
        old.node.ip("link", "del", f"h{old.name}"[:15])
        old.close()
        new = self.adopt(Pod(old.node, name or old.name, old.ip4, old.ip6), account)
        self.pods.remove(old)
        new.uid = uid
        return new

    def silence(self, how):
        """Node 2 neither sends nor takes anything, as with its cable cut; -D: it is back."""
        for chain in ("INPUT", "FORWARD", "OUTPUT"):
            self.topology.nodes[1].run("iptables", how, chain, "-p", "tcp", "-j", "DROP")


@pytest.fixture(scope="module", name="gone")
def fixture_gone():
    with started(Gone, "gone") as mesh:
        yield mesh


def test_a_node_that_falls_silent_costs_one_ping_and_meanwhile_others_answer(gone):
    open_one = gone.run_in(gone.client, sys.executable, "-c", TALK, gone.a.ip4, str(PORT), stdout=subprocess.PIPE,
                           stderr=subprocess.PIPE, text=True)
    assert open_one.stdout.readline() == "answered\n"

    def b_answers():
        """Each is answered, in the time that one silent server costs."""
        begin = time.monotonic()
        assert who.letters(gone.client, VIP, 80) == "b"
        assert time.monotonic() - begin < FAILOVER_S + NOISE_S

    gone.silence("-I")
    silent_since = time.monotonic()
    try:
        for _ in range(5):  # their tunnel is open and says nothing: each asks b when a has been silent for a while
            b_answers()
        open_one.communicate(timeout=60 * SLOW)
        assert open_one.returncode == 1
        # one PING, not two nor an hour: nobody waits for TCP to give up
        assert time.monotonic() - silent_since < PING_S + NOISE_S
        wait_for(lambda: "has answered no PING" in gone.log(1), 10, "the reason in the log")
        for _ in range(2):  # with a new tunnel, which does not come about
            b_answers()
    finally:
        gone.silence("-D")
    wait_for(lambda: set(who.letters(gone.client, VIP, 80, 10)) == {"a", "b"}, 20, "the node to be back")


@pytest.mark.parametrize("has_uid", [True, False])
def test_a_pod_of_the_same_name_and_address_is_another_one_at_once(gone, has_uid):
    """Its account is another one: so are its identity, the policies, the tunnels."""
    old = gone.pod(2, f"d{int(has_uid)}", "old")
    old.uid = "11111111-0000-0000-0000-000000000000" if has_uid else None
    gone.processes.append(who.start(old, "o", PORT))
    gone.write(SERVICE)
    gone.wait_captured(gone.pods)
    assert who.ask(gone.client, old.ip4, PORT, 2) == ["o"] * 2
    assert who.ask(old, gone.b.ip4, PORT) == ["closed"]  # its account is denied
    stays = gone.run_in(gone.client, sys.executable, "-c", TALK, old.ip4, str(PORT), stdout=subprocess.PIPE,
                        stderr=subprocess.DEVNULL, text=True)
    assert stays.stdout.readline() == "answered\n"  # by the old one
    new = gone.replaced(old, "new", "22222222-0000-0000-0000-000000000000" if has_uid else None)
    gone.processes.append(who.start(new, "n", PORT))
    gone.write(SERVICE)
    # whatever is asked in between, nobody takes the new pod for the old one
    answers = set()
    wait_for(lambda: answers.update(who.ask(gone.client, new.ip4, PORT)) or "n" in answers, 20, "the new pod")
    assert "o" not in answers
    assert who.ask(gone.client, new.ip4, PORT, 5) == ["n"] * 5

    def ended(account):
        return [line for line in gone.log(1).splitlines() if f"dst.hbone_addr={new.ip4}:{PORT}" in line
                and f'dst.identity="spiffe://cluster.local/ns/gone/sa/{account}"' in line and "bytes_recv=1 " in line]

    wait_for(lambda: len(ended("new")) >= 6, 10, "the lines of what the new pod has answered")
    assert len(ended("old")) <= 3, "what the old one has answered before it was gone"
    gone.wait_captured([new])
    wait_for(lambda: who.ask(new, gone.b.ip4, PORT) == ["b"], 10, "the new account to be let in")

    def said():
        return [line for line in gone.log(1).splitlines() if f"src.addr={new.ip4}:" in line and 'direction="inbound"' in line
                and 'src.identity="spiffe://cluster.local/ns/gone/sa/new"' in line]

    wait_for(said, 10, "the line of the one that was let in")
    assert stays.wait(60) != 0


def test_an_address_that_passes_from_pod_to_pod_is_never_answered_by_another_than_was_proven(gone, tmp_path):
    """Twenty times, under a client that never pauses: whom the certificate named, as its node has logged it, is who answered."""
    pod = gone.pod(2, "r", f"acc-{LETTERS[0]}")
    name = pod.name
    gone.processes.append(who.start(pod, LETTERS[0], PORT))
    gone.write(SERVICE)
    gone.wait_captured(gone.pods)
    path = tmp_path / "heard"

    def heard():
        """(local port, letter) of each whole line."""
        return [tuple(line.split()) for line in path.read_text(encoding="ascii").split("\n")[:-1]]

    def proven():
        found = re.findall(rf"src\.addr={re.escape(gone.client.ip4)}:(\d+) .* dst\.hbone_addr={re.escape(pod.ip4)}:{PORT} "
                           r'.*dst\.identity="[^"]*/sa/acc-(\w)".* direction="outbound" bytes_sent=3 bytes_recv=1 ', gone.log(1))
        return Counter(found)

    with open(path, "w", encoding="ascii") as out:
        hammer = gone.run_in(gone.client, sys.executable, "-c", HAMMER, pod.ip4, str(PORT), stdin=subprocess.PIPE, stdout=out,
                             stderr=subprocess.DEVNULL)
    for i, letter in enumerate(LETTERS):
        wait_for(lambda: any(said == letter for _, said in heard()), 60, f"{letter} to be heard")
        if i + 1 == len(LETTERS):
            break
        pod = gone.replaced(pod, f"acc-{LETTERS[i + 1]}", name=f"{name}{i + 1}")
        steps = [lambda n=LETTERS[i + 1]: gone.processes.append(who.start(pod, n, PORT)), lambda: gone.write(SERVICE)]
        for step in steps if i % 2 else reversed(steps):  # who is told of it before it serves, and who after
            step()
            time.sleep(0.05 * (i % 4))
    hammer.stdin.close()
    assert hammer.wait(30) == 0
    wait_for(lambda: sum(proven().values()) >= len(heard()), 20, "the lines of all that were answered")
    wrong = Counter(heard()) - proven()
    least = min(Counter(said for _, said in heard()).values())
    print(f"{len(heard())} answered, of each pod {least} or more, {sum(wrong.values())} wrong")
    assert not wrong, wrong

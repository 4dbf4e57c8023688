# SPDX-License-Identifier: Apache-2.0
"""What tests and the demo do with a cluster that runs: kubectl, commands on nodes, captures of the link."""
import collections
import datetime
import json
import os
import re
import signal
import subprocess
import threading
import time
import uuid

from . import images, layout, node

READY_S = 180
TOLD_S = 5  # from a refusal to its Event, with what the runtime takes down in between
CONFLIST = "/etc/cni/net.d/10-culvert-kube.conflist"  # of a node's network
NOT_YET = ("failed calling webhook", 'serviceaccount "default" not found')
DIALER = os.path.join(os.path.dirname(os.path.abspath(__file__)), "dialer.py")


class Cluster:
    """kubectl, and what goes on on the nodes."""

    def __init__(self):
        with open(f"{layout.STATE}/bin", encoding="utf-8") as f:
            bin_dir = f.read().strip()
        self.kubectl = [f"{bin_dir}/kubectl", "--kubeconfig", layout.ADMIN_CONF]
        self.nodes = layout.nodes(2)

    def run(self, *args, check=True, text=None, timeout=180):
        """kubectl with these words. Return: its standard output."""
        done = subprocess.run([*self.kubectl, *args], input=text, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                              text=True, check=False, timeout=timeout)
        if check and done.returncode != 0:
            raise AssertionError(f"kubectl {' '.join(args)}: {done.stderr.strip()}")
        return done.stdout

    def get(self, *args):
        return json.loads(self.run("get", *args, "-o", "json"))

    def apply(self, *objects):
        """Again while the webhook is away: it fails closed, and its control plane may just have been killed; and while a
        namespace that was just made has no account for its pods: the controller manager makes it when it gets round to it."""
        text = json.dumps({"apiVersion": "v1", "kind": "List", "items": list(objects)})
        deadline = time.monotonic() + READY_S
        while True:
            try:
                return self.run("apply", "-f", "-", text=text)
            except AssertionError as e:
                if not any(one in str(e) for one in NOT_YET) or time.monotonic() > deadline:
                    raise
                time.sleep(0.2)

    def exec(self, namespace, pod, *command, container=None, timeout=180):
        """A command in a pod. Return: (exit code, standard output)."""
        which = ["-c", container] if container else []
        done = subprocess.run([*self.kubectl, "exec", "-n", namespace, pod, *which, "--", *command], stdout=subprocess.PIPE,
                              stderr=subprocess.DEVNULL, text=True, check=False, timeout=timeout)
        return done.returncode, done.stdout

    def curl(self, namespace, pod, url, *options):
        """Return: the body; "" when there was no answer of status 200."""
        code, out = self.exec(namespace, pod, "curl", "-sf", "-m", "20", *options, url)
        return out if code == 0 else ""

    def pod_netns(self, namespace, name):
        """Path of a running pod's network namespace, as the host has it."""
        pids = pids_of(self.get("pod", "-n", namespace, name)["metadata"]["uid"])
        assert pids, f"no process of {namespace}/{name}"
        return f"/proc/{pids[0]}/ns/net"

    def service_ip(self, namespace, name):
        return self.get("service", "-n", namespace, name)["spec"]["clusterIP"]

    def on_node(self, number, *command, **kw):
        """A command in the namespaces of a node."""
        return subprocess.run([*node.nsenter(self.nodes[number - 1]), *command], stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, text=True, check=False, **kw)

    def restarts(self, namespace):
        """Per pod: its UID, and how often each container was started again."""
        return {p["metadata"]["uid"]: [c["restartCount"] for c in p["status"]["containerStatuses"]]
                for p in self.get("pods", "-n", namespace)["items"]}

    def is_ready(self, namespace, name):
        conditions = self.get("pod", "-n", namespace, name)["status"]["conditions"]
        return any(c["type"] == "Ready" and c["status"] == "True" for c in conditions)

    def probes(self, namespace, name):
        """How often nginx was asked for /healthz, by its own count of connections since it began."""
        _, out = self.exec(namespace, name, "cat", "/tmp/probes")
        return out.count("\n")

    def ready_since(self, namespace, name):
        """In seconds since the epoch; 0 while it is not."""
        conditions = self.get("pod", "-n", namespace, name)["status"]["conditions"]
        return max((seconds(c["lastTransitionTime"]) for c in conditions if c["type"] == "Ready" and c["status"] == "True"), default=0)

    def refusals(self, namespace, name):
        """When our CNI plugin let this pod not start: the last time of each sort of refusal."""
        uid = self.get("pod", "-n", namespace, name)["metadata"]["uid"]
        events = self.get("events", "-n", namespace, "--field-selector", f"involvedObject.uid={uid},reason=FailedCreatePodSandBox")
        return [seconds(e["lastTimestamp"]) for e in events["items"] if "culvert-cni" in e["message"]]

    def refused_in_vain(self, namespace, name):
        """A pod that runs, and was held meanwhile: seconds after all of its node's mesh was there at which it was refused all the
        same. Then the kubelet's next try was to be the last one."""
        number = int(self.get("pod", "-n", namespace, name)["spec"]["nodeName"][1:])
        since = eventually(lambda: self.ready_since("istio-system", self.node_pod(number)), READY_S, "the node's mesh is ready")
        return [when - since for when in self.refusals(namespace, name) if when > since + TOLD_S]

    def pids(self, number, process):
        """Of a program, a regular expression, in containers of a node, as the node numbers them."""
        out = self.on_node(number, "pgrep", "-f", f"^/usr/local/bin/{process}").stdout
        return [int(n) for n in out.split()]

    def kill(self, number, process):
        for pid in self.pids(number, process):
            self.on_node(number, "kill", "-9", str(pid))

    def control_of(self, pod_name):
        """Where the control plane of this pod runs: (number of the node, its pid there)."""
        for number in range(1, len(self.nodes) + 1):
            for pid in self.pids(number, "culvert-control"):
                words = self.on_node(number, "cat", f"/proc/{pid}/environ").stdout.split("\0")
                if f"HOSTNAME={pod_name}" in words:
                    return number, pid
        raise AssertionError(f"no process of {pod_name}")

    def node_pod(self, number):
        """The mesh's pod on a node."""
        items = self.get("pods", "-n", "istio-system", "-l", "app=ztunnel",
                         "--field-selector", f"spec.nodeName=n{number}")["items"]
        return items[0]["metadata"]["name"]

    def kernel(self, number, name):
        """The values of one of the mesh's maps on a node; [] where no agent has been there yet."""
        done = self.on_node(number, "bpftool", "-j", "map", "dump", "pinned", f"/sys/fs/bpf/culvert/{name}")
        if done.returncode != 0:
            return []
        return [e["formatted"]["value"] for e in json.loads(done.stdout) if "formatted" in e]  # or it has just gone

    def captured(self, number):
        """Which pods of a node are in the mesh, as the kernel has it: "namespace/name"."""
        return {p["name"] for p in self.kernel(number, "cv_pods") if p["flags"] & 2}

    def destinations(self, number, name):
        """How many entries this map of destinations has of each that is in the mesh: {"namespace/name": n}."""
        return collections.Counter(d["name"] for d in self.kernel(number, name) if d["flags"] & 1)

    def is_captured(self, namespace, name):
        number = int(self.get("pod", "-n", namespace, name)["spec"]["nodeName"][1:])
        return f"{namespace}/{name}" in self.captured(number)

    def pins(self):
        """What the mesh has pinned in the kernel of the nodes."""
        return [line for n in (1, 2) for line in self.on_node(n, "find", "/sys/fs/bpf/culvert").stdout.splitlines()
                if "No such file" not in line]

    def plugins(self, number):
        """Of a node's network, in their order."""
        return [p["type"] for p in json.loads(self.on_node(number, "cat", CONFLIST).stdout)["plugins"]]

    def install(self, *sets):
        """As a user would, and wait for it. `sets`: values that are not the defaults, as "values.pilot.replicaCount=2"."""
        self.run("apply", "--server-side", "--force-conflicts", "-f", "-", text=manifests(*sets))
        self.wait_mesh()

    def delete_manifests(self):
        """As a user would, the other way."""
        self.run("delete", "--ignore-not-found=true", "-f", "-", text=manifests(), timeout=300)

    def wait_mesh(self):
        """Until all of ours is there and well."""
        self.run("rollout", "status", "-n", "istio-system", "deployment/istiod", f"--timeout={READY_S}s", timeout=READY_S + 30)
        self.run("rollout", "status", "-n", "istio-system", "daemonset/ztunnel", f"--timeout={READY_S}s", timeout=READY_S + 30)

    def wait_ready(self, namespace, *pods):
        self.run("wait", "-n", namespace, "--for=condition=Ready", f"--timeout={READY_S}s",
                 *(f"pod/{p}" for p in pods), timeout=READY_S + 30)


def pids_of(uid):
    """The processes of a pod, as the host numbers them."""
    found = []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{pid}/cgroup", encoding="ascii") as f:
                if f"pod{uid}" in f.read():
                    found.append(int(pid))
        except OSError:
            pass
    return found


def seconds(text):
    """Of a time as the API server writes it."""
    return datetime.datetime.fromisoformat(text.replace("Z", "+00:00")).timestamp()


def manifests(*sets):
    """Of the mesh, as users get them."""
    words = [word for one in sets for word in ("--set", one)]
    return subprocess.run([f"{images.BIN}/culvert", "manifest", "generate", *words], stdout=subprocess.PIPE, text=True, check=True).stdout


def culvert(*words, code=0):
    """The program itself, from outside the cluster. Return: what it says."""
    done = subprocess.run([f"{images.BIN}/culvert", "--kubeconfig", layout.ADMIN_CONF, *words], stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, text=True, timeout=400, check=False)
    assert done.returncode == code, f"culvert {' '.join(words)} ended with {done.returncode}: {done.stdout}"
    return done.stdout


def eventually(condition, seconds=120, what="condition"):
    """Wait until condition() gives something true, and return that."""
    deadline = time.monotonic() + seconds
    while True:
        got = condition()
        if got:
            return got
        assert time.monotonic() < deadline, f"not within {seconds} s: {what}"
        time.sleep(0.1)


class Load:
    """Requests at a steady pace from inside a pod, each on a new connection, while it is open; see dialer.py."""

    def __init__(self, cluster, namespace, pod_name, address, interval_s=0.02, path="/"):
        netns = cluster.pod_netns(namespace, pod_name)
        self.proc = subprocess.Popen(["nsenter", f"--net={netns}", "/usr/bin/python3", DIALER, address, "80",
                                      str(interval_s), path], stdout=subprocess.PIPE, text=True)
        self.results = []  # (when begun, ms, "ok ..." or what went wrong)
        self.reader = threading.Thread(target=self._read, daemon=True)

    def _read(self):
        for line in self.proc.stdout:
            began, ms, what = line.rstrip("\n").split(" ", 2)
            self.results.append((float(began), float(ms), what))

    def __enter__(self):
        self.reader.start()
        return self

    def __exit__(self, *_):
        self.proc.terminate()
        self.proc.wait()
        self.reader.join()

    def failed(self, since=0.0):
        """What went wrong with requests begun since then, each with its time."""
        assert self.results, "not one request was made"
        return [(began, what) for began, _ms, what in self.results if not what.startswith("ok") and began >= since]


class Canary:
    """Watches the link of node n2 while a word of its own is sent over it."""

    def __init__(self, cluster):
        self.cluster = cluster
        self.word = "canary" + uuid.uuid4().hex
        self.file = f"/tmp/{self.word}.pcap"
        self.proc = None

    def __enter__(self):
        pods = " or ".join(f"net {s.cluster_cidr}" for s in layout.stacks())
        # The word is at the head of a request; whole packets would leave room for few of them.
        self.proc = subprocess.Popen(["tcpdump", "-i", "cvk-n2", "--immediate-mode", "-U", "-s", "4096", "-B", "32768", "-w",
                                      self.file, f"tcp and ({pods})"], stderr=subprocess.PIPE, text=True)
        assert "listening" in self.proc.stderr.readline(), "tcpdump does not run"
        return self

    def _catch_up(self):
        """Until what has crossed the link by now is written: tcpdump says how much it got and how much it has done, when asked."""
        wanted, deadline = None, time.monotonic() + 30
        while time.monotonic() < deadline:
            self.proc.send_signal(signal.SIGUSR1)
            found = re.match(r"(\d+) packets? captured, (\d+) packets? received by filter, (\d+) ", self.proc.stderr.readline())
            if not found:
                return  # it has ended
            done, got, dropped = map(int, found.groups())
            wanted = got - dropped if wanted is None else wanted
            if done >= wanted:
                return
            time.sleep(0.02)

    def __exit__(self, *_):
        self._catch_up()
        self.proc.terminate()
        found = re.findall(r"(\d+) packets? dropped by kernel", self.proc.communicate()[1])
        self.dropped = int(found[-1]) if found else -1
        with open(self.file, "rb") as f:
            self.bytes = f.read()
        syn = "tcp[13] & 18 == 2 or (ip6 and ip6[6] == 6 and ip6[53] & 18 == 2)"
        out = subprocess.run(["tcpdump", "-nn", "-r", self.file, syn],
                             stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, check=False).stdout
        out_ascii = subprocess.run(["tcpdump", "-nn", "-tt", "-A", "-r", self.file], stdout=subprocess.PIPE,
                                   stderr=subprocess.DEVNULL, text=True, errors="replace", check=False).stdout
        self.filled = len(re.findall(r"^\d+\.\d+ IP6? .* length [1-9]", out_ascii, re.MULTILINE))
        self.seen = self._packets_with_word(out_ascii.splitlines())
        self.syns = [line.split(" > ")[1].split(": ")[0] for line in out.splitlines() if " > " in line]
        os.unlink(self.file)

    def _packets_with_word(self, lines):
        """Head lines, as tcpdump prints them, of the packets that carry the word."""
        found, head = [], ""
        for line in lines:
            if re.match(r"\d+\.\d+ IP6? ", line):
                head = line
            elif self.word in line:
                found.append(head)
        return found

    def was_seen(self):
        assert self.filled >= 2, "no request and answer crossed the link at all: the capture proves nothing"
        assert self.dropped == 0, f"{self.dropped} packets were not looked at (-1: nobody knows): the capture proves nothing"
        if self.seen:
            print("in plaintext:", *self.seen[:10], f"({len(self.seen)} packets)", sep="\n  ")
        return self.word.encode() in self.bytes

    def ports_of(self, address):
        """Where connections to one server went. Pods of earlier tests that are still about have other servers."""
        return {to.rsplit(".", 1)[1] for to in self.syns if to.rsplit(".", 1)[0] == address}

    def ports(self):
        """Where new connections between pods went; those to the control plane are not of pods."""
        return {int(to.rsplit(".", 1)[1]) for to in self.syns} - {15012}


def pod(namespace, name, image, at, labels=None, **spec):
    """A Pod of one container on node `at`."""
    return {"apiVersion": "v1", "kind": "Pod",
            "metadata": {"name": name, "namespace": namespace, "labels": {"app": name, **(labels or {})}},
            "spec": {"nodeName": at, "terminationGracePeriodSeconds": 1,
                     "containers": [{"name": "main", "image": f"culvert.test/{image}:1", "imagePullPolicy": "Never",
                                     **({"readinessProbe": {"httpGet": {"path": "/healthz", "port": 80},
                                                            "periodSeconds": 1}} if image == "nginx" else {})}],
                     **spec}}


def eager(namespace, name, at, address, word):
    """A pod whose first process dials and speaks from its first instruction on."""
    p = pod(namespace, name, "client", at)
    p["spec"]["containers"][0]["command"] = ["/eager", address, "80", f"GET /{word} HTTP/1.0\r\n\r\n"]
    return p


def service(namespace, name, port=80, **spec):
    return {"apiVersion": "v1", "kind": "Service", "metadata": {"name": name, "namespace": namespace},
            "spec": {"selector": {"app": name}, "ports": [{"name": "http", "port": port}],
                     "ipFamilyPolicy": "PreferDualStack", **spec}}


def curl_from_outside(ip, port):
    """As a machine beside the cluster asks. Return: the body, "" when there was no answer of status 200."""
    url = f"http://{layout.in_url(ip)}:{port}"
    done = subprocess.run(["curl", "-sf", "--connect-timeout", "4", "-m", "20", url], stdout=subprocess.PIPE, text=True,
                          check=False)
    return done.stdout if done.returncode == 0 else ""

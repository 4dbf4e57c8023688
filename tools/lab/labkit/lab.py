# SPDX-License-Identifier: Apache-2.0
"""The lab, through `culvert lab`: pods, commands in them, labels, and manifests in the config folder."""

import fcntl
import json
import os
import pathlib
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parents[3]
BIN = pathlib.Path(os.environ.get("CULVERT_BIN", ROOT / "build" / "bin"))
CULVERT = str(BIN / "culvert")
LAB_DIR = pathlib.Path("/run/culvert-lab")
CONFIG = LAB_DIR / "config"


class LabError(Exception):
    """A command of the lab failed; the text says which and how."""


def culvert(*args, check=True, timeout=180):
    """Run `culvert ARGS`, output captured."""
    done = subprocess.run([CULVERT, *args], capture_output=True, text=True, timeout=timeout, check=False)
    if check and done.returncode != 0:
        raise LabError(f"culvert {' '.join(args)}: exit {done.returncode}: {done.stderr.strip()}")
    return done


class Pod:
    """One running pod."""

    def __init__(self, key, body):
        self.key = key
        self.namespace, self.name = key.split("/")
        annotations = body["metadata"]["annotations"]
        self.deployment = annotations.get("lab.culvert.io/deployment")
        self.node = body["spec"]["nodeName"]
        self.is_host_network = body["spec"].get("hostNetwork", False)
        self.service_account = body["spec"]["serviceAccountName"]
        self.ip4, self.ip6 = (a["ip"] for a in body["status"]["podIPs"])
        self.pid = int(annotations["culvert.io/pid"])
        self.netns = annotations["culvert.io/netns"]
        self.identity = f"spiffe://cluster.local/ns/{self.namespace}/sa/{self.service_account}"

    def argv(self, *command, privileged=False):
        """The command line that runs COMMAND in this pod."""
        return [CULVERT, "lab", "exec", *(["--privileged"] if privileged else []), self.key, "--", *command]

    def run(self, *command, check=True, timeout=120, stdin=None, privileged=False):
        """Run a command in the pod. Return: subprocess.CompletedProcess, text."""
        done = subprocess.run(self.argv(*command, privileged=privileged), capture_output=True, text=True,
                              errors="replace", timeout=timeout, input=stdin, check=False)
        if check and done.returncode != 0:
            raise LabError(f"{self.key}: {' '.join(command)}: exit {done.returncode}: "
                           f"{done.stdout.strip()} {done.stderr.strip()}")
        return done

    def spawn(self, *command, **kwargs):
        """Start a command in the pod. Return: subprocess.Popen with pipes."""
        kwargs.setdefault("stdout", subprocess.PIPE)
        kwargs.setdefault("stderr", subprocess.STDOUT)
        kwargs.setdefault("stdin", subprocess.PIPE)
        return subprocess.Popen(self.argv(*command), text=True, bufsize=1, errors="replace", **kwargs)

    def file(self, path):
        """A file of the pod's, as the host reaches it."""
        return pathlib.Path(f"/proc/{self.pid}/root{path}")

    def start_time(self):
        """Start of the pod's first process, in clock ticks since boot: changes when it restarts."""
        return pathlib.Path(f"/proc/{self.pid}/stat").read_text().rsplit(")", 1)[1].split()[19]


class Lab:
    """A lab that is up, or is to be."""

    session = None

    @classmethod
    def claim(cls):
        """One demo or test run at a time on this machine: wait for the other. Held until this process ends."""
        lock = pathlib.Path("/run/lock/culvert-lab")
        lock.parent.mkdir(parents=True, exist_ok=True)
        cls.session = lock.open("w", encoding="ascii")
        try:
            fcntl.flock(cls.session, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            print("waiting: another demo or test run uses the lab", file=sys.stderr, flush=True)
            fcntl.flock(cls.session, fcntl.LOCK_EX)

    @staticmethod
    def up(manifests):
        """Bring the lab to a list of YAML texts and manifest files."""
        with tempfile.TemporaryDirectory(prefix="culvert-lab-") as folder:
            for i, m in enumerate(manifests):
                text = m.read_text() if isinstance(m, pathlib.Path) else m
                pathlib.Path(folder, f"{i:02}.yaml").write_text(text)
            culvert("lab", "up", "--quiet", folder)

    @staticmethod
    def down():
        """Stop and remove everything."""
        culvert("lab", "down")

    @staticmethod
    def pods():
        """Every pod, by "namespace/name" and by "namespace/deployment"."""
        found = {}
        for key, body in json.loads(culvert("lab", "status", "-o", "json").stdout).items():
            pod = Pod(key, body)
            found[key] = pod
            if pod.deployment:
                found[f"{pod.namespace}/{pod.deployment}"] = pod
        return found

    @staticmethod
    def label(kind, name, *changes):
        """kubectl label."""
        culvert("lab", "label", kind, name, *changes)

    @staticmethod
    def apply(name, text):
        """Put a manifest into the config folder; its file is NAME.yaml."""
        fresh = CONFIG / f".{name}.tmp"
        fresh.write_text(text)
        fresh.rename(CONFIG / f"{name}.yaml")

    @staticmethod
    def delete(name):
        """Take a manifest of apply() away."""
        (CONFIG / f"{name}.yaml").unlink(missing_ok=True)

    @staticmethod
    def on_node(node, *command, **kwargs):
        """The command line that runs COMMAND in a node's network namespace."""
        return [CULVERT, "lab", "exec", "--node", node, "--", *command]


def config_map(namespace, name, files):
    """A ConfigMap manifest with the content of files."""
    data = {path.name: path.read_text() for path in files}
    return json.dumps({"apiVersion": "v1", "kind": "ConfigMap",
                       "metadata": {"namespace": namespace, "name": name}, "data": data})

#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""What a container runtime does with a node's list of CNI plugins, by hand, each plugin timed: for bench.py.

usage: cni_chain.py CONFLIST BIN-DIR    (root, in a node's namespaces; standard input: JSON, [[namespace, name, UID of a pod], ...])
Prints, as JSON, per pod: [ms of the list without culvert-cni, ms of all of it, ms of culvert-cni].
"""
import json
import os
import subprocess
import sys
import time

OURS = "culvert-cni"
SETTLE_S = 0.2


class Sandbox:
    """A network namespace of a pod that nothing runs in."""

    def __init__(self, config, name, pod):
        self.config, self.name, self.pod, self.result = config, name, pod, None

    def __enter__(self):
        subprocess.run(["ip", "netns", "add", self.name], check=True)
        time.sleep(SETTLE_S)  # the kernel is at it for a while
        return self

    def __exit__(self, *_):
        subprocess.run(["ip", "netns", "del", self.name], check=True)

    def call(self, plugin, command):
        """Return: how long it took, in ms."""
        conf = {"cniVersion": self.config["cniVersion"], "name": self.config["name"], **plugin}
        if self.result:
            conf["prevResult"] = self.result
        namespace, name, uid = self.pod
        env = {"CNI_COMMAND": command, "CNI_CONTAINERID": self.name, "CNI_NETNS": f"/run/netns/{self.name}", "CNI_IFNAME": "eth0",
               "CNI_PATH": sys.argv[2], "PATH": os.environ["PATH"],
               "CNI_ARGS": f"IgnoreUnknown=1;K8S_POD_NAMESPACE={namespace};K8S_POD_NAME={name};K8S_POD_UID={uid}"}
        began = time.monotonic()
        done = subprocess.run([os.path.join(sys.argv[2], plugin["type"])], input=json.dumps(conf), stdout=subprocess.PIPE, text=True,
                              env=env, check=False)
        took = 1000 * (time.monotonic() - began)
        if done.returncode != 0:
            sys.exit(f"cni_chain: {plugin['type']} {command}: {done.stdout}")
        if done.stdout.strip():
            self.result = json.loads(done.stdout)
        return took

    def add_and_remove(self, plugins):
        """Return: ms of each plugin's ADD, by its type."""
        times = {plugin["type"]: self.call(plugin, "ADD") for plugin in plugins}
        time.sleep(SETTLE_S)  # what our agent does afterwards is over
        for plugin in reversed(plugins):
            self.call(plugin, "DEL")
        return times


def main():
    with open(sys.argv[1], encoding="utf-8") as f:
        config = json.load(f)
    others = [p for p in config["plugins"] if p["type"] != OURS]
    rows = []
    for i, one in enumerate(json.load(sys.stdin)):
        with Sandbox(config, f"cvchain{i}a", one) as sandbox:
            without = sandbox.add_and_remove(others)
        with Sandbox(config, f"cvchain{i}b", one) as sandbox:
            times = sandbox.add_and_remove(config["plugins"])
        rows.append([sum(without.values()), sum(times.values()), times[OURS]])
    print(json.dumps(rows))


if __name__ == "__main__":
    main()

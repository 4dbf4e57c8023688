# SPDX-License-Identifier: Apache-2.0
"""Helm itself makes of the chart what `culvert manifest generate` prints. No cluster needed."""
import fcntl
import json
import os
import shutil
import subprocess

import pytest
import yaml

from kubelab import images, layout

CHART = os.path.join(layout.ROOT, "tools", "deploy", "chart")
VERSION = "v3.22.0"
CACHE = os.path.expanduser("~/.cache/culvert")


@pytest.fixture(scope="module")
def helm():
    """Built from source once: some minutes."""
    folder = os.path.join(CACHE, "helm", VERSION)
    os.makedirs(folder, exist_ok=True)
    with open(os.path.join(folder, "lock"), "w", encoding="ascii") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not os.path.exists(f"{folder}/helm"):
            found = [shutil.which(go) for go in ("go", "/usr/local/go/bin/go", f"{CACHE}/go/go/bin/go")]
            if not any(found):
                pytest.skip("no Go to build Helm with")
            done = subprocess.run([next(filter(None, found)), "install", f"helm.sh/helm/v3/cmd/helm@{VERSION}"],
                                  env={**os.environ, "GOBIN": folder, "GOFLAGS": "-mod=mod"}, stderr=subprocess.PIPE,
                                  text=True, check=False, timeout=1500)
            if done.returncode != 0:
                pytest.skip(f"Helm cannot be built: {done.stderr[-200:]}")
    return f"{folder}/helm"


def objects(*command):
    text = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, timeout=300).stdout
    return sorted(json.dumps(o, sort_keys=True) for o in yaml.safe_load_all(text) if o)


@pytest.mark.parametrize("profile", ["default", "demo", "minimal", "production"])
@pytest.mark.parametrize("sets", [
    [],
    ["revision=canary", "agent.uplink=eth0", "global.logAsJson=true", "pilot.replicaCount=3"],
    ["meshConfig.accessLogFile=", "agent.seLinuxOptions.type=spc_t", "ztunnel.seLinuxOptions.type=spc_t",
     "global.defaultPodDisruptionBudget.enabled=false", "global.createNamespace=false"],
    ["revision=canary", "ztunnel.enabled=false", "defaultRevision=", "meshConfig.accessLogFile="],
    ["ztunnel.revision=canary"],
    ["revision=default"],
])
def test_helm_and_manifest_generate_agree(helm, profile, sets):
    ours = [word for s in sets for word in ("--set", f"values.{s}")]
    theirs = [word for s in sets for word in ("--set", s)]
    generated = objects(f"{images.BIN}/culvert", "manifest", "generate", "--set", f"profile={profile}", *ours)
    rendered = objects(helm, "template", "culvert", CHART, "-n", "istio-system", "--include-crds",
                       "-f", f"{CHART}/profiles/{profile}.yaml", "--set", "global.createNamespace=true", *theirs)
    assert generated == rendered
    assert len(generated) > (15 if "ztunnel.enabled=false" not in sets else 10)


def test_helm_refuses_what_the_schema_does_not_have(helm):
    done = subprocess.run([helm, "template", "culvert", CHART, "--set", "global.hubb=x"], stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, text=True, check=False, timeout=300)
    assert done.returncode != 0 and "hubb" in done.stderr

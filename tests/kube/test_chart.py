# SPDX-License-Identifier: Apache-2.0
"""Helm itself makes of the chart what `culvert manifest generate` prints. No cluster needed."""
import json
import os
import subprocess

import pytest
import yaml

from kubelab import images, layout

CHART = os.path.join(layout.ROOT, "tools", "deploy", "chart")


def objects(*command):
    text = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, timeout=300).stdout
    return sorted(json.dumps(o, sort_keys=True) for o in yaml.safe_load_all(text) if o)


# More objects than so many without a part; 15 with all.
LEAST = {"ztunnel.enabled=false": 10, "pilot.enabled=false": 6}


@pytest.mark.parametrize("profile", ["default", "demo", "minimal", "production"])
@pytest.mark.parametrize("sets", [
    [],
    ["revision=canary", "agent.uplink=eth0", "global.logAsJson=true", "pilot.replicaCount=3"],
    ["meshConfig.accessLogFile=", "agent.seLinuxOptions.type=spc_t", "ztunnel.seLinuxOptions.type=spc_t",
     "global.defaultPodDisruptionBudget.enabled=false", "global.createNamespace=false"],
    ["revision=canary", "ztunnel.enabled=false", "defaultRevision=", "meshConfig.accessLogFile="],
    ["ztunnel.revision=canary"],
    ["revision=default"],
    ["pilot.enabled=false", "ztunnel.revision=canary"],
    ["pilot.resources.requests.cpu=1", "agent.resources.limits.memory=1Ti",
     "pilot.env.CITADEL_SELF_SIGNED_CA_RSA_KEY_SIZE=4096"],
    ["global.imagePullSecrets={a,b}", "cni.enabled=false", "global.proxy.clusterDomain=corp.local"],
    ["global.imagePullSecrets[0].name=a"],
    ["pilot.taint.enabled=true", "pilot.tolerations[0].key=a", "pilot.tolerations[0].operator=Exists"],
    ["pilot.resources.requests.memory=1073741824", "agent.resources.requests=null", "pilot.tolerations=null",
     "ztunnel.resources.requests.cpu=null"],
])
def test_helm_and_manifest_generate_agree(helm, profile, sets):
    ours = [word for s in sets for word in ("--set", f"values.{s}")]
    theirs = [word for s in sets for word in ("--set", s)]
    generated = objects(f"{images.BIN}/culvert", "manifest", "generate", "--set", f"profile={profile}", *ours)
    rendered = objects(helm, "template", "culvert", CHART, "-n", "istio-system", "--include-crds",
                       "-f", f"{CHART}/profiles/{profile}.yaml", "--set", "global.createNamespace=true", *theirs)
    assert generated == rendered
    assert len(generated) > next((least for without, least in LEAST.items() if without in sets), 15)


FILE = """
pilot:
  env: {CITADEL_SELF_SIGNED_CA_RSA_KEY_SIZE: 4096}
  resources: {requests: {cpu: 1, memory: 1073741824}}
agent:
  resources: {requests: {cpu: null, ephemeral-storage: 2Gi}, limits: {memory: 1Ti}}
ztunnel:
  nodeSelector: null
  resources: {limits: {cpu: 0.1}}
"""


def test_helm_and_manifest_generate_read_a_file_alike(helm, tmp_path):
    path = tmp_path / "values.yaml"
    path.write_text(FILE, encoding="ascii")
    generated = objects(f"{images.BIN}/culvert", "manifest", "generate", "-f", path)
    assert generated == objects(helm, "template", "culvert", CHART, "-n", "istio-system", "--include-crds", "-f", path,
                                "--set", "global.createNamespace=true")


def test_helm_takes_limits_away_that_there_are_none_of(helm):
    subprocess.run([helm, "template", "culvert", CHART, "--set", "ztunnel.resources.limits=null"], check=True,
                   stdout=subprocess.DEVNULL, timeout=300)


@pytest.mark.parametrize("group, key", [("global", "hubb"), ("global", "hbu"), ("pilot.env", "K8S_SINGER"), ("cni", "ambeint")])
def test_helm_refuses_what_the_schema_does_not_have(helm, group, key):
    done = subprocess.run([helm, "template", "culvert", CHART, "--set", f"{group}.{key}=x"], stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, text=True, check=False, timeout=300)
    assert done.returncode != 0 and key in done.stderr


def test_helm_takes_istios_values_that_mean_nothing_here(helm):
    words = "global.platform=gke,global.storageClass=fast,pilot.env.PILOT_ENABLE_AMBIENT=true,cni.ambient.dnsCapture=true"
    plain = objects(helm, "template", "culvert", CHART)
    assert objects(helm, "template", "culvert", CHART, "--set", words) == plain

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
])
def test_helm_and_manifest_generate_agree(helm, profile, sets):
    ours = [word for s in sets for word in ("--set", f"values.{s}")]
    theirs = [word for s in sets for word in ("--set", s)]
    generated = objects(f"{images.BIN}/culvert", "manifest", "generate", "--set", f"profile={profile}", *ours)
    rendered = objects(helm, "template", "culvert", CHART, "-n", "istio-system", "--include-crds",
                       "-f", f"{CHART}/profiles/{profile}.yaml", "--set", "global.createNamespace=true", *theirs)
    assert generated == rendered
    assert len(generated) > next((least for without, least in LEAST.items() if without in sets), 15)


def test_helm_refuses_what_the_schema_does_not_have(helm):
    done = subprocess.run([helm, "template", "culvert", CHART, "--set", "global.hubb=x"], stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, text=True, check=False, timeout=300)
    assert done.returncode != 0 and "hubb" in done.stderr

# SPDX-License-Identifier: Apache-2.0
"""Values of Istio's chart, and of a chart that ours is part of: taken and told of; what looks like a slip in ours is refused."""
import json
import os
import re
import string

import pytest
from conftest import ROOT

with open(os.path.join(ROOT, "tools/deploy/chart/values.schema.json"), encoding="utf-8") as f:
    VALUES = json.load(f)["properties"]
OPEN = {"global": VALUES["global"], "global.proxy": VALUES["global"]["properties"]["proxy"],
        "pilot.env": VALUES["pilot"]["properties"]["env"]}


@pytest.mark.parametrize("words, told", [
    (["values.global.platform=gke"], ["values.global.platform"]),
    (["values.pilot.env.PILOT_ENABLE_AMBIENT=true", "values.pilot.env.MAX_WORKLOAD_CERT_TTL=48h"],
     ["values.pilot.env.PILOT_ENABLE_AMBIENT"]),
    (["values.cni.ambient.dnsCapture=true", "values.cni.ambient.ipv6=false", "values.cni.ambient.reconcileIptablesOnStartup=true"],
     [f"values.cni.ambient.{k}" for k in ("dnsCapture", "ipv6", "reconcileIptablesOnStartup")]),
    (["values.global.storageClass=fast", "values.global.imageRegistry=r", "values.global.multiCluster.clusterName=a"],
     [f"values.global.{k}" for k in ("storageClass", "imageRegistry", "multiCluster")]),
    (["values.global.proxy.logLevel=info", "values.global.proxy.clusterDomain=a.b"], ["values.global.proxy.logLevel"]),
    (["values.global.istioNamespace=istio-system"], []),
])
def test_istios_values_are_taken_and_named(cli, tmp_path, words, told):
    plain = cli.run("manifest", "generate", *(w for word in words if "TTL" in word or "Domain" in word for w in ("--set", word)))
    said = cli.run("manifest", "generate", *(w for word in words for w in ("--set", word)))
    lines = [f"culvert: {key}: not one of Culvert's: it has no effect" for key in told]
    assert sorted(said.removeprefix(plain).splitlines()) == sorted(lines) and said.startswith(plain)
    tree = {}
    for word in words:
        *path, last = word.partition("=")[0].split(".")[1:]
        at = tree
        for key in path:
            at = at.setdefault(key, {})
        at[last] = word.partition("=")[2]
    (tmp_path / "v.yaml").write_text(json.dumps(tree), encoding="ascii")
    assert cli.run("manifest", "generate", "-f", "v.yaml").removeprefix(plain).count("has no effect") == len(told)


@pytest.mark.parametrize("word, said", [
    ("values.global.istioNamespace=mesh", 'expected one of ["istio-system"]'),
    ("values.global.externalIstiod=true", "expected one of [false]"),
    ("values.global.hbu=x", 'values.global.hbu: no such key; is "hub" meant?'),
    ("values.global.proxy.clusterDomian=x", 'is "clusterDomain" meant?'),
    ("values.pilot.env.K8S_SINGER=a/b", 'is "K8S_SIGNER" meant?'),
    ("values.cni.ambeint.dnsCapture=true", 'is "ambient" meant?'),
    ("values.pilot.envs.X=1", 'is "env" meant?'),
])
def test_what_is_meant_for_us_is_refused(cli, word, said):
    assert said in cli.run("manifest", "generate", "--set", word, code=1)


def slips(word):
    """All that one slip of the hand makes of it."""
    letters = string.ascii_letters + "_"
    cut = [(word[:i], word[i:]) for i in range(len(word) + 1)]
    yield from (a + b[1:] for a, b in cut if b)
    yield from (a + b[1] + b[0] + b[2:] for a, b in cut if len(b) > 1)
    yield from (a + c + b[1:] for a, b in cut if b for c in letters)
    yield from (a + c + b for a, b in cut for c in letters)


@pytest.mark.parametrize("where", OPEN)
def test_the_schema_itself_refuses_slips(where):
    """Helm asks nothing else."""
    own, (names, other) = OPEN[where]["properties"], OPEN[where]["propertyNames"]["anyOf"]
    assert set(own) <= set(names["enum"]) and "additionalProperties" not in OPEN[where]
    taken = [s for key in own for s in slips(key) if s not in names["enum"] and not re.search(other["not"]["pattern"], s)]
    assert taken == []

# SPDX-License-Identifier: Apache-2.0
"""The chart's definitions at a real API server: every version of every kind takes what users write, whole, and refuses a wrong type."""
import json
import os

import pytest
import yaml

from kinds import KINDS
from kubelab import layout

CRDS = os.path.join(layout.ROOT, "tools", "deploy", "chart", "crds")


def definitions_of(crds):
    """(kind as in KINDS, group, version, plural, is it in a namespace)."""
    for spec in (d["spec"] for d in crds):
        kind = spec["names"]["kind"]
        key = kind if kind in KINDS else f"{kind}.{spec['group']}"
        for version in spec["versions"]:
            yield key, spec["group"], version["name"], spec["names"]["plural"], spec["scope"] == "Namespaced"


def definitions():
    """The chart's."""
    for name in sorted(os.listdir(CRDS)):
        with open(os.path.join(CRDS, name), encoding="ascii") as f:
            yield from definitions_of(yaml.safe_load_all(f))


@pytest.fixture(scope="module")
def crds(cluster):
    cluster.run("apply", "--server-side", "--force-conflicts", "-f", CRDS)
    cluster.run("wait", "--for=condition=Established", "crd", "--all", "--timeout=180s", timeout=200)
    return cluster


def make(key, group, version, is_namespaced, spec):
    metadata = {"name": "sample", **({"namespace": "default"} if is_namespaced else {})}
    return {"apiVersion": f"{group}/{version}", "kind": key.split(".", maxsplit=1)[0], "metadata": metadata, "spec": spec}


def test_all_that_the_chart_defines_has_a_sample():
    assert {d[0] for d in definitions()} == set(KINDS)


def test_good_ones_are_taken_whole_and_bad_ones_refused(crds):
    """By dry runs: nothing is left behind, and no control plane has a say."""
    rows = list(definitions())
    for good in (True, False):
        items = [make(key, group, version, ns, KINDS[key][0 if good else 1]) for key, group, version, _, ns in rows]
        for (key, group, version, plural, ns), item in zip(rows, items):
            where = f"/namespaces/default/{plural}" if ns else f"/{plural}"
            path = f"/apis/{group}/{version}{where}?dryRun=All&fieldValidation=Strict"
            out = crds.run("create", "--raw", path, "-f", "-", text=json.dumps(item), check=False)
            if good:
                assert out and json.loads(out)["spec"] == item["spec"], f"{key} {version} is not taken whole: {out}"
            else:
                assert not out, f"{key} {version}: a wrong type is taken"

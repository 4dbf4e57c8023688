# SPDX-License-Identifier: Apache-2.0
"""A cluster that has Istio's own definitions, as the Go module istio.io/api has them: they are used as they are, and stay."""
import json
import os

import yaml
from kinds import KINDS
from kubelab.cluster import culvert, eventually
from test_control import condition
from test_kinds import CRDS, definitions_of, make


def state(cluster, names):
    """What there is of each, but for what the API server does with it."""
    got = {d["metadata"]["name"]: d for d in cluster.get("crd")["items"]}
    return {name: (got[name]["spec"], got[name]["metadata"]["uid"], got[name]["metadata"].get("labels"),
                   got[name]["metadata"].get("annotations")) for name in names}


def looks(path):
    """Of each definition in a file what kubectl goes by: its names, and per version the columns of `get`."""
    with open(path, encoding="utf-8") as f:
        specs = [d["spec"] for d in yaml.safe_load_all(f) if d]
    age = [{"name": "Age", "jsonPath": ".metadata.creationTimestamp"}]  # what the API server has where none are given
    return {(spec["group"], spec["names"]["kind"]): (
        {**spec["names"], "categories": sorted(spec["names"]["categories"])}, spec["scope"],
        {v["name"]: {c["name"]: c["jsonPath"] for c in v.get("additionalPrinterColumns", age)} for v in spec["versions"]})
        for spec in specs}


def test_ours_have_their_names_and_columns(crds):
    """`kubectl get vs`, `kubectl get istio-io`, and what these show."""
    ours = looks(os.path.join(CRDS, "crds.yaml"))
    assert looks(crds) == ours


def fields(schema, path=""):
    """The path of each value that a schema knows; its type, what it must have, which words it may be."""
    yield path, (schema.get("type"), set(schema.get("required", ())), set(schema.get("enum", ())))
    for name, one in schema.get("properties", {}).items():
        yield from fields(one, f"{path}.{name}")
    for inner in ("items", "additionalProperties"):
        if isinstance(schema.get(inner), dict):
            yield from fields(schema[inner], path + "[]")


def known(path):
    """What the definitions in a file know of specs."""
    with open(path, encoding="utf-8") as f:
        for spec in (d["spec"] for d in yaml.safe_load_all(f) if d):
            top = spec["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]
            yield from ((spec["names"]["kind"] + where, what) for where, what in fields(top))


def test_ours_know_what_theirs_know(crds):
    """A field that ours had not would be lost, and what ours ask for beyond theirs refused, also by the webhook."""
    ours = dict(known(os.path.join(CRDS, "crds.yaml")))
    anything = ("EnvoyFilter.configPatches[].match", "EnvoyFilter.configPatches[].patch.value", "TrafficExtension.wasm",
                "TrafficExtension.lua", "WasmPlugin.pluginConfig")
    wrong = []
    for where, (kind, required, words) in known(crds):
        if where.startswith(anything):
            continue
        ours_kind, ours_required, ours_words = ours.get(where, (None, set(), set()))
        if ours_kind != kind or not ours_required <= required or not words <= (ours_words or words) or (ours_words and not words):
            wrong.append(where)
    assert not wrong


def create(cluster, row, spec, namespace):
    """A dry run. Return: what became of the spec; None when it was refused."""
    key, group, version, plural, is_namespaced = row
    item = make(key, group, version, is_namespaced, spec)
    item["metadata"]["namespace"] = namespace
    out = cluster.run("create", "--raw", f"/apis/{group}/{version}/namespaces/{namespace}/{plural}?dryRun=All&fieldValidation=Strict",
                      "-f", "-", text=json.dumps(item), check=False)
    return json.loads(out)["spec"] if out else None


def test_definitions_of_istio_are_used_as_they_are(bare, crds, namespace):
    cluster = bare
    with open(crds, encoding="utf-8") as f:
        theirs = [d for d in yaml.safe_load_all(f) if d]
    names = [d["metadata"]["name"] for d in theirs]
    cluster.run("apply", "--server-side", "-f", crds)
    try:
        cluster.run("wait", "--for=condition=Established", *(f"crd/{name}" for name in names), "--timeout=180s", timeout=200)
        before = state(cluster, names)
        assert "those that others made are used as they are" in culvert("install", "-y")
        is_used(cluster, list(definitions_of(theirs)), namespace)
        assert state(cluster, names) == before
        culvert("uninstall", "--purge", "-y")
        assert state(cluster, names) == before
    finally:
        cluster.run("delete", "-f", crds, timeout=300)


def is_used(cluster, rows, namespace):
    """The webhook looks at what the definitions let in, and each kind has its status."""
    def is_refused():
        row = next(r for r in rows if r[0] == "AuthorizationPolicy")
        return create(cluster, row, {"action": "DENY"}, namespace) is None
    eventually(is_refused, what="the webhook fails closed")
    for row in rows:
        good, bad = KINDS[row[0]]
        assert create(cluster, row, good, namespace) == good, f"{row} is not taken whole"
        assert create(cluster, row, bad, namespace) is None, f"{row}: a wrong type is taken"
    newest = {row[0]: row for row in reversed(rows)}
    for key, group, version, _, is_namespaced in newest.values():
        item = make(key, group, version, is_namespaced, KINDS[key][0])
        item["metadata"]["namespace"] = namespace
        cluster.apply(item)
    for key, group, _, plural, _ in newest.values():
        wanted = "ZtunnelAccepted" if key == "AuthorizationPolicy" else "Accepted"
        eventually(lambda p=f"{plural}.{group}", w=wanted: condition(cluster, namespace, p, "sample", w)[0], what=f"a status of {key}")

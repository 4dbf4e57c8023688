# SPDX-License-Identifier: Apache-2.0
"""The chart's definitions of kinds are what their tables say, and the tables' mistakes are told with their line."""
import importlib.machinery
import importlib.util
import os
import re
import subprocess
import sys

import pytest
import yaml

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))))
GENERATE = os.path.join(ROOT, "tools", "deploy", "crds", "generate")
sys.dont_write_bytecode = True
_loader = importlib.machinery.SourceFileLoader("generate_crds", GENERATE)
generate = importlib.util.module_from_spec(importlib.util.spec_from_loader("generate_crds", _loader))
_loader.exec_module(generate)
KIND = "kind x.io Thing things - v1,v1beta1\n  spec Thing\n"


def table(tmp_path, text):
    path = tmp_path / "t.txt"
    path.write_text(text, encoding="ascii")
    return generate.Table(str(path))


def test_the_chart_has_what_the_tables_say():
    subprocess.run([GENERATE, "--check"], check=True)


def test_a_kind_is_made_with_all_its_versions_and_one_schema(tmp_path):
    t = table(tmp_path, KIND + "Thing = name!:s ports:{p} mode:(A|B) list:[Other]\nOther = on:b\n")
    made = yaml.safe_load(generate.definition(t, t.kinds[0]))
    versions = made["spec"]["versions"]
    assert [(v["name"], v["served"], v["storage"]) for v in versions] == [("v1", True, True), ("v1beta1", True, False)]
    assert versions[0]["schema"] == versions[1]["schema"]
    spec = versions[0]["schema"]["openAPIV3Schema"]["properties"]["spec"]
    assert spec["required"] == ["name"]
    assert spec["properties"]["ports"]["additionalProperties"]["maximum"] == 65535
    assert spec["properties"]["mode"]["enum"] == ["A", "B"]
    assert spec["properties"]["list"]["items"]["properties"] == {"on": {"type": "boolean"}}


def test_versions_may_be_deprecated_and_have_specs_of_their_own(tmp_path):
    t = table(tmp_path, "release v1.2.3 standard\nkind x.k8s.io Thing things - v1,v1alpha1~,v1alpha2~\n  spec Thing v1alpha1:Old\n"
              "Thing = hosts!:[h]1..4\nOld = hosts:[h]0..2\n")
    made = yaml.safe_load(generate.definition(t, t.kinds[0]))
    t.check_used()
    assert made["metadata"]["annotations"]["gateway.networking.k8s.io/bundle-version"] == "v1.2.3"
    assert made["metadata"]["annotations"]["gateway.networking.k8s.io/channel"] == "standard"
    versions = made["spec"]["versions"]
    assert [(v["name"], v["served"], v["storage"], v.get("deprecated", False)) for v in versions] == [
        ("v1", True, True, False), ("v1alpha1", True, False, True), ("v1alpha2", True, False, True)]
    newest, old, same = (v["schema"]["openAPIV3Schema"]["properties"]["spec"] for v in versions)
    assert newest == same
    hosts = newest["properties"]["hosts"]
    assert newest["required"] == ["hosts"] and (hosts["minItems"], hosts["maxItems"]) == (1, 4)
    assert "required" not in old and "minItems" not in old["properties"]["hosts"]
    taken = [host for host in ("a.example", "*.a.example", "*", "a.*", "A") if re.search(hosts["items"]["pattern"], host)]
    assert taken == ["a.example", "*.a.example"]


# The newest release's, and what clusters may have stored in one before, which the API server takes no definition without.
GATEWAY_API = {
    "GatewayClass": {"v1", "v1beta1"}, "Gateway": {"v1", "v1beta1"}, "ListenerSet": {"v1"}, "HTTPRoute": {"v1", "v1beta1"},
    "GRPCRoute": {"v1"}, "ReferenceGrant": {"v1", "v1beta1"}, "BackendTLSPolicy": {"v1", "v1alpha3"},
    "TLSRoute": {"v1", "v1alpha2", "v1alpha3"}, "TCPRoute": {"v1", "v1alpha2"}, "UDPRoute": {"v1", "v1alpha2"}}


def test_the_gateway_api_has_its_newest_versions_and_keeps_those_before():
    t = generate.Table(os.path.join(os.path.dirname(GENERATE), "gateway-api.txt"))
    assert {kind["kind"]: set(kind["versions"]) for kind in t.kinds} == GATEWAY_API
    stored = {kind["kind"]: kind["versions"][0] for kind in t.kinds}
    assert stored == {**dict.fromkeys(GATEWAY_API, "v1"), "ReferenceGrant": "v1beta1"}  # as the project's own definitions store it


@pytest.mark.parametrize("text, line", [
    (KIND + "Thing = name:Nothing\n", 3), (KIND + "Thing = name\n", 3), (KIND + "Thing = a:s\nThing = b:s\n", 4),
    ("kind x.io Thing\n", 1), ("nonsense\n", 1)])
def test_mistakes_are_told_with_their_line(tmp_path, text, line):
    with pytest.raises(SystemExit) as stop:
        t = table(tmp_path, text)
        generate.definition(t, t.kinds[0])
    assert f"t.txt:{line}: " in str(stop.value)


def test_what_is_not_read_is_checked_by_the_same_table():
    """In C: userspace/lib/source compiles it."""
    made = subprocess.run([GENERATE, "--c"], check=True, stdout=subprocess.PIPE, text=True).stdout
    kinds = {kind["kind"]: kind["is_read"] for kind in generate.Table(os.path.join(os.path.dirname(GENERATE), "kinds.txt")).kinds}
    assert set(re.findall(r'{\.kind = "(\w+)"', made)) == {kind for kind, is_read in kinds.items() if not is_read}
    assert sum(kinds.values()) == 6


def test_a_type_that_nobody_uses_is_told(tmp_path):
    t = table(tmp_path, KIND + "Thing = a:s\nOther = b:s\n")
    generate.definition(t, t.kinds[0])
    with pytest.raises(SystemExit):
        t.check_used()

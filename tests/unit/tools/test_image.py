# SPDX-License-Identifier: Apache-2.0
"""The container image: the same input gives the same bytes, and the SBOM has a package for all that is in it."""
import hashlib
import json
import os
import shutil
import ssl
import subprocess
import tarfile

import pytest

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))))
IMAGE = os.path.join(ROOT, "tools", "deploy", "image")


def make(folder, out, *words, **env):
    return subprocess.run([IMAGE, "--bin", str(folder), "--version", "v1", "--name", "example.test/culvert:v1", *words, str(out)],
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, check=False, env={**os.environ, **env})


@pytest.fixture(name="programs", scope="module")
def programs_fixture(tmp_path_factory):
    """Programs that need libraries and a build does not: what they do is not of interest here."""
    folder = tmp_path_factory.mktemp("bin")
    shutil.copy("/usr/bin/curl", folder / "culvert")
    shutil.copy("/usr/bin/openssl", folder / "culvert-ztunnel")
    shutil.copy("/usr/bin/curl", folder / "other")
    return folder


@pytest.fixture(name="made", scope="module")
def made_fixture(programs, tmp_path_factory):
    out = tmp_path_factory.mktemp("out")
    done = make(programs, out, SOURCE_DATE_EPOCH="86400")
    assert done.returncode == 0, done.stderr
    return out


def layer_of(archive):
    with tarfile.open(archive) as tar:
        manifest = json.load(tar.extractfile("manifest.json"))[0]
        config = json.load(tar.extractfile(manifest["Config"]))
        data = tar.extractfile(manifest["Layers"][0]).read()
    return manifest, config, data


def entries(out):
    with tarfile.open(out / "culvert.tar") as tar:
        manifest = json.load(tar.extractfile("manifest.json"))[0]
        with tarfile.open(fileobj=tar.extractfile(manifest["Layers"][0])) as layer:
            return {i.name: i for i in layer}


def test_twice_is_the_same_bytes(programs, made, tmp_path):
    os.utime(programs / "culvert", (1, 1))
    assert make(programs, tmp_path, SOURCE_DATE_EPOCH="86400").returncode == 0
    for name in ("culvert.tar", "culvert.spdx.json"):
        assert (made / name).read_bytes() == (tmp_path / name).read_bytes()


def test_the_archive_is_one_that_runtimes_load(made):
    manifest, config, data = layer_of(made / "culvert.tar")
    assert manifest["RepoTags"] == ["example.test/culvert:v1"]
    assert config["rootfs"]["diff_ids"] == ["sha256:" + hashlib.sha256(data).hexdigest()]
    assert (config["created"], config["config"]["User"]) == ("1970-01-02T00:00:00Z", "65534:65534")
    found = entries(made)
    assert {"usr/local/bin/culvert", "usr/local/bin/culvert-ztunnel", "etc/ssl/certs/ca-certificates.crt"} <= set(found)
    assert "usr/local/bin/other" not in found and not any(n.endswith(("/sh", "/dash", "/bash")) for n in found)
    assert not any(i.uid or i.gid or i.mtime for i in found.values())


def test_the_rootfs_has_the_same_files(programs, made, tmp_path):
    assert make(programs, tmp_path, "--rootfs", SOURCE_DATE_EPOCH="86400").returncode == 0
    for name, info in entries(made).items():
        assert os.path.lexists(tmp_path / "rootfs" / name)
        if info.isfile():
            assert os.path.getsize(tmp_path / "rootfs" / name) == info.size
    assert {os.lstat(p).st_mtime for p in (tmp_path / "rootfs", *(tmp_path / "rootfs").rglob("*"))} == {0}


def test_the_sbom_has_spdx_keys_and_a_package_for_each_library(made):
    sbom = json.loads((made / "culvert.spdx.json").read_text(encoding="utf-8"))
    assert (sbom["spdxVersion"], sbom["dataLicense"], sbom["SPDXID"]) == ("SPDX-2.3", "CC0-1.0", "SPDXRef-DOCUMENT")
    assert {"name", "documentNamespace", "creationInfo"} <= set(sbom) and sbom["creationInfo"]["created"] == "1970-01-02T00:00:00Z"
    ids = [e["SPDXID"] for e in (*sbom["packages"], *sbom["files"])]
    assert len(ids) == len(set(ids))
    for package in sbom["packages"]:
        assert {"SPDXID", "name", "versionInfo", "downloadLocation", "licenseConcluded"} <= set(package) and package["versionInfo"]
    related = {(r["relationshipType"], r["relatedSpdxElement"]): r["spdxElementId"] for r in sbom["relationships"]}
    assert set(related.values()) | {b for _, b in related} <= {*ids, "SPDXRef-DOCUMENT"}
    names = {p["SPDXID"]: p["name"] for p in sbom["packages"]}
    files = {f["fileName"][2:]: f for f in sbom["files"]}
    found = {n: i for n, i in entries(made).items() if i.isfile()}
    assert set(files) == set(found)
    for name in (n for n in found if ".so" in n or n.endswith("ca-certificates.crt")):
        assert names[related["CONTAINS", files[name]["SPDXID"]]] != "culvert"
    origin = {n: names[related["CONTAINS", f["SPDXID"]]] for n, f in files.items() if ("CONTAINS", f["SPDXID"]) in related}
    assert [v for k, v in origin.items() if "/libc.so.6" in k] == ["libc6"]
    assert [v for k, v in origin.items() if "/libssl.so" in k] == ["libssl3"]
    assert origin["usr/local/bin/culvert"] == "culvert"


@pytest.mark.skipif(os.uname().machine != "x86_64", reason="libipsec-mb is for amd64 only")
def test_a_library_that_is_opened_by_name_comes_along_with_its_licence(tmp_path):
    name = "libIPSec_MB.so.1"
    (tmp_path / "m.c").write_text(f'#include <stdio.h>\nint main(void) {{ return puts("{name}") < 0; }}\n', encoding="ascii")
    subprocess.run(["gcc", "-o", tmp_path / "culvert", tmp_path / "m.c"], check=True)
    assert make(tmp_path, tmp_path / "out").returncode == 0
    assert {f"usr/lib/x86_64-linux-gnu/{name}", "usr/share/doc/libipsec-mb1/copyright"} <= set(entries(tmp_path / "out"))
    sbom = json.loads((tmp_path / "out/culvert.spdx.json").read_text(encoding="utf-8"))
    assert "libipsec-mb1" in {p["name"] for p in sbom["packages"]}


def test_the_sbom_has_the_digest_of_each_file(made):
    sbom = json.loads((made / "culvert.spdx.json").read_text(encoding="utf-8"))
    _, _, data = layer_of(made / "culvert.tar")
    assert sbom["packages"][0]["checksums"][0]["checksumValue"] == hashlib.sha256(data).hexdigest()
    bundle = next(f for f in sbom["files"] if f["fileName"].endswith("ca-certificates.crt"))
    with tarfile.open(made / "culvert.tar") as tar:
        manifest = json.load(tar.extractfile("manifest.json"))[0]
        with tarfile.open(fileobj=tar.extractfile(manifest["Layers"][0])) as layer:
            text = layer.extractfile("etc/ssl/certs/ca-certificates.crt").read()
    assert {c["algorithm"]: c["checksumValue"] for c in bundle["checksums"]}["SHA256"] == hashlib.sha256(text).hexdigest()
    trusted = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    trusted.load_verify_locations(cadata=text.decode())
    assert text.count(b"BEGIN CERTIFICATE") == text.count(b"END CERTIFICATE") == len(trusted.get_ca_certs()) > 50


def test_mistakes_are_told(tmp_path):
    done = make(tmp_path, tmp_path / "out")
    assert done.returncode == 1 and f"nothing built in {tmp_path}: run make" in done.stderr
    (tmp_path / "culvert").write_text("no program", encoding="ascii")
    done = make(tmp_path, tmp_path / "out")
    assert done.returncode == 1 and "-strip" in done.stderr


def test_a_library_that_no_package_brought_is_refused(tmp_path):
    """Linked from a folder of its own: nothing could be said of its origin."""
    (tmp_path / "l.c").write_text("int cv(void) { return 0; }\n", encoding="ascii")
    (tmp_path / "m.c").write_text("int cv(void);\nint main(void) { return cv(); }\n", encoding="ascii")
    subprocess.run(["gcc", "-shared", "-fPIC", "-o", tmp_path / "libcv.so", tmp_path / "l.c"], check=True)
    subprocess.run(["gcc", "-o", tmp_path / "culvert", tmp_path / "m.c", tmp_path / "libcv.so"], check=True)
    done = make(tmp_path, tmp_path / "out")
    assert done.returncode == 1 and "libcv.so: no Debian package brought it" in done.stderr

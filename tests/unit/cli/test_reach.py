# SPDX-License-Identifier: Apache-2.0
"""Which cluster is meant, and the ways to it: several kubeconfigs, credential programs, TLS, proxies."""
import contextlib
import json
import os
import socket
import ssl
import subprocess
import threading
import time

import pytest
from conftest import Cli
from fake_api import Fault, Handler

ASK = ("zc", "all", "--node", "n1")  # a request, and a connection into a pod


@pytest.fixture
def https(mesh, tmp_path):
    """`mesh` by TLS, as a name that it is not reached by: its URL."""
    key, cert = f"{tmp_path}/key.pem", f"{tmp_path}/cert.pem"
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", key,
                    "-out", cert, "-subj", "/CN=k", "-addext", "subjectAltName=DNS:kubernetes"], check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(cert, key)
    mesh.server.socket = context.wrap_socket(mesh.server.socket, server_side=True)
    return mesh.url.replace("http", "https")


def use(cli, **cluster):
    with open(cli.config, "w", encoding="ascii") as f:
        json.dump({"current-context": "c", "contexts": [{"name": "c", "context": {"cluster": "c", "user": "c"}}],
                   "users": [{"name": "c", "user": {}}],
                   "clusters": [{"name": "c", "cluster": {k.replace("_", "-"): v for k, v in cluster.items()}}]}, f)


class Proxy:
    """By HTTP's CONNECT, or SOCKS 5: whoever is asked for, it is the server at `port`."""

    def __init__(self, port):
        self.port, self.asked = port, []
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.at = f"127.0.0.1:{self.listener.getsockname()[1]}"
        threading.Thread(target=self.serve, daemon=True).start()

    def serve(self):
        with contextlib.suppress(OSError):
            while True:
                threading.Thread(target=self.one, args=(self.listener.accept()[0],), daemon=True).start()

    def one(self, client):
        first = client.recv(4096)
        if first[:1] == b"\x05":
            client.sendall(b"\x05\x00")
            ask = client.recv(4096)
            self.asked.append(f"{ask[5:5 + ask[4]].decode()}:{int.from_bytes(ask[-2:], 'big')}" if ask[3] == 3 else "an address")
            client.sendall(b"\x05\x00\x00\x01" + bytes(6))
        else:
            self.asked.append(first.split()[1].decode())
            client.sendall(b"HTTP/1.1 200 ok\r\n\r\n")
        server = socket.create_connection(("127.0.0.1", self.port))
        threading.Thread(target=self.pass_on, args=(server, client), daemon=True).start()
        self.pass_on(client, server)

    @staticmethod
    def pass_on(source, to):
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                to.sendall(data)
            to.shutdown(socket.SHUT_WR)


@pytest.fixture
def proxy(mesh):
    one = Proxy(mesh.server.server_port)
    yield one
    one.listener.close()


def test_which_cluster(api, cli, tmp_path):
    Cli.write(tmp_path / "other", "http://127.0.0.1:1", name="o")
    for words in (["--kubeconfig", "other"], ["--kubeconfig=other"]):
        assert "http://127.0.0.1:1: " in cli.run(*words, "status", code=1)
        assert "http://127.0.0.1:1: " in cli.run("status", *words, code=1)
    assert "http://127.0.0.1:1: " in cli.run("status", "--context", "o", code=1, KUBECONFIG=f"{cli.config}:{tmp_path}/other")
    assert "there is no context x" in cli.run("status", "--context", "x", code=1)
    assert "No such file" in cli.run("status", "--kubeconfig", "none", code=1)
    assert "a value is missing" in cli.run("status", "--kubeconfig", code=2)
    os.makedirs(tmp_path / ".kube")
    os.rename(cli.config, tmp_path / ".kube" / "config")
    assert "not installed in this cluster" in cli.run("status", code=1, KUBECONFIG="")
    assert "no cluster: neither" in cli.run("install", "-y", code=1, KUBECONFIG="", HOME="/nonexistent")


def test_credentials_from_a_program(api, cli, tmp_path):
    program = tmp_path / "give"
    program.write_text("#!/bin/sh\n[ \"$WHO\" = me ] && [ -n \"$KUBERNETES_EXEC_INFO\" ] && "
                       "echo '{\"status\":{\"token\":\"from-program\"}}'\n")
    program.chmod(0o755)
    Cli.write(cli.config, api.url, exec={"command": str(program), "env": [{"name": "WHO", "value": "me"}]})
    cli.run("precheck")
    Cli.write(cli.config, api.url, exec={"command": str(program)})
    assert f"the kubeconfig's program {program} failed" in cli.run("precheck", code=1)
    Cli.write(cli.config, api.url, exec={"command": "/none", "installHint": "install it"})
    assert "/none is not there: install it" in cli.run("precheck", code=1)


def test_a_server_whose_certificate_has_another_name(https, cli, tmp_path):
    """As through an SSH tunnel: it is verified as tls-server-name says, requests and connections to pods alike."""
    use(cli, server=https, certificate_authority=f"{tmp_path}/cert.pem")
    assert "127.0.0.1" in cli.run(*ASK, code=1)
    use(cli, server=https, certificate_authority=f"{tmp_path}/cert.pem", tls_server_name="other")
    assert "other" in cli.run(*ASK, code=1)
    use(cli, server=https, certificate_authority=f"{tmp_path}/cert.pem", tls_server_name="kubernetes")
    assert "HBONE" in cli.run(*ASK)


def test_a_server_whose_certificate_is_not_looked_at(https, cli):
    use(cli, server=https)
    assert "certificate" in cli.run(*ASK, code=1)
    use(cli, server=https, insecure_skip_tls_verify=True)
    assert "HBONE" in cli.run(*ASK)


@pytest.mark.parametrize("scheme", ["http", "socks5"])
def test_a_proxy_that_the_kubeconfig_names(https, proxy, cli, scheme):
    """It alone knows the server's name, and NO_PROXY is not about it."""
    there = {"server": "https://api.invalid:6443", "insecure_skip_tls_verify": True}
    use(cli, **there)
    assert "api.invalid" in cli.run(*ASK, code=1)
    use(cli, **there, proxy_url=f"{scheme}://{proxy.at}")
    assert "HBONE" in cli.run(*ASK, NO_PROXY="*", HTTPS_PROXY="http://127.0.0.1:1")
    assert set(proxy.asked) == {"api.invalid:6443"} and len(proxy.asked) > 1


def test_a_proxy_of_the_environment(https, proxy, cli):
    use(cli, server="https://api.invalid:6443", insecure_skip_tls_verify=True)
    assert "HBONE" in cli.run(*ASK, HTTPS_PROXY=f"http://{proxy.at}")
    assert set(proxy.asked) == {"api.invalid:6443"} and len(proxy.asked) > 1
    assert "api.invalid" in cli.run(*ASK, code=1, HTTPS_PROXY=f"http://{proxy.at}", NO_PROXY=".invalid")
    # a cluster of this machine is not looked for there
    use(cli, server=https, insecure_skip_tls_verify=True)
    assert "HBONE" in cli.run(*ASK, HTTPS_PROXY="http://127.0.0.1:1")


def test_a_server_that_has_no_time_is_asked_again(mesh, cli):
    """As kubectl does it: a busy cluster is none that fails."""
    plain = cli.run("tag", "list")
    mesh.faults = [Fault("GET", "/culvert-tags", 429, "too many requests", 1), Fault("GET", "/namespaces?", 429, "too many requests", 2)]
    assert cli.run("tag", "list") == plain and len(mesh.calls("GET", "/culvert-tags")) == 3
    mesh.faults = [Fault("GET", "/culvert-tags", 503, "it is down")]
    mesh.log.clear()
    assert "it is down" in cli.run("tag", "list", code=1) and len(mesh.calls("GET")) == 1
    mesh.faults = [Fault("GET", "/culvert-tags", 429, "too many requests")]
    assert "too many requests" in cli.run("tag", "list", code=1)


def test_whom_to_act_as(mesh, cli):
    """Requests and connections into pods alike; the words come before the kubeconfig."""
    def acted(*words):
        mesh.acted.clear()
        cli.run(*ASK, *words)
        return mesh.acted
    assert acted() == {()}
    words = ("--as", "dev", "--as-group=a", "--as-group", "b", "--as-uid", "7")
    by_words = {("Impersonate-User: dev", "Impersonate-Uid: 7", "Impersonate-Group: a", "Impersonate-Group: b")}
    assert acted(*words) == by_words
    Cli.write(cli.config, mesh.url, **{"as": "viewer", "as-groups": ["g"]})
    assert acted() == {("Impersonate-User: viewer", "Impersonate-Group: g")} and acted(*words) == by_words
    mesh.acted.clear()
    cli.run("bug-report", "--as", "dev")
    assert mesh.acted == {("Impersonate-User: dev",)}, "the words that it runs, too"
    assert "--as USER is missing" in cli.run(*ASK, "--as-group", "a", code=2)
    assert "--as: expected a name" in cli.run(*ASK, "--as", "a\nb", code=1)


def test_a_long_list_is_waited_for_while_it_comes(mesh, cli, monkeypatch):
    """By a slow line it takes longer than the silence that is borne."""
    answer = Handler.answer

    def slowly(self, status, body):
        if "/namespaces?" not in self.path:
            answer(self, status, body)
            return
        data = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        for at in range(0, len(data), len(data) // 8):
            self.wfile.write(data[at:at + len(data) // 8])
            self.wfile.flush()
            time.sleep(2)
    monkeypatch.setattr(Handler, "answer", slowly)
    started = time.monotonic()
    assert "No tags" in cli.run("tag", "list") and time.monotonic() - started > 15.5

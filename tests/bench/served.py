# SPDX-License-Identifier: Apache-2.0
"""Istio's ztunnel with Culvert's control plane, without a cluster: the folder of manifests is read by one culvert-control; a relay
on each node gives its socket the TLS that Istio's ztunnel wants. As a program: the relay."""
import contextlib
import os
import socket
import ssl
import subprocess
import sys
import threading

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "interop"))
HOST, PORT = "istiod.bench", 15010


class Node:
    """Starts processes in a node's network, in a folder of their own, where ztunnel looks for its token."""

    def __init__(self, namespace, folder):
        self.namespace, self.folder = namespace, folder

    def popen(self, *argv, **kwargs):
        """As the namespace's."""
        return self.namespace.popen(*argv, cwd=self.folder, **kwargs)


@contextlib.contextmanager
def pair(topology, pods, config, work_dir):
    """Istio's ztunnel on both nodes of a topology, each for the pods that it has."""
    import certificates  # pylint: disable=import-outside-toplevel
    import istio_ztunnel  # pylint: disable=import-outside-toplevel
    from culvert_node import BIN, stop, wait_for  # pylint: disable=import-outside-toplevel

    os.makedirs(os.path.join(work_dir, "var/run/secrets/tokens"), exist_ok=True)
    with open(os.path.join(work_dir, "var/run/secrets/tokens/istio-token"), "w", encoding="ascii") as f:
        f.write("nobody asks")
    authority = certificates.Authority(os.path.join(work_dir, "ca"))
    cert, key = authority.leaf("relay", f"spiffe://bench,DNS:{HOST}")
    sock = os.path.join(work_dir, "run/control/xds.sock")
    env = istio_ztunnel.remote(f"127.0.0.1:{PORT}", HOST, f"{authority.path}/root-cert.pem")
    env["FAKE_CA"] = "true"
    with contextlib.ExitStack() as stack:
        control = subprocess.Popen([os.path.join(BIN, "culvert-control"), "--node", "n1", "--config-dir", config, "--run-dir",
                                    os.path.join(work_dir, "run"), "--ca-dir", authority.path, "--user", "root",
                                    "--log-level", "warn"])
        stack.callback(stop, control)
        wait_for(lambda: os.path.exists(sock), 60, "the control plane")
        for number, namespace in enumerate(topology.nodes, 1):
            relay = namespace.popen(sys.executable, os.path.abspath(__file__), sock, cert, key, stdout=subprocess.PIPE)
            stack.callback(stop, relay)
            relay.stdout.readline()
            peer = istio_ztunnel.Ztunnel(istio_ztunnel.binary(), Node(namespace, work_dir), f"n{number}",
                                         [pod for pod in pods if pod.node is namespace], [], work_dir, env=env)
            stack.callback(peer.process.wait)
            stack.callback(peer.process.kill)
        yield


def pump(a, b):
    """One way, until its end ends both."""
    with contextlib.suppress(OSError):
        while data := a.recv(65536):
            b.sendall(data)
    for end in (a, b):
        with contextlib.suppress(OSError):
            end.shutdown(socket.SHUT_RDWR)


def relay_one(conn, context, path):
    """A client's TLS to the socket."""
    with contextlib.suppress(OSError, ssl.SSLError):
        conn = context.wrap_socket(conn, server_side=True)
        upstream = socket.socket(socket.AF_UNIX)
        upstream.connect(path)
        threading.Thread(target=pump, args=(upstream, conn), daemon=True).start()
        pump(conn, upstream)


def main(path, cert, key):
    """The relay."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(cert, key)
    context.set_alpn_protocols(["h2"])
    listener = socket.create_server(("127.0.0.1", PORT))
    print("ready", flush=True)
    while True:
        conn, _ = listener.accept()
        threading.Thread(target=relay_one, args=(conn, context, path), daemon=True).start()


if __name__ == "__main__":
    main(*sys.argv[1:])

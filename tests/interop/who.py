# SPDX-License-Identifier: Apache-2.0
"""Who answers: the server and the client that most tests need. `serve PORT NAME [HOST [tell]]` says NAME to each message,
and "connection" for each on its output if it shall tell; `ask HOST PORT COUNT` says, as JSON, what each of so many connections got."""
import json
import os
import socket
import subprocess
import sys
import threading

HERE = os.path.abspath(__file__)


def start(namespace, name, port, host="", tell=""):
    """A server, listening in a namespace."""
    process = namespace.popen(sys.executable, HERE, "serve", str(port), name, host, tell,
                              stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "ready\n"
    return process


def ask(pod, host, port, count=1):
    """What so many connections from a pod got, one after the other: a server's name, "closed", "refused" or an error's name."""
    return json.loads(pod.run(*asking(host, port, count)))


def asking(host, port, count=1):
    """Command of ask()."""
    return [sys.executable, HERE, "ask", host, str(port), str(count)]


def letters(pod, host, port, count=1):
    """ask() of servers with names of one letter, as one word; "-" where nobody answered."""
    return "".join(said if len(said) == 1 else "-" for said in ask(pod, host, port, count))


def _answer(conn, name):
    with conn:
        while conn.recv(100):
            conn.sendall(name.encode())


def _serve(listener, name, tells):
    while True:
        conn, _ = listener.accept()
        if tells:
            print("connection", flush=True)
        threading.Thread(target=_answer, args=(conn, name), daemon=True).start()


def _listen(host, port):
    if host:
        return socket.create_server((host, port), backlog=200)
    if socket.has_dualstack_ipv6():
        return socket.create_server(("::", port), family=socket.AF_INET6, dualstack_ipv6=True, backlog=200)
    return socket.create_server(("", port), backlog=200)


def _ask(host, port):
    try:
        with socket.create_connection((host, port), 30) as conn:
            conn.sendall(b"who")
            return conn.recv(10).decode() or "closed"
    except ConnectionRefusedError:
        return "refused"
    except OSError as e:
        return "closed" if isinstance(e, ConnectionError) else type(e).__name__


if __name__ == "__main__":
    if sys.argv[1] == "serve":
        LISTENER = _listen(sys.argv[4], int(sys.argv[2]))
        print("ready", flush=True)
        _serve(LISTENER, sys.argv[3], sys.argv[5] == "tell")
    print(json.dumps([_ask(sys.argv[2], int(sys.argv[3])) for _ in range(int(sys.argv[4]))]))

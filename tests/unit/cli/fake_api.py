# SPDX-License-Identifier: Apache-2.0
"""An API server in this process, small: it keeps what is applied, makes pods of what makes pods, and fails as it is told to."""
import base64
import contextlib
import copy
import hashlib
import http.server
import json
import re
import socket
import struct
import threading
import urllib.parse

MESH = "istio-system"
PLURALS = {"AuthorizationPolicy": "authorizationpolicies", "ServiceEntry": "serviceentries", "WorkloadEntry": "workloadentries",
           "Telemetry": "telemetries", "BackendTLSPolicy": "backendtlspolicies"}


class Fault:
    """What is answered to a request instead: a status with a message, as often as said."""

    def __init__(self, method, part, status, message="because", times=10**9):
        self.method, self.part, self.status, self.message, self.times = method, part, status, message, times


def pod(namespace, name, node="n1", labels=None, **more):
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "namespace": namespace, "labels": labels or {}},
            "spec": {"nodeName": node, "serviceAccountName": "default", "containers": [{"name": "main", "image": "i"}]},
            "status": {"phase": "Running", "podIP": "10.0.0.1", "conditions": [{"type": "Ready", "status": "True"}],
                       "containerStatuses": [{"name": "main", "ready": True, "restartCount": 0, "state": {"running": {}}}]},
            **more}


def namespace(name, **labels):
    return {"apiVersion": "v1", "kind": "Namespace",
            "metadata": {"name": name, "labels": {k.replace("__", "/").replace("_", "-"): v for k, v in labels.items()}}}


class FakeApi:
    """Objects by (group and version, plural, namespace, name)."""

    def __init__(self):
        self.objects, self.faults, self.log, self.forbidden = {}, [], [], set()
        self.version, self.is_ready, self.nodes, self.rv = ("1", "35", "v1.35.4"), True, ["n1", "n2"], 0
        self.log_text = "a line of a log\n"
        self.foreign = {}  # keys of an object's data that others have applied: they go on being theirs
        self.lingering = {}  # names of what is deleted only after it was asked for so often
        self.not_served = set()  # groups with versions that the server is too old for
        self.is_stream_cut = False  # an answer to an exec or a port-forward ends before its head does
        self.on_exec = lambda pod_name, container, command: (1, "", "no such command\n")
        self.on_forward = self.forward_as_exec
        self.acted = set()  # as whom the requests were made
        self.forwarded = []  # pod, port and the first line of each request
        self.lock = threading.RLock()
        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), type("H", (Handler,), {"api": self}))
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, daemon=True, kwargs={"poll_interval": 0.02}).start()
        for name in self.nodes:
            self.put({"apiVersion": "v1", "kind": "Node", "metadata": {"name": name}, "spec": {"podCIDRs": ["10.0.0.0/24", "fd00::/64"]},
                      "status": {"nodeInfo": {"kernelVersion": "6.12.1", "architecture": "amd64", "operatingSystem": "linux"}}})

    def forward_as_exec(self, pod_name, port, method, target):
        """What a daemon answers on its port: as on its socket; None: it does not listen."""
        part = {15000: "ztunnel", 9876: "control"}[port]
        code, out, _ = self.on_exec(pod_name, {"control": "discovery"}.get(part, part),
                                    ["/usr/local/bin/culvert", "__admin", part, method, target])
        status, _, body = out.partition("\n")
        return (int(status), body) if code == 0 and status.isdigit() else None

    def close(self):
        self.server.shutdown()
        self.server.server_close()

    def put(self, obj):
        """As if somebody else had made it."""
        kind = obj["kind"]
        plural = PLURALS.get(kind) or kind.lower() + ("es" if kind[-1] == "s" else "s")
        meta = obj["metadata"]
        key = (obj["apiVersion"], plural, meta.get("namespace", ""), meta["name"])
        self.foreign[key] = set(obj.get("data") or ())
        self.store(key, obj)

    def named(self, kind, name):
        return next((o for o in self.objects.values() if o["kind"] == kind and o["metadata"]["name"] == name), None)

    def titles(self):
        return {f"{o['kind']} {o['metadata']['name']}" for o in self.objects.values()}

    def calls(self, method, part=""):
        return [path for m, path, _ in self.log if m == method and part in path]

    def store(self, key, obj):
        with self.lock:
            old = self.objects.get(key)
            obj = copy.deepcopy(obj)
            meta = obj["metadata"]
            if old and {k: v for k, v in old.items() if k not in ("status", "metadata")} == \
                    {k: v for k, v in obj.items() if k not in ("status", "metadata")} and \
                    old["metadata"].get("labels") == meta.get("labels"):
                return old
            self.rv += 1
            meta.update(resourceVersion=str(self.rv), uid=f"u{self.rv}",
                        generation=old["metadata"].get("generation", 0) + 1 if old else 1)
            self.objects[key] = obj
            if obj["kind"] in ("Deployment", "DaemonSet"):
                self.start_pods(obj)
            return obj

    def start_pods(self, owner):
        name, is_daemon = owner["metadata"]["name"], owner["kind"] == "DaemonSet"
        nodes = self.nodes if is_daemon else self.nodes[:1]
        n, ready = len(nodes), len(nodes) if self.is_ready else 0
        owner["status"] = {"observedGeneration": owner["metadata"]["generation"], "replicas": n, "updatedReplicas": n,
                           "availableReplicas": ready, "desiredNumberScheduled": n, "updatedNumberScheduled": n,
                           "numberAvailable": ready}
        for node in nodes:
            template = owner.get("spec", {}).get("template", {}).get("metadata", {})
            one = pod(MESH, f"{name}-{node}", node, template.get("labels") or {"app": name})
            if not self.is_ready:
                one["status"]["conditions"][0]["status"] = "False"
                one["status"]["containerStatuses"][0].update(
                    ready=False, state={"waiting": {"reason": "ImagePullBackOff", "message": "no such image"}})
            self.objects[("v1", "pods", MESH, one["metadata"]["name"])] = one

    def delete(self, key):
        with self.lock:
            gone = self.objects.pop(key, None)
            if gone and gone["kind"] in ("Deployment", "DaemonSet"):
                for k in [k for k in self.objects if k[1] == "pods" and re.fullmatch(re.escape(key[3]) + "-n[0-9]+", k[3])]:
                    del self.objects[k]
            if gone and gone["kind"] == "Namespace":
                for k in [k for k in self.objects if k[2] == key[3]]:
                    del self.objects[k]
            return gone

    def is_known(self, gv, plural):
        """Kinds of Istio's exist once they are defined."""
        group = gv.split("/")[0]
        if gv in self.not_served:
            return False
        return not group.endswith("istio.io") or \
            ("apiextensions.k8s.io/v1", "customresourcedefinitions", "", f"{plural}.{group}") in self.objects

    def select(self, gv, plural, ns, query):
        def fits(obj):
            labels = obj["metadata"].get("labels") or {}
            for term in filter(None, re.split(r",(?![^(]*\))", query.get("labelSelector", ""))):
                m = re.fullmatch(r"(\S+) in \((.*)\)", term)
                key, _, value = term.partition("=")
                if m and labels.get(m.group(1)) not in m.group(2).split(","):
                    return False
                if not m and (key not in labels or (value and labels[key] != value)):
                    return False
            field = query.get("fieldSelector", "metadata.name=" + obj["metadata"]["name"])
            return field == "metadata.name=" + obj["metadata"]["name"]
        return [o for k, o in sorted(self.objects.items()) if k[:2] == (gv, plural) and (not ns or k[2] == ns) and fits(o)]


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version, wbufsize, disable_nagle_algorithm = "HTTP/1.1", 1 << 16, True
    api = None

    def log_message(self, *_):
        pass

    def answer(self, status, body):
        data = body.encode() if isinstance(body, str) else json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def refuse(self, status, message):
        self.answer(status, {"kind": "Status", "status": "Failure", "message": message, "code": status})

    def serve(self):
        length = int(self.headers.get("Content-Length") or 0)
        text = self.rfile.read(length).decode()
        url = urllib.parse.urlsplit(self.path)
        query = dict(urllib.parse.parse_qsl(url.query, keep_blank_values=True))
        api = self.api
        api.log.append((self.command, self.path, text))
        api.acted.add(tuple(f"{k}: {v}" for k, v in self.headers.items() if k.startswith("Impersonate-")))
        for f in api.faults:
            if f.method == self.command and f.part in self.path and f.times > 0:
                f.times -= 1
                return self.refuse(f.status, f.message)
        if url.path == "/version":
            return self.answer(200, dict(zip(("major", "minor", "gitVersion"), api.version)))
        if url.path.endswith("/selfsubjectaccessreviews"):
            a = json.loads(text)["spec"]["resourceAttributes"]
            return self.answer(201, {"status": {"allowed": (a["verb"], a["resource"]) not in api.forbidden}})
        m = re.fullmatch(r"/(?:api/(v1)|apis/([^/]+/[^/]+))(?:/namespaces/([^/]+))?/([^/]+)(?:/([^/]+))?(?:/(log|exec|portforward))?",
                         url.path)
        if url.path.startswith("/api/v1/namespaces") and url.path.count("/") <= 4:  # a namespace itself
            return self.objects_of("v1", "namespaces", "", url.path.split("/")[4] if url.path.count("/") == 4 else None, query, text)
        if not m:
            return self.refuse(404, "no such path")
        if m.group(6) == "exec":
            return self.exec(m.group(5), url.query)
        if m.group(6) == "portforward":
            return self.portforward(m.group(5), int(query["ports"]))
        if m.group(6) == "log":
            return self.answer(200, self.api.log_text)
        return self.objects_of(m.group(1) or m.group(2), m.group(4), m.group(3) or "", m.group(5), query, text)

    do_GET = do_PATCH = do_POST = do_DELETE = serve

    def objects_of(self, gv, plural, ns, name, query, text):
        api, key = self.api, (gv, plural, ns, name)
        if not api.is_known(gv, plural):
            return self.refuse(404, "the server could not find the requested resource")
        if not name:
            kind = next((o["kind"] for k, o in api.objects.items() if k[1] == plural), "Thing")
            items = [{k: v for k, v in o.items() if k not in ("kind", "apiVersion")} for o in api.select(gv, plural, ns, query)]
            return self.answer(200, {"kind": f"{kind}List", "apiVersion": gv, "metadata": {"resourceVersion": "1"}, "items": items})
        if self.command == "DELETE" and name in api.lingering:
            return self.answer(200, api.objects[key])
        if self.command == "GET" and name in api.lingering:
            api.lingering[name] -= 1
            if api.lingering[name] == 0:
                api.delete(key)
        if self.command == "DELETE":
            gone = "dryRun" in query and api.objects.get(key) or api.delete(key)
            return self.answer(200, gone) if gone else self.refuse(404, f'{plural} "{name}" not found')
        if self.command == "PATCH":
            return self.patch(key, query, json.loads(text))
        if key not in api.objects:
            return self.refuse(404, f'{plural} "{name}" not found')
        return self.answer(200, api.objects[key])

    def patch(self, key, query, body):
        api = self.api
        if "apply-patch" in self.headers["Content-Type"]:
            if key[2] and ("v1", "namespaces", "", key[2]) not in api.objects:
                return self.refuse(404, f'namespaces "{key[2]}" not found')
            selector = api.objects.get(key, {}).get("spec", {}).get("selector")
            if key[1] == "deployments" and selector not in (None, body["spec"]["selector"]):
                return self.refuse(422, "spec.selector: field is immutable")
            for k in api.foreign.get(key, set()) & set(api.objects.get(key, {}).get("data") or ()):
                body.setdefault("data", {}).setdefault(k, api.objects[key]["data"][k])
            return self.answer(200, {**body, "metadata": {**body["metadata"], "resourceVersion": "0"}} if "dryRun" in query
                               else api.store(key, body))
        if key not in api.objects:
            return self.refuse(404, "not found")
        for old, new in ((api.objects[key]["metadata"].setdefault("labels", {}), body.get("metadata", {}).get("labels", {})),
                         (api.objects[key].setdefault("data", {}), body.get("data", {}))):
            for k, v in new.items():
                old.pop(k, None) if v is None else old.update({k: v})
        return self.answer(200, api.objects[key])

    def frame(self, data):
        n = len(data)
        head = struct.pack("!BB", 0x82, n) if n < 126 else struct.pack("!BBH", 0x82, 126, n) if n < 65536 else \
            struct.pack("!BBQ", 0x82, 127, n)
        self.wfile.write(head + data)

    def upgrade(self, protocol):
        """To a WebSocket. Return: whether that was all of the head."""
        accept = hashlib.sha1((self.headers["Sec-WebSocket-Key"] + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11").encode())
        self.send_response(101)
        self.send_header("Upgrade", "websocket")
        self.send_header("Connection", "Upgrade")
        self.send_header("Sec-WebSocket-Accept", base64.b64encode(accept.digest()).decode())
        self.send_header("Sec-WebSocket-Protocol", protocol)
        self.close_connection = True
        if self.api.is_stream_cut:
            self.flush_headers()
            return False
        self.end_headers()
        self.wfile.flush()
        return True

    def end(self):
        """Closed before all that the client says has been read, TCP would reset, and take with it what is still to be sent."""
        self.wfile.flush()
        self.connection.shutdown(socket.SHUT_WR)
        self.connection.settimeout(60)
        with contextlib.suppress(OSError):
            while self.connection.recv(4096):
                pass

    def exec(self, pod_name, query):
        words = urllib.parse.parse_qs(query)
        code, out, err = self.api.on_exec(pod_name, words["container"][0], words["command"])
        if not self.upgrade("v5.channel.k8s.io"):
            return
        self.wfile.write(struct.pack("!BB", 0x89, 2) + b"hi")  # a ping
        for at in range(0, len(out.encode()), 30000):
            self.frame(b"\x01" + out.encode()[at:at + 30000])
        self.frame(b"\x02" + err.encode())
        status = {"status": "Success"} if code == 0 else \
            {"status": "Failure", "reason": "NonZeroExitCode", "message": "exit",
             "details": {"causes": [{"reason": "ExitCode", "message": str(code)}]}}
        self.frame(b"\x03" + json.dumps(status).encode())
        self.end()

    def read_frame(self):
        """Return: the channel and what is in a frame of the client's, which must be short and masked."""
        head = self.rfile.read(2)
        assert head[0] == 0x82 and 0x80 < head[1] < 0x80 + 126, head
        mask, data = self.rfile.read(4), self.rfile.read(head[1] - 0x80)
        data = bytes(b ^ mask[i % 4] for i, b in enumerate(data))
        return data[0], data[1:]

    def portforward(self, pod_name, port):
        """As a kubelet: two channels, each begins with the port's number; the connection stays until the client leaves."""
        assert "v4.channel.k8s.io" in self.headers["Sec-WebSocket-Protocol"]
        if not self.upgrade("v4.channel.k8s.io"):
            return
        for channel in b"\x00", b"\x01":
            self.frame(channel + struct.pack("<H", port))
        self.wfile.flush()
        text = b""
        while not text.endswith(b"\r\n\r\n"):
            channel, data = self.read_frame()
            assert channel == 0
            text += data
        method, target, _ = text.decode().split(None, 2)
        self.api.forwarded.append((pod_name, port, f"{method} {target}"))
        answer = self.api.on_forward(pod_name, port, method, target)
        if answer is None:
            self.frame(b"\x01" + f"error forwarding port {port} to pod {pod_name}: connect: connection refused".encode())
        elif isinstance(answer, bytes):
            self.frame(b"\x00" + answer)
        else:
            body = answer[1].encode()
            text = f"HTTP/1.1 {answer[0]} x\r\nContent-Type: x/y\r\nContent-Length: {len(body)}\r\n\r\n".encode()
            for at in range(0, len(text + body), 30000):
                self.frame(b"\x00" + (text + body)[at:at + 30000])
        if answer is None or isinstance(answer, bytes):
            self.end()
            return
        self.wfile.flush()
        self.connection.settimeout(60)
        with contextlib.suppress(OSError):
            assert not self.connection.recv(1), "who has its answer says no more"

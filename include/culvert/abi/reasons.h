/* SPDX-License-Identifier: (Apache-2.0 AND (GPL-2.0-only OR BSD-2-Clause)) */
#pragma once
/* reasons - the one list of drop reasons and of path counters: BPF, CLI text, log and metric label
 * come from it. CV_REASON(name, label, sentence). Append only: the number is in events and
 * counters. */
#define CV_REASON_LIST(CV_REASON)                                                                  \
	CV_REASON(NONE, "none", "not dropped")                                                     \
	CV_REASON(TUNNEL, "tunnel", "sent to ztunnel")                                             \
	CV_REASON(DIRECT, "direct", "direct inside the node")                                      \
	CV_REASON(PASSTHROUGH, "passthrough", "not a mesh destination, untouched")                 \
	CV_REASON(SELF, "self", "the pod dialled itself")                                          \
	CV_REASON(DNS, "dns", "DNS sent to ztunnel")                                               \
	CV_REASON(STEERED, "steered", "inbound connection handed to ztunnel")                      \
	CV_REASON(VOUCHED, "vouched", "inbound connection let through to the application")         \
	CV_REASON(DROP_ZTUNNEL_DEAD, "ztunnel_dead",                                               \
		  "no ztunnel serves this pod: refused, never plaintext")                          \
	CV_REASON(DROP_NO_STEER, "no_steer", "no listener for this inbound connection")            \
	CV_REASON(DROP_MAP_FULL, "map_full", "a map is full")                                      \
	CV_REASON(DROP_KIND, "socket_kind",                                                        \
		  "a ztunnel socket tried a destination its kind may not dial")                    \
	CV_REASON(DROP_BIND, "bind_failed", "the pod address could not be bound")                  \
	CV_REASON(DROP_STORAGE, "storage", "no memory for the socket's record")                    \
	CV_REASON(DROP_NO_ORIGIN, "no_origin", "no original destination for this connection")      \
	CV_REASON(DROP_POLICY, "policy", "an authorization policy denies it")                      \
	CV_REASON(NAMESERVER_NEW, "nameserver_new", "a nameserver was seen for the first time")    \
	CV_REASON(NAMESERVER_FULL, "nameserver_full",                                              \
		  "no room for another nameserver: DNS left alone")                                \
	CV_REASON(VERDICT_MISS, "verdict_miss",                                                    \
		  "no verdict known yet: tunnelled or refused, not direct")                        \
	CV_REASON(DIRECT_OPEN, "direct_open", "a direct connection is established")                \
	CV_REASON(DIRECT_CLOSE, "direct_close", "a direct connection ended")                       \
	CV_REASON(DROP_NOT_DIRECT, "not_direct",                                                   \
		  "a direct connection changed under way and was not vouched for")                 \
	CV_REASON(EXCLUDED, "excluded", "left alone, as an annotation of the pod asks")            \
	CV_REASON(DROP_REGISTRY_ONLY, "registry_only",                                             \
		  "not in the registry, and outboundTrafficPolicy is REGISTRY_ONLY")               \
	CV_REASON(GUARD_PLAINTEXT, "guard_plaintext",                                              \
		  "a pod sent plaintext towards the mesh round its sockets' hooks")                \
	CV_REASON(GUARD_SOURCE, "guard_source", "a pod used a source address that is not its own") \
	CV_REASON(GUARD_FRAGMENT, "guard_fragment", "a pod sent TCP in fragments")                 \
	CV_REASON(GUARD_MALFORMED, "guard_malformed",                                              \
		  "a packet of a pod could not be read, or asked for a route of its own")          \
	CV_REASON(FLOW, "flow", "a direct connection that skips the host's stack")                 \
	CV_REASON(UPLINK_PLAINTEXT, "uplink_plaintext",                                            \
		  "plaintext from outside that a policy refuses from anyone")                      \
	CV_REASON(UPLINK_DENIED, "uplink_denied",                                                  \
		  "a source outside the mesh that a policy denies by its address")                 \
	CV_REASON(GUARD_FORGED, "guard_forged",                                                    \
		  "a packet came to a pod as of a connection whose packets come another way")      \
	CV_REASON(DIRECT_UNTOLD, "direct_untold",                                                  \
		  "a beginning or end of a direct connection was counted, not told of")

enum cv_reason {
#define CV_REASON(name, label, sentence) CV_##name,
	CV_REASON_LIST(CV_REASON)
#undef CV_REASON
		CV_REASON_MAX,
};

/** CV_COUNTERS - entries of cv_counters: more than there are reasons, so that a new one does not
 * change the layout of a map that an earlier agent has pinned. */
#define CV_COUNTERS 64
_Static_assert(CV_REASON_MAX <= CV_COUNTERS, "each reason has a counter");

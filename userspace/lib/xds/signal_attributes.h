/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* signal_attributes - what expressions in Telemetry resources may ask of a connection: the control
 * plane checks them with this list, ztunnel has the values. Envoy's names where Envoy has one. */
#include "base/cel.h"

/* When a value is known, and whether it is the same for all connections of a pair of workloads. */
enum signal_known {
	SIGNAL_OF_PAIR, /* from the start, the same for all */
	SIGNAL_OF_CONN, /* from the start, of this one */
	SIGNAL_OF_END,  /* when it is over */
};

/* What both ends have: X(enum, word, type, known). */
#define SIGNAL_END_ATTRIBUTES(X, side, word)                                                       \
	X(side##_WORKLOAD, word ".workload", CEL_STRING, SIGNAL_OF_PAIR)                           \
	X(side##_NAMESPACE, word ".namespace", CEL_STRING, SIGNAL_OF_PAIR)                         \
	X(side##_PRINCIPAL, word ".principal", CEL_STRING, SIGNAL_OF_PAIR)                         \
	X(side##_CLUSTER, word ".cluster", CEL_STRING, SIGNAL_OF_PAIR)                             \
	X(side##_ADDRESS, word ".address", CEL_STRING, SIGNAL_OF_CONN)                             \
	X(side##_PORT, word ".port", CEL_INT, SIGNAL_OF_CONN)

/* Istio's filter state of a peer. */
#define SIGNAL_PEER_ATTRIBUTES(X, side, word)                                                      \
	X(side##_PEER_NAME, "filter_state." word ".name", CEL_STRING, SIGNAL_OF_PAIR)              \
	X(side##_PEER_NAMESPACE, "filter_state." word ".namespace", CEL_STRING, SIGNAL_OF_PAIR)    \
	X(side##_PEER_WORKLOAD, "filter_state." word ".workload", CEL_STRING, SIGNAL_OF_PAIR)      \
	X(side##_PEER_CLUSTER, "filter_state." word ".cluster", CEL_STRING, SIGNAL_OF_PAIR)        \
	X(side##_PEER_APP, "filter_state." word ".app", CEL_STRING, SIGNAL_OF_PAIR)                \
	X(side##_PEER_VERSION, "filter_state." word ".version", CEL_STRING, SIGNAL_OF_PAIR)        \
	X(side##_PEER_SERVICE, "filter_state." word ".service", CEL_STRING, SIGNAL_OF_PAIR)        \
	X(side##_PEER_REVISION, "filter_state." word ".revision", CEL_STRING, SIGNAL_OF_PAIR)

#define SIGNAL_ATTRIBUTES(X)                                                                       \
	SIGNAL_END_ATTRIBUTES(X, SOURCE, "source")                                                 \
	SIGNAL_END_ATTRIBUTES(X, DESTINATION, "destination")                                       \
	X(DESTINATION_SERVICE, "destination.service", CEL_STRING, SIGNAL_OF_PAIR)                  \
	SIGNAL_PEER_ATTRIBUTES(X, SOURCE, "downstream_peer")                                       \
	SIGNAL_PEER_ATTRIBUTES(X, DESTINATION, "upstream_peer")                                    \
	X(MTLS, "connection.mtls", CEL_BOOL, SIGNAL_OF_PAIR)                                       \
	X(TLS_VERSION, "connection.tls_version", CEL_STRING, SIGNAL_OF_PAIR)                       \
	X(PEER_SAN, "connection.uri_san_peer_certificate", CEL_STRING, SIGNAL_OF_PAIR)             \
	X(LOCAL_SAN, "connection.uri_san_local_certificate", CEL_STRING, SIGNAL_OF_PAIR)           \
	X(LISTENER_DIRECTION, "xds.listener_direction", CEL_INT, SIGNAL_OF_PAIR)                   \
	X(TERMINATION_DETAILS, "connection.termination_details", CEL_STRING, SIGNAL_OF_END)        \
	X(CODE, "response.code", CEL_INT, SIGNAL_OF_END)                                           \
	X(CODE_DETAILS, "response.code_details", CEL_STRING, SIGNAL_OF_END)                        \
	X(REQUEST_SIZE, "request.total_size", CEL_INT, SIGNAL_OF_END)                              \
	X(RESPONSE_SIZE, "response.total_size", CEL_INT, SIGNAL_OF_END)                            \
	X(DURATION, "request.duration", CEL_DURATION, SIGNAL_OF_END)

enum signal_attribute {
#define X(id, word, type, known) SIGNAL_##id,
	SIGNAL_ATTRIBUTES(X)
#undef X
		SIGNAL_ATTRIBUTES_COUNT
};

/**
 * signal_expression() - read an expression about a connection
 * @latest: what it may use; SIGNAL_OF_CONN for what has to be known from the start.
 * @ret: the caller frees it with free(); set only on success.
 * @problem: what is not understood.
 * Return: 0; -EINVAL; -ENOMEM.
 */
_must_check_ int signal_expression(const char *text, enum signal_known latest, struct cel **ret,
				   struct cel_problem *problem);
/** signal_expression_is_of_pair() - is its value the same for all connections of two workloads? */
bool signal_expression_is_of_pair(const struct cel *c);

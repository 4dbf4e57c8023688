/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* dial_options - how a daemon of a node is told where a remote control plane is: the options and
 * the variables that Istio's ztunnel knows, in one place. */
#include "base/option.h"
#include "xds/dial.h"

#define DIAL_ROOT_FILE  "/var/run/secrets/istio/root-cert.pem"
#define DIAL_TOKEN_FILE "/var/run/secrets/tokens/istio-token"

struct dial_options {
	const char *xds_address; /* NULL or "": the node's own control plane */
	const char *ca_address;  /* NULL or "": as xds_address */
	const char *root_file, *token_file, *cluster_id, *server_name;
};

#define DIAL_OPTION(parent, field, option, variable, value, fallback, text)                        \
	{                                                                                          \
		.name = (option), .type = OPTION_STRING, .offset = offsetof(parent, field),        \
		.default_value = (fallback), .env = (variable), .value_name = (value),             \
		.help = (text)                                                                     \
	}

/* Rows of an option table; @member is the struct dial_options within struct @parent. */
#define DIAL_OPTIONS(parent, member)                                                               \
	DIAL_OPTION(parent, member.xds_address, "xds-address", "XDS_ADDRESS", "HOST:PORT", NULL,   \
		    "control plane, by TLS; without it RUN/control/xds.sock"),                     \
		DIAL_OPTION(parent, member.ca_address, "ca-address", "CA_ADDRESS", "HOST:PORT",    \
			    NULL, "who signs certificates, by TLS; without it as --xds-address"),  \
		DIAL_OPTION(parent, member.root_file, "xds-root-ca", "XDS_ROOT_CA", "FILE",        \
			    DIAL_ROOT_FILE,                                                        \
			    "PEM of whom to trust as control plane; SYSTEM: the system's roots"),  \
		DIAL_OPTION(parent, member.token_file, "token-file", "XDS_TOKEN_FILE", "FILE",     \
			    DIAL_TOKEN_FILE, "bearer token for the control plane, followed"),      \
		DIAL_OPTION(parent, member.cluster_id, "cluster-id", "CLUSTER_ID", "NAME",         \
			    "Kubernetes", "name of this cluster"),                                 \
		DIAL_OPTION(parent, member.server_name, "xds-server-name", "ALT_XDS_HOSTNAME",     \
			    "NAME", NULL, "name in the control plane's certificate")

/** dial_options_target() - the target that @o asks for. @address: one of its two, or NULL; @path:
 * where the control plane is without. All borrowed. */
static inline struct dial_target dial_options_target(const struct dial_options *o,
						     const char *address, const char *path)
{
	if (!address || !*address)
		address = o->xds_address;
	if (!address || !*address)
		return (struct dial_target){.path = path};
	return (struct dial_target){.address = address,
				    .root_file = o->root_file,
				    .server_name = o->server_name,
				    .token_file = o->token_file,
				    .cluster_id = o->cluster_id};
}

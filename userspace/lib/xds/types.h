/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* types - the kinds of resources that control plane and nodes exchange. No state. */
#include "base/macros.h"

enum xds_type {
	XDS_ADDRESS,       /* istio.workload.Address */
	XDS_AUTHORIZATION, /* istio.security.Authorization */
	XDS_NODE,          /* culvert.node.Node */
	XDS_NODE_CONFIG,   /* culvert.node.Config; sent when a client has been sent all of the
			    * others: an agent takes out of its maps what it was not told of */
	XDS_TYPE_MAX,
	XDS_TYPE_INVALID = -1,
};

/* What any control plane of Istio's protocol knows. The others are ours, and one that says nothing
 * of parts is not asked for them: it is not ours, and may end the stream over it. */
#define XDS_ISTIO_TYPES (1u << XDS_ADDRESS | 1u << XDS_AUTHORIZATION)

/** enum xds_part - what one response is of a change, which may take several, of several types. */
enum xds_part {
	XDS_PART_UNSAID, /* by a control plane that is not ours */
	XDS_PART_MORE,   /* until the rest has come it is neither the old mesh nor the new one */
	XDS_PART_WHOLE,
};

/* What Istio's types cannot carry, in their `extensions` (node.proto). */
#define XDS_EXTENSION_SERVICE  "culvert.node.Service"
#define XDS_EXTENSION_WORKLOAD "culvert.node.Workload"
/* Name of the extension that makes an istio.security.Authorization one of action AUDIT: its rules
 * are in the extension (an Authorization again) and not in the message, so that a ztunnel that does
 * not know it sees a DENY that matches nothing. */
#define XDS_AUDIT_EXTENSION "culvert.io/audit"

/** xds_type_url() - "type.googleapis.com/istio.workload.Address" and kin; static string. */
const char *xds_type_url(enum xds_type type);
/** xds_type_from_url() - Return: the type; XDS_TYPE_INVALID when unknown. */
enum xds_type xds_type_from_url(const char *url);

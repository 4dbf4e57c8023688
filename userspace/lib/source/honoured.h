/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* honoured - the kinds that may be installed and written, and do nothing yet: one list, for whoever
 * writes one (a warning of the webhook) and for whoever looks at one (its status). No state. */
#include <stdbool.h>
#include <stddef.h>

#include "base/macros.h"

/* in front of what is not honoured, in whole or in part: another version may do it */
#define HONOURED_AS_OF "as of Culvert " CULVERT_VERSION ": "

/* the group of the Gateway API's kinds, which all have the same `versions` */
#define HONOURED_GATEWAY_API "gateway.networking.k8s.io"

/* whose entries of a route's status are ours: Istio's own name, which is what its users look for */
#define HONOURED_CONTROLLER "istio.io/gateway-controller"

/* on the GatewayClasses that the control plane has made */
#define HONOURED_MAKER_LABEL "app.kubernetes.io/managed-by"
#define HONOURED_MAKER       "culvert-control"

/* what is said of the label istio.io/use-waypoint */
#define HONOURED_WAYPOINT                                                                          \
	"waypoints are not served yet: connections go straight to the pods, in mutual TLS, and "   \
	"only policies of layer 4 without targetRefs apply"

/** struct honoured_kind - a kind without effect. */
struct honoured_kind {
	const char *const *versions; /* "GROUP/VERSION", the newest first; NULL-ended */
	const char *plural, *kind;
	const char *message; /* a sentence that says so, and what is to come */
};

/** honoured_none() - all of them, @ret_n. */
const struct honoured_kind *honoured_none(size_t *ret_n);
/** honoured_find() - Return: static; NULL when the kind is not one of them. */
const struct honoured_kind *honoured_find(const char *group, const char *kind);
/** honoured_not_yet() - Return: the sentence; NULL when the kind is not one of them. */
const char *honoured_not_yet(const char *group, const char *kind);
/** honoured_gateway() - Return: what follows "Gateway" or "GatewayClass" in the sentence about one
 * that
 * @controller is to serve; NULL: it is not a name of Istio's, but somebody else's. */
const char *honoured_gateway(const char *controller);
/** honoured_controller() - Return: who serves a class of Istio's, also where there is no such
 * object as Istio makes; NULL: another class. */
const char *honoured_controller(const char *class_name);
/** honoured_is_waypoint() - does a value of istio.io/use-waypoint ask for one? NULL: no label. */
bool honoured_is_waypoint(const char *value);

/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* gateway_classes - the GatewayClasses that users of Istio count on are there: istio,
 * istio-waypoint, istio-remote. Made as istiod makes them, when the kind is installed; whoever has
 * made one of that name keeps it. What is honoured of them, gateway_status.h says. Owner: gateways.
 * Thread: its loop. */
#include <stdbool.h>
#include <stddef.h>

#include "base/cleanup.h"
#include "base/macros.h"
#include "source/kube_client.h"

struct gateway_classes; /* opaque */

struct gateway_classes_config {
	struct kube_client *kube; /* borrowed */
	/** is_there() - is there a GatewayClass of that name, whosever? */
	bool (*is_there)(void *arg, const char *name);
	void *arg;
};

_must_check_ int gateway_classes_new(const struct gateway_classes_config *config,
				     struct gateway_classes **ret);
struct gateway_classes *gateway_classes_free(struct gateway_classes *c);
DEFINE_CLEANUP(struct gateway_classes *, gateway_classes_free);

/**
 * gateway_classes_make() - one after the other, those that are not there; nothing while it does
 * @version: "GROUP/VERSION" that the API server has the kind in; copied. Does not block. What
 * fails is logged, and tried again by the next call.
 */
void gateway_classes_make(struct gateway_classes *c, const char *version);
/** gateway_classes_stop() - another leads. Takes NULL. */
void gateway_classes_stop(struct gateway_classes *c);

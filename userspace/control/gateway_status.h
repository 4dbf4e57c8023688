/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* gateway_status - what the status of an object of the Gateway API is to say while gateways,
 * waypoints and routes do nothing yet. Only what is ours is spoken of: GatewayClasses with one of
 * Istio's controllerNames, Gateways of them and their listeners, ListenerSets of such a Gateway,
 * and of a route or a policy each parent or target that is one of these, a Service or a
 * ServiceEntry. No state, no I/O. */
#include <stdbool.h>

#include <jansson.h>

#include "base/macros.h"

enum gateway_form {
	GATEWAY_CLASS,
	GATEWAY_GATEWAY,
	GATEWAY_LISTENERS,
	GATEWAY_ROUTE,
	GATEWAY_POLICY
};

/** struct gateway_view - what else there is. */
struct gateway_view {
	/** controller_of() - controllerName of a GatewayClass; NULL: there is none of that name. */
	const char *(*controller_of)(void *arg, const char *class_name);
	/** class_of() - gatewayClassName of a Gateway; NULL: there is no such Gateway. */
	const char *(*class_of)(void *arg, const char *namespace_, const char *name);
	/** parent_of() - parentRef of a ListenerSet; NULL: there is no such ListenerSet. */
	const json_t *(*parent_of)(void *arg, const char *namespace_, const char *name);
	/** is_selected() - is the namespace one of the mesh's? */
	bool (*is_selected)(void *arg, const char *namespace_);
	void *arg;
};

/**
 * gateway_status() - the status that an object is to have
 * @object: as the API server has it, with "kind". @now: RFC 3339; used where a condition changes.
 * @ret: a new reference to what of "status" is to be replaced, other controllers' part of it
 * included; NULL: nothing is to be written.
 * Return: 0; -ENOMEM.
 */
_must_check_ int gateway_status(const json_t *object, enum gateway_form form,
				const struct gateway_view *view, const char *now, json_t **ret);

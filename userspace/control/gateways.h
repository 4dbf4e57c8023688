/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* gateways - the leader sees to it that Istio's GatewayClasses are there (gateway_classes.h), and
 * writes into the status of what the Gateway API asks of us that it is not done yet
 * (gateway_status.h says what). Its kinds may be installed later, in whichever version:
 * the API server is asked for them now and then. Only what differs is written, twenty a second at
 * most, and an object that somebody else writes over again and again is left to them. Owner:
 * cluster. Thread: its loop. */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/cleanup.h"
#include "base/loop.h"
#include "base/macros.h"
#include "source/kube_client.h"

struct gateways; /* opaque */

struct gateways_config {
	struct loop *loop;        /* borrowed */
	struct kube_client *kube; /* borrowed */
	uint64_t pause_us;        /* between two looks for kinds; 0: ten seconds */
	/** is_selected() - is the namespace one of the mesh's? */
	bool (*is_selected)(void *arg, const char *namespace_);
	void *arg;
};

_must_check_ int gateways_new(const struct gateways_config *config, struct gateways **ret);
struct gateways *gateways_free(struct gateways *g);
DEFINE_CLEANUP(struct gateways *, gateways_free);

/** gateways_lead() - write from now on, or leave it to another. Return: 0; -ENOMEM. */
int gateways_lead(struct gateways *g, bool is_leader);
/** gateways_count() - written so far. */
size_t gateways_count(const struct gateways *g);

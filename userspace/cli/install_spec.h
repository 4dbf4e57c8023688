/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* install_spec - what somebody wants installed: --set and -f, as istioctl and Helm take them,
 * turned into values of the chart. One thread. */
#include <jansson.h>
#include <stdbool.h>

#include "chart.h"

struct install_spec; /* opaque */

/** install_spec_new() - nothing asked for yet. Return: 0; -ENOMEM. */
_must_check_ int install_spec_new(struct install_spec **ret);
/** install_spec_set() - "profile=demo", "hub=x", "values.global.hub=x", "meshConfig.a.b=x". Return:
 * 0; -EINVAL, @err set; -ENOMEM. */
_must_check_ int install_spec_set(struct install_spec *s, const char *assignment,
				  char err[CHART_ERROR_MAX]);
/** install_spec_file() - an IstioOperator, or the chart's values. Return: 0; -EINVAL, @err set;
 * other -errno of the file, @err set. */
_must_check_ int install_spec_file(struct install_spec *s, const char *path,
				   char err[CHART_ERROR_MAX]);

/** install_spec_merge() - what install_spec_json() once gave, under what comes later. Return: 0;
 * -ENOMEM. */
_must_check_ int install_spec_merge(struct install_spec *s, const json_t *spec);
/** install_spec_json() - all that was asked for; borrowed. */
json_t *install_spec_json(const struct install_spec *s);

/** install_spec_leave() - what there is one of in a cluster another revision has: the nodes'
 * DaemonSet; the webhook for objects that name no revision. It stays there, unless it is asked for.
 */
void install_spec_leave(struct install_spec *s, bool nodes, bool objects);

/** struct install_plan - what comes of it. */
struct install_plan {
	json_t *values; /* of the chart; the caller's to drop */
	bool has_crds;
	bool has_gateways, has_autoscaler; /* asked for, and not to be had */
};

/** install_spec_plan() - the profile's values with all else over them. Return: 0; -ENOENT no such
 * profile, -EINVAL, also for a MeshConfig that the control plane would refuse; @err set; -ENOMEM.
 */
_must_check_ int install_spec_plan(const struct install_spec *s, struct install_plan *ret,
				   char err[CHART_ERROR_MAX]);

struct install_spec *install_spec_free(struct install_spec *s);
DEFINE_CLEANUP(struct install_spec *, install_spec_free);

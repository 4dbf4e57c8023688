/* SPDX-License-Identifier: Apache-2.0 */
/* distribution - how near the endpoints of a Service or ServiceEntry are to be: Istio's presets. */
#include <string.h>
#include <strings.h>

#include "base/str.h"
#include "model/pack.h"
#include "userspace/lib/xds/workload.pb-c.h"

#define ANNOTATION "networking.istio.io/traffic-distribution"
#define ANY        "Any" /* what Istio calls it when there is none */

typedef Istio__Workload__LoadBalancing load_balancing_msg;
typedef Istio__Workload__LoadBalancing__Scope scope;

/* From far to near; messages point into it. */
static const scope near[] = {
	ISTIO__WORKLOAD__LOAD_BALANCING__SCOPE__NETWORK,
	ISTIO__WORKLOAD__LOAD_BALANCING__SCOPE__REGION,
	ISTIO__WORKLOAD__LOAD_BALANCING__SCOPE__ZONE,
	ISTIO__WORKLOAD__LOAD_BALANCING__SCOPE__SUBZONE,
	ISTIO__WORKLOAD__LOAD_BALANCING__SCOPE__NODE,
};

/* Return: how many of those; 0: no word, or one that nobody knows. */
static size_t depth_of(const char *word, int (*compare)(const char *, const char *))
{
	static const struct {
		const char *word;
		size_t depth;
	} presets[] = {{"PreferClose", 3}, {"PreferSameZone", 3}, {"PreferSameNode", 5}};

	for (size_t i = 0; word && i < ARRAY_SIZE(presets); i++)
		if (compare(word, presets[i].word) == 0)
			return presets[i].depth;
	return 0;
}

/* As Istio: the field is Kubernetes' and exact, of an annotation the case of letters does not
 * matter; whoever says nothing that is known leaves it to the next. */
static size_t depth_wanted(const struct model *m, const struct object *o)
{
	const struct entity *ns = entity_find(m, ENTITY_NAMESPACE, "", o->namespace_);
	size_t depth = depth_of(object_string(o, "spec.trafficDistribution"), strcmp);

	if (depth == 0)
		depth = depth_of(object_annotation(o, ANNOTATION), strcasecmp);
	if (depth == 0 && ns)
		depth = depth_of(object_annotation(ns->object, ANNOTATION), strcasecmp);
	return depth;
}

static void prefer(load_balancing_msg *lb, Istio__Workload__LoadBalancing__Mode mode,
		   const scope *scopes, size_t n)
{
	lb->mode = mode;
	lb->routing_preference = (scope *)scopes;
	lb->n_routing_preference = n;
}

void pack_distribution(const struct model *m, const struct object *o, load_balancing_msg *lb)
{
	const char *local = object_string(o, "spec.internalTrafficPolicy");
	size_t depth = depth_wanted(m, o);

	if (local && streq(local, "Local"))
		prefer(lb, ISTIO__WORKLOAD__LOAD_BALANCING__MODE__STRICT, &near[4], 1);
	else if (depth > 0)
		prefer(lb, ISTIO__WORKLOAD__LOAD_BALANCING__MODE__FAILOVER, near, depth);
}

/* @word: NULL: none. */
static void word_report(struct model *m, const char *field, const char *word,
			int (*compare)(const char *, const char *))
{
	if (word && depth_of(word, compare) == 0 && strcasecmp(word, ANY) != 0)
		report(m, field, true,
		       "not known, so as if it were not there: PreferSameZone, PreferClose or "
		       "PreferSameNode are");
}

void distribution_report(struct model *m, const struct object *o)
{
	word_report(m, "spec.trafficDistribution", object_string(o, "spec.trafficDistribution"),
		    strcmp);
	word_report(m, "metadata.annotations[" ANNOTATION "]", object_annotation(o, ANNOTATION),
		    strcasecmp);
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "ztunnel/baggage.h"

#include <string.h>

#include "base/macros.h"
#include "base/str.h"
#include "ztunnel/state.h"

static size_t put_field(char *into, size_t size, size_t at, const char *name, const char *value)
{
	if (value[0] == '\0' || at + sizeof(",=") + strlen(name) + strlen(value) > size)
		return at;
	return at + str_concat(into + at, size - at, at > 0 ? "," : "", name, "=", value);
}

void baggage_format(const struct workload *w, char *into, size_t size)
{
	static const char *const kinds[] = {
		[WORKLOAD_DEPLOYMENT] = "k8s.deployment.name",
		[WORKLOAD_CRONJOB] = "k8s.cronjob.name",
		[WORKLOAD_POD] = "k8s.pod.name",
		[WORKLOAD_JOB] = "k8s.job.name",
	};
	size_t n = 0;

	into[0] = '\0';
	if (!w)
		return;
	n = put_field(into, size, n, "k8s.cluster.name", w->app->cluster);
	n = put_field(into, size, n, "k8s.namespace.name", w->app->namespace_);
	if ((size_t)w->type < ARRAY_SIZE(kinds))
		n = put_field(into, size, n, kinds[w->type], w->workload_name);
	n = put_field(into, size, n, "service.name", w->app->canonical_name);
	n = put_field(into, size, n, "service.version", w->app->canonical_revision);
	n = put_field(into, size, n, "cloud.region", w->place->region);
	(void)put_field(into, size, n, "cloud.availability_zone", w->place->zone);
}

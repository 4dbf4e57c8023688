/* SPDX-License-Identifier: Apache-2.0 */
#include "ztunnel/baggage.h"

#include <string.h>

#include "base/macros.h"
#include "ztunnel/state.h"

struct name {
	const char *text; /* with what separates it from the value */
	size_t len;
};

#define NAME(text) ((struct name){(text "="), sizeof(text "=") - 1})

struct line {
	char *at;
	size_t size;
	size_t len;
};

/* Copied in pieces: it is written at both ends of each connection. */
static void put_field(struct line *l, struct name name, const char *value)
{
	size_t value_len = strlen(value);
	char *at = l->at + l->len;

	if (value_len == 0 || l->len + sizeof(",") + name.len + value_len > l->size)
		return;
	if (l->len > 0)
		*at++ = ',';
	memcpy(at, name.text, name.len);
	/* with the NUL */
	memcpy(at + name.len, value, value_len + 1);
	l->len = (size_t)(at - l->at) + name.len + value_len;
}

void baggage_format(const struct workload *w, char *into, size_t size)
{
	static const struct name kinds[] = {
		[WORKLOAD_DEPLOYMENT] = NAME("k8s.deployment.name"),
		[WORKLOAD_CRONJOB] = NAME("k8s.cronjob.name"),
		[WORKLOAD_POD] = NAME("k8s.pod.name"),
		[WORKLOAD_JOB] = NAME("k8s.job.name"),
	};
	struct line l = {.at = into, .size = size};

	into[0] = '\0';
	if (!w)
		return;
	put_field(&l, NAME("k8s.cluster.name"), w->app->cluster);
	put_field(&l, NAME("k8s.namespace.name"), w->app->namespace_);
	if ((size_t)w->type < ARRAY_SIZE(kinds))
		put_field(&l, kinds[w->type], w->workload_name);
	put_field(&l, NAME("service.name"), w->app->canonical_name);
	put_field(&l, NAME("service.version"), w->app->canonical_revision);
	put_field(&l, NAME("cloud.region"), w->place->region);
	put_field(&l, NAME("cloud.availability_zone"), w->place->zone);
}

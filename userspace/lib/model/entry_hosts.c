/* SPDX-License-Identifier: Apache-2.0 */
/* entry_hosts - who of several ServiceEntries and Services has a host: in a namespace, and for
 * those namespaces that have none of their own. */
#include <stdio.h>
#include <string.h>

#include "base/str.h"
#include "model/pack.h"

const char *service_entry_since(const struct service_entry *s)
{
	return object_string(s->e.object, "metadata.creationTimestamp");
}

/* The older one has a host that two claim, one of unknown age last; then the first by name. */
static bool precedes(const struct service_entry *a, const struct service_entry *b)
{
	int order = object_compare_age(a->e.object, b->e.object);

	return order ? order < 0 : strcmp(a->e.key, b->e.key) < 0;
}

/* Is it a Service's own? That of type ExternalName is none of ours. */
static bool host_is_service(const struct model *m, const char *ns, const char *host)
{
	const struct entity *service;
	char name[64], full[MODEL_KEY_MAX];
	size_t n = strcspn(host, ".");

	if (n >= sizeof(name))
		return false;
	memcpy(name, host, n);
	name[n] = '\0';
	(void)str_concat(full, sizeof(full), SERVICE_HOST(m, ns, name));
	service = streq(full, host) ? entity_find(m, ENTITY_SERVICE, ns, name) : NULL;
	return service && !service_is_external(service->object);
}

const struct entity *service_entry_rival(const struct model *m, const struct service_entry *s,
					 const char *host)
{
	const struct service_entry *first = s;
	const struct index_link *l;
	char key[MODEL_KEY_MAX];

	if (host_is_service(m, s->e.object->namespace_, host)) {
		(void)snprintf(key, sizeof(key), "%.*s", (int)strcspn(host, "."), host);
		return entity_find(m, ENTITY_SERVICE, s->e.object->namespace_, key);
	}
	(void)snprintf(key, sizeof(key), "%s/%s", s->e.object->namespace_, host);
	index_for_each(l, index_find(&m->entries_by_host, key))
	{
		const struct service_entry *other = l->owner;

		if (precedes(other, first))
			first = other;
	}
	return first == s ? NULL : &first->e;
}

/* Is it a Service's of any namespace? */
static bool host_is_a_service(const struct model *m, const char *host)
{
	size_t name = strcspn(host, "."), n;
	char ns[64];

	if (!host[name])
		return false;
	n = strcspn(host + name + 1, ".");
	if (n >= sizeof(ns))
		return false;
	memcpy(ns, host + name + 1, n);
	ns[n] = '\0';
	return host_is_service(m, ns, host);
}

const struct service_entry *service_entry_first(struct model *m, const char *host)
{
	const struct service_entry *first = NULL;
	const struct index_bucket *b;
	const struct index_link *l;
	char key[MODEL_KEY_MAX];

	(void)snprintf(key, sizeof(key), "/%s", host);
	b = index_find(&m->entries_by_host, key);
	if (!b || host_is_a_service(m, host))
		return NULL;
	/* all that have a host are mostly flushed one after the other */
	if (m->first.bucket == b)
		return m->first.entry;
	index_for_each(l, b)
	{
		const struct service_entry *s = l->owner;

		if ((!first || precedes(s, first)) && service_entry_is_public(m, s) &&
		    !service_entry_rival(m, s, host))
			first = s;
	}
	m->first.bucket = b;
	m->first.entry = first;
	return first;
}

void service_entry_mark_host(struct model *m, const char *ns, const char *host)
{
	const struct index_link *l;
	char key[MODEL_KEY_MAX];

	m->first.bucket = NULL;
	(void)snprintf(key, sizeof(key), "%s/%s", ns, host);
	index_for_each(l, index_find(&m->entries_by_host, key)) service_entry_mark(m, l->owner);
	(void)snprintf(key, sizeof(key), "/%s", host);
	index_for_each(l, index_find(&m->entries_by_host, key))
	{
		struct service_entry *s = l->owner;

		/* there may be one in each of many namespaces, all of which come at once */
		if (list_is_empty(&s->e.dirty))
			service_entry_mark(m, s);
	}
}

void service_entry_mark_hosts(struct model *m, struct service_entry *s)
{
	for (size_t i = 0; i < s->hosts_count; i++)
		service_entry_mark_host(m, s->e.object->namespace_, s->hosts[i].name);
}

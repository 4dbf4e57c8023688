/* SPDX-License-Identifier: Apache-2.0 */
#include "without_effect.h"

#include <errno.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/str.h"
#include "json.h"
#include "kube_kinds.h"
#include "source/honoured.h"

bool without_effect_is(const char *kind)
{
	size_t n;
	const struct honoured_kind *kinds = honoured_none(&n);

	while (n-- > 0)
		if (streq(kinds[n].kind, kind))
			return true;
	return false;
}

static const char *condition_message(const json_t *conditions)
{
	const json_t *c;
	size_t i;

	json_array_foreach (conditions, i, c)
		if (streq(json_text(c, "reason", ""), "NotHonoured"))
			return json_text(c, "message", NULL);
	return NULL;
}

/* The classes that the control plane makes are nobody's mistake. */
static bool is_made_by_us(const json_t *object)
{
	const char *maker = kube_meta(object, "labels", HONOURED_MAKER_LABEL);

	return maker && streq(maker, HONOURED_MAKER);
}

/* Whose a Gateway or a route is, the control plane has found out. */
static const char *status_message(const json_t *object)
{
	static const char *const lists[] = {"parents", "ancestors"};
	const json_t *status = json_object_get(object, "status"), *one;
	const char *message = condition_message(json_object_get(status, "conditions"));
	size_t i;

	for (size_t n = 0; n < ARRAY_SIZE(lists); n++)
		json_array_foreach (json_object_get(status, lists[n]), i, one)
			if (!message)
				message = condition_message(json_object_get(one, "conditions"));
	return message;
}

int without_effect_each(struct kube *k, const char *ns,
			void (*fn)(void *arg, const char *kind, const json_t *object,
				   const char *message),
			void *arg)
{
	size_t n;
	const struct honoured_kind *kinds = honoured_none(&n);
	int r = 0;

	for (size_t i = 0; i < n && (r == 0 || r == -ENOENT); i++) {
		bool is_istios = strstr(kinds[i].versions[0], ".istio.io/") != NULL;
		_cleanup_(json_decrefp) json_t *items = NULL;
		json_t *one;
		size_t at;

		if (ns && streq(kinds[i].kind, "GatewayClass"))
			continue;
		r = kube_list_served(k, kinds[i].versions, ns, kinds[i].plural, &items);
		json_array_foreach (items, at, one) {
			const char *message = is_istios ? kinds[i].message : status_message(one);

			if (message && !is_made_by_us(one))
				fn(arg, kinds[i].kind, one, message);
		}
	}
	return r == -ENOENT ? 0 : r;
}

/* "web", "web.shop", "web.shop.svc.cluster.local", as written in @here. */
static bool is_host(const char *host, const char *here, const char *ns, const char *service)
{
	size_t name = strlen(service), space = strlen(ns);

	if (!host || strncmp(host, service, name) != 0)
		return false;
	if (!host[name])
		return streq(here, ns);
	return host[name] == '.' && strncmp(host + name + 1, ns, space) == 0 &&
	       (!host[name + 1 + space] || str_has_prefix(host + name + 1 + space, ".svc"));
}

static bool is_service(const json_t *ref, const char *here, const char *ns, const char *service)
{
	return streq(json_text(ref, "kind", ""), "Service") &&
	       streq(json_text(ref, "name", ""), service) &&
	       streq(json_text(ref, "namespace", here), ns);
}

bool without_effect_concerns(const json_t *object, const char *ns, const char *service)
{
	const json_t *spec = json_object_get(object, "spec"), *one;
	const char *here = kube_ns(object);
	size_t i;

	if (is_host(json_text(spec, "host", NULL), here, ns, service))
		return true;
	json_array_foreach (json_object_get(spec, "hosts"), i, one)
		if (is_host(json_string_value(one), here, ns, service))
			return true;
	json_array_foreach (json_object_get(spec, "parentRefs"), i, one)
		if (is_service(one, here, ns, service))
			return true;
	json_array_foreach (json_object_get(spec, "targetRefs"), i, one)
		if (is_service(one, here, ns, service))
			return true;
	return false;
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "redact.h"

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "base/macros.h"

#define DEPTH_MAX 64
#define HIDDEN    "<left out>"

static bool is_secret_key(const char *key)
{
	static const char *const parts[] = {"token",      "password",   "passwd",     "secret",
					    "credential", "privatekey", "private_key"};
	/* names of things that only sound like one */
	static const char *const fine[] = {"secretName", "imagePullSecrets",
					   "automountServiceAccountToken", "serviceAccountToken",
					   "secret"};

	for (size_t i = 0; i < ARRAY_SIZE(fine); i++)
		if (streq(fine[i], key))
			return false;
	for (size_t i = 0; i < ARRAY_SIZE(parts); i++)
		if (strcasestr(key, parts[i]))
			return true;
	return streq(key, "kubectl.kubernetes.io/last-applied-configuration");
}

static bool is_secret_text(const json_t *v)
{
	const char *s = json_string_value(v);

	return s && strstr(s, "PRIVATE KEY-----");
}

/* {name, value} of a container's env */
static bool is_variable(const json_t *v)
{
	return json_is_string(json_object_get(v, "name")) &&
	       json_is_string(json_object_get(v, "value"));
}

/* NOLINTNEXTLINE(misc-no-recursion): bounded by DEPTH_MAX */
static void walk(json_t *v, int depth)
{
	json_t *child;
	const char *key;
	size_t i;
	void *tmp;

	if (depth > DEPTH_MAX)
		return;
	if (is_variable(v))
		(void)json_object_set_new(v, "value", json_string(HIDDEN));
	(void)json_object_del(v, "managedFields");
	json_object_foreach_safe (v, tmp, key, child) {
		if (is_secret_text(child) || (json_is_string(child) && is_secret_key(key)))
			(void)json_object_set_new(v, key, json_string(HIDDEN));
		else
			walk(child, depth + 1);
	}
	json_array_foreach (v, i, child) {
		if (is_secret_text(child))
			(void)json_array_set_new(v, i, json_string(HIDDEN));
		else
			walk(child, depth + 1);
	}
}

void redact_json(json_t *v)
{
	walk(v, 0);
}

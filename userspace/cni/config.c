/* SPDX-License-Identifier: Apache-2.0 */
#include "config.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/json.h"
#include "base/str.h"
#include "culvert/cni.h"

#define VERSION_UNSAID "0.1.0" /* by the specification: a configuration without cniVersion */
#define GRACE_MAX_S    (7 * 24 * 3600)

static const char *const versions[] = {CNI_VERSIONS, NULL};

const char *const *config_versions(void)
{
	return versions;
}

static int version_rank(const char *version)
{
	for (int i = 0; versions[i]; i++)
		if (streq(versions[i], version))
			return i;
	return -1;
}

bool config_version_reaches(const struct config *c, const char *since)
{
	return version_rank(c->version) >= version_rank(since);
}

static int fail(struct config *c, enum config_error code, const char *what, const char *found)
{
	c->code = code;
	(void)snprintf(c->error, sizeof(c->error), "%s%s%.100s%s", what, found ? " \"" : "",
		       found ? found : "", found ? "\"" : "");
	(void)str_utf8(c->error);
	return -EINVAL;
}

/* ---- the text of one value, as it was written ---- */

static const char *space_skip(const char *p)
{
	while (json_is_blank(*p))
		p++;
	return p;
}

/* @p is at the first quote. Return: behind the last. */
static const char *string_skip(const char *p)
{
	for (p++; *p != '"'; p++)
		if (*p == '\\')
			p++;
	return p + 1;
}

static const char *scalar_skip(const char *p)
{
	while (*p && !strchr(",]} \t\n\r", *p))
		p++;
	return p;
}

static const char *value_skip(const char *p)
{
	unsigned int depth = 0;

	do {
		if (*p == '"') {
			p = string_skip(p);
			continue;
		}
		if (*p == '{' || *p == '[')
			depth++;
		else if (*p == '}' || *p == ']')
			depth--;
		else if (depth == 0)
			return scalar_skip(p);
		p++;
	} while (depth > 0);
	return p;
}

/* @text is known to be JSON, an object: jansson has read it. */
static const char *member_find(const char *text, const char *key, size_t *ret_len)
{
	const char *p = space_skip(space_skip(text) + 1);

	while (*p == '"') {
		const char *name = p + 1, *name_end, *value;
		bool is_it;

		p = string_skip(p);
		name_end = p - 1;
		value = space_skip(space_skip(p) + 1); /* behind the colon */
		is_it = (size_t)(name_end - name) == strlen(key) &&
			memcmp(name, key, strlen(key)) == 0;
		p = value_skip(value);
		if (is_it) {
			*ret_len = (size_t)(p - value);
			return value;
		}
		p = space_skip(p);
		p = space_skip(*p == ',' ? p + 1 : p);
	}
	return NULL;
}

/* ---- fields ---- */

static int version_read(struct config *c)
{
	const json_t *version = json_object_get(c->root, "cniVersion");

	c->version = version ? json_string_value(version) : VERSION_UNSAID;
	if (!c->version)
		return fail(c, CONFIG_ERROR_DECODE, "cniVersion: expected a string", NULL);
	if (version_rank(c->version) < 0)
		return fail(c, CONFIG_ERROR_VERSION,
			    "cniVersion: expected one of 0.3.0 to 1.1.0, found", c->version);
	return 0;
}

static int own_read(struct config *c)
{
	const json_t *socket = json_object_get(c->root, "agentSocket");
	const json_t *grace = json_object_get(c->root, "agentAwayGraceSeconds");

	c->socket = socket ? json_string_value(socket) : CNI_RUN_DIR "/" CNI_SOCKET_NAME;
	if (!c->socket || c->socket[0] != '/')
		return fail(c, CONFIG_ERROR_INVALID, "agentSocket: expected an absolute path",
			    NULL);
	c->exempt = json_object_get(c->root, "exemptNamespaces");
	if (c->exempt && !json_is_array(c->exempt))
		return fail(c, CONFIG_ERROR_INVALID, "exemptNamespaces: expected a list of names",
			    NULL);
	if (grace && (!json_is_integer(grace) || json_integer_value(grace) < 0 ||
		      json_integer_value(grace) > GRACE_MAX_S))
		return fail(c, CONFIG_ERROR_INVALID,
			    "agentAwayGraceSeconds: expected seconds, 0 to 604800", NULL);
	c->grace_s = (unsigned int)json_integer_value(grace);
	return 0;
}

static int prev_read(struct config *c, const char *text)
{
	const json_t *prev = json_object_get(c->root, "prevResult");

	if (!prev || json_is_null(prev))
		return 0;
	if (!json_is_object(prev))
		return fail(c, CONFIG_ERROR_DECODE, "prevResult: expected an object", NULL);
	c->prev = member_find(text, "prevResult", &c->prev_len);
	/* Its name was written with escapes: nobody does. */
	return c->prev ? 0 : fail(c, CONFIG_ERROR_DECODE, "prevResult: not found", NULL);
}

int config_read(const char *text, size_t len, struct config *ret)
{
	json_error_t error;
	int r;

	*ret = (struct config){.version = VERSION_UNSAID};
	if (strnlen(text, len) != len)
		return fail(ret, CONFIG_ERROR_DECODE, "standard input: expected JSON", NULL);
	ret->root = json_loadb(text, len, JSON_REJECT_DUPLICATES, &error);
	if (!ret->root)
		return fail(ret, CONFIG_ERROR_DECODE, "standard input: expected JSON, found",
			    error.text);
	if (!json_is_object(ret->root))
		return fail(ret, CONFIG_ERROR_DECODE, "standard input: expected an object", NULL);
	r = version_read(ret);
	if (r == 0)
		r = own_read(ret);
	return r < 0 ? r : prev_read(ret, text);
}

void config_clear(struct config *c)
{
	json_decref(c->root);
	c->root = NULL;
}

/* The agent's own pod, which nobody else could let start; and one that is never in the mesh. */
static bool is_always_exempt(const char *namespace_)
{
	return streq(namespace_, "istio-system") || streq(namespace_, "kube-system");
}

bool config_is_exempt(const struct config *c, const char *namespace_)
{
	const json_t *one;
	size_t i;

	if (is_always_exempt(namespace_))
		return true;
	json_array_foreach (c->exempt, i, one) {
		const char *name = json_string_value(one);

		if (name && streq(name, namespace_))
			return true;
	}
	return false;
}

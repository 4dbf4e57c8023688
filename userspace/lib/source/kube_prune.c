/* SPDX-License-Identifier: Apache-2.0 */
#include "source/kube_prune.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "base/macros.h"

struct shape;

/** struct part - a key that is named. */
struct part {
	const char *key;
	const struct shape *inside; /* what of its value stays; NULL: see @keeps_rest */
};

/** struct shape - what of an object, or of each object of a list, stays. */
struct shape {
	const struct part *parts;
	bool keeps_rest; /* keys that are named go, others stay; else the other way round */
};

#define PARTS(...)                                                                                 \
	(const struct part[])                                                                      \
	{                                                                                          \
		__VA_ARGS__,                                                                       \
		{                                                                                  \
			NULL, NULL                                                                 \
		}                                                                                  \
	}
#define KEEP(...)                                                                                  \
	{                                                                                          \
		.parts = PARTS(__VA_ARGS__)                                                        \
	}
#define DROP(...)                                                                                  \
	{                                                                                          \
		.parts = PARTS(__VA_ARGS__), .keeps_rest = true                                    \
	}
/* clang-format off */
#define K(name)    {name, NULL}
/* clang-format on */

static const struct shape annotations = DROP(K("kubectl.kubernetes.io/last-applied-configuration"));
static const struct shape owner = KEEP(K("kind"), K("name"), K("controller"));
/* resourceVersion is read before it goes */
static const struct shape metadata = DROP({"annotations", &annotations}, K("managedFields"),
					  {"ownerReferences", &owner}, K("selfLink"));

static const struct shape container = KEEP(K("name"), K("ports"), K("restartPolicy"));
static const struct shape pod_spec = KEEP(
	K("nodeName"), K("serviceAccountName"), K("serviceAccount"), K("hostNetwork"),
	K("hostname"), K("subdomain"), {"containers", &container}, {"initContainers", &container});
static const struct shape condition = KEEP(K("type"), K("status"));
static const struct shape pod_status =
	KEEP(K("phase"), K("podIP"), K("podIPs"), K("hostIP"), {"conditions", &condition});
static const struct shape node_status = KEEP(K("addresses"));
static const struct shape reference = KEEP(K("kind"), K("name"));
static const struct shape only_ready = KEEP(K("ready"));
static const struct shape endpoint =
	KEEP(K("addresses"), {"conditions", &only_ready}, {"targetRef", &reference}, K("nodeName"),
	     K("zone"), K("hostname"));
/* A pod is known by its name: what a slice says of it besides is the pod's own to say. */
static const struct shape pod_endpoint = KEEP(K("conditions"), K("targetRef"));

static const struct shape any = DROP({"metadata", &metadata});
static const struct shape pod =
	DROP({"metadata", &metadata}, {"spec", &pod_spec}, {"status", &pod_status});
static const struct shape node_spec = KEEP(K("podCIDR"), K("podCIDRs"), K("taints"));
static const struct shape node =
	DROP({"metadata", &metadata}, {"spec", &node_spec}, {"status", &node_status});
static const struct shape slice = DROP({"metadata", &metadata}, {"endpoints", &endpoint});

static const struct shape *shape_of(const char *kind)
{
	if (!kind)
		return &any;
	if (streq(kind, "Pod"))
		return &pod;
	if (streq(kind, "Node"))
		return &node;
	return streq(kind, "EndpointSlice") ? &slice : &any;
}

static const struct part *part_find(const struct shape *s, const char *key, size_t len)
{
	for (const struct part *p = s->parts; p->key; p++)
		if (strlen(p->key) == len && memcmp(p->key, key, len) == 0)
			return p;
	return NULL;
}

static bool is_dropped(const struct shape *s, const struct part *p)
{
	return (p && !p->inside && s->keeps_rest) || (!p && !s->keeps_rest);
}

static void tree_cut(json_t *value, const struct shape *s)
{
	const char *key;
	json_t *child;
	void *next;

	json_object_foreach_safe (value, next, key, child) {
		const struct part *p = part_find(s, key, strlen(key));
		size_t i;
		json_t *one;

		if (is_dropped(s, p)) {
			(void)json_object_del(value, key);
			continue;
		}
		if (!p || !p->inside)
			continue;
		tree_cut(child, p->inside);
		json_array_foreach (child, i, one)
			tree_cut(one, p->inside);
	}
}

static void endpoint_cut(json_t *one)
{
	const json_t *ref = json_object_get(one, "targetRef");
	const char *kind = json_string_value(json_object_get(ref, "kind"));
	const json_t *conditions = json_object_get(one, "conditions");

	if (kind && streq(kind, "Pod") && json_string_value(json_object_get(ref, "name")))
		tree_cut(one, &pod_endpoint);
	if (!json_is_false(json_object_get(conditions, "ready")))
		(void)json_object_del(one, "conditions");
}

void kube_prune(const char *kind, json_t *body)
{
	json_t *one;
	size_t i;

	tree_cut(body, shape_of(kind));
	(void)json_object_del(json_object_get(body, "metadata"), "resourceVersion");
	if (!streq(kind, "EndpointSlice"))
		return;
	json_array_foreach (json_object_get(body, "endpoints"), i, one)
		endpoint_cut(one);
}

/** struct cut - a text on its way through: never more is written than was read. */
struct cut {
	const char *p, *end;
	char *to;
	bool is_odd; /* no JSON */
};

/* Behind the string that begins at @p, or @end. */
static const char *skip_string(const char *p, const char *end)
{
	for (p++; p < end && *p != '"'; p++)
		p += *p == '\\';
	return p < end ? p + 1 : end;
}

/* Behind the list or object that begins at @p, or @end. */
static const char *skip_nested(const char *p, const char *end)
{
	size_t depth = 0;

	while (p < end) {
		if (*p == '"') {
			p = skip_string(p, end);
			continue;
		}
		if (*p == '[' || *p == '{')
			depth++;
		if ((*p == ']' || *p == '}') && --depth == 0)
			return p + 1;
		p++;
	}
	return end;
}

static const char *skip_value(const char *p, const char *end)
{
	if (p < end && *p == '"')
		return skip_string(p, end);
	if (p < end && (*p == '{' || *p == '['))
		return skip_nested(p, end);
	while (p < end && !json_is_blank(*p) && *p != ',' && *p != ']' && *p != '}')
		p++;
	return p;
}

/* What comes next, blanks aside; 0: the end. */
static char next_of(struct cut *c)
{
	while (c->p < c->end && json_is_blank(*c->p))
		c->p++;
	return c->p < c->end ? *c->p : '\0';
}

/* Copy a character that must come now. */
static void expect(struct cut *c, char wanted)
{
	if (next_of(c) != wanted)
		c->is_odd = true;
	else
		*c->to++ = *c->p++;
}

static void copy_to(struct cut *c, const char *end)
{
	c->to = mempcpy(c->to, c->p, (size_t)(end - c->p));
	c->p = end;
}

static void value_cut(struct cut *c, const struct shape *s);

static void member_cut(struct cut *c, const struct shape *s, bool *is_first)
{
	const char *key, *key_end, *value;
	struct cut at = *c;
	const struct part *p;

	if (next_of(&at) != '"') {
		c->is_odd = true;
		return;
	}
	key = at.p + 1;
	key_end = at.p = skip_string(at.p, at.end);
	if (next_of(&at) != ':') {
		c->is_odd = true;
		return;
	}
	at.p++;
	(void)next_of(&at);
	value = at.p;
	p = part_find(s, key, (size_t)(key_end - key) - 1);
	if (is_dropped(s, p)) {
		c->p = skip_value(value, c->end);
		return;
	}
	if (!*is_first)
		*c->to++ = ',';
	*is_first = false;
	c->p = key - 1;
	copy_to(c, key_end);
	*c->to++ = ':';
	c->p = value;
	if (p && p->inside)
		value_cut(c, p->inside);
	else
		copy_to(c, skip_value(value, c->end));
}

static void object_cut(struct cut *c, const struct shape *s)
{
	bool is_first = true;

	expect(c, '{');
	if (next_of(c) == '}') {
		expect(c, '}');
		return;
	}
	for (;;) {
		member_cut(c, s, &is_first);
		if (c->is_odd || next_of(c) != ',')
			break;
		c->p++;
	}
	if (!c->is_odd)
		expect(c, '}');
}

static void list_cut(struct cut *c, const struct shape *s)
{
	expect(c, '[');
	if (next_of(c) == ']') {
		expect(c, ']');
		return;
	}
	for (;;) {
		if (next_of(c) == '{')
			object_cut(c, s);
		else
			copy_to(c, skip_value(c->p, c->end));
		if (c->is_odd || next_of(c) != ',')
			break;
		expect(c, ',');
	}
	if (!c->is_odd)
		expect(c, ']');
}

static void value_cut(struct cut *c, const struct shape *s)
{
	if (next_of(c) == '{')
		object_cut(c, s);
	else if (next_of(c) == '[')
		list_cut(c, s);
	else
		copy_to(c, skip_value(c->p, c->end));
}

char *kube_prune_text(const char *kind, const char *text, size_t len, size_t *ret_len)
{
	char *copy = malloc(len + 1);
	struct cut c = {.p = text, .end = text + len, .to = copy};

	if (!copy)
		return NULL;
	if (next_of(&c) == '{')
		object_cut(&c, shape_of(kind));
	else
		c.is_odd = true;
	(void)next_of(&c);
	if (c.is_odd || c.p < c.end) {
		/* whoever parses it says what is wrong */
		memcpy(copy, text, len);
		c.to = copy + len;
	}
	*ret_len = (size_t)(c.to - copy);
	return copy;
}

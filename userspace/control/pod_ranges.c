/* SPDX-License-Identifier: Apache-2.0 */
#include "pod_ranges.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/map.h"
#include "base/str.h"
#include "net/cidr.h"
#include "userspace/lib/xds/node.pb-c.h"

#define FILE_NAME  "pod ranges" /* under which it stands among the problems */
#define NODE_NAME  "*"          /* that no Node can have */
#define SEPARATORS ", "

struct pod_ranges {
	const char *list;
	struct problems *problems;
	struct map *nodes; /* name -> &says, &says_not */
	size_t n_say;
	bool is_missed; /* told */
};

/* Whether a Node has ranges: values of @nodes. */
static char says, says_not;

/* The next of @rest that is not empty. Return: NULL: there is none. */
static char *range_next(char **rest)
{
	char *one;

	do
		one = strsep(rest, SEPARATORS);
	while (one && !*one);
	return one;
}

int pod_ranges_check(const char *list, char *err, size_t err_size)
{
	_cleanup_(freep) char *copy = strdup(list ? list : "");
	char *rest = copy, *one;
	struct cidr c;

	if (!copy) {
		(void)snprintf(err, err_size, "out of memory");
		return -ENOMEM;
	}
	while ((one = range_next(&rest)))
		if (cidr_parse(one, &c) < 0) {
			(void)snprintf(err, err_size,
				       "--pod-ranges: %.64s: expected ranges such as "
				       "10.0.0.0/8,fd00::/8",
				       one);
			return -EINVAL;
		}
	return 0;
}

int pod_ranges_tell(const struct pod_ranges *p, struct xds_server *xds)
{
	size_t n = strlen(p->list) / 2 + 1; /* what there is room for */
	_cleanup_(freep) char *copy = strdup(p->list);
	_cleanup_(freep) char **ranges = calloc(n, sizeof(*ranges));
	_cleanup_(freep) uint8_t *packed = NULL;
	Culvert__Node__Node m = CULVERT__NODE__NODE__INIT;
	char *rest = copy, *one;
	size_t len;

	if (!copy || !ranges)
		return -ENOMEM;
	while ((one = range_next(&rest)))
		ranges[m.n_pod_ranges++] = one;
	if (!m.n_pod_ranges)
		return 0;
	m.name = (char *)(uintptr_t)NODE_NAME;
	m.pod_ranges = ranges;
	len = culvert__node__node__get_packed_size(&m);
	packed = malloc(len);
	if (!packed)
		return -ENOMEM;
	(void)culvert__node__node__pack(&m, packed);
	return xds_server_set(xds, XDS_NODE, NODE_NAME, packed, len);
}

static bool has_ranges(const struct object *node)
{
	return json_array_size(object_value(node, "spec.podCIDRs")) > 0 ||
	       object_string(node, "spec.podCIDR");
}

void pod_ranges_put(struct pod_ranges *p, const struct object *obj)
{
	bool is_there;

	if (!streq(obj->kind, "Node"))
		return;
	is_there = has_ranges(obj);
	pod_ranges_delete(p, obj);
	/* no memory: it counts for nothing */
	if (map_put_str(p->nodes, obj->name, is_there ? &says : &says_not) == 0)
		p->n_say += is_there;
}

void pod_ranges_delete(struct pod_ranges *p, const struct object *obj)
{
	if (streq(obj->kind, "Node") && map_del_str(p->nodes, obj->name) == &says)
		p->n_say--;
}

/* One that is new may say it a moment later: only where none does is it nobody's to say. */
void pod_ranges_settle(struct pod_ranges *p)
{
	bool is_given = p->list[strspn(p->list, SEPARATORS)];
	bool is_missed = map_count(p->nodes) > 0 && !p->n_say && !is_given;
	const struct source_error err = {
		.file = FILE_NAME,
		.kind = "",
		.namespace_ = "",
		.name = "",
		.field = "",
		.message = "no Node says what addresses its pods have (spec.podCIDRs), nor does "
			   "--pod-ranges (pilot.podRanges of the chart): while a node's agent or "
			   "control plane is away, its pods dial pods that are new in plaintext",
		.is_warning = true,
	};

	if (!p->problems || is_missed == p->is_missed)
		return;
	p->is_missed = is_missed;
	problems_set(p->problems, &err, is_missed);
}

int pod_ranges_new(const char *list, struct problems *problems, struct pod_ranges **ret)
{
	_cleanup_(pod_ranges_freep) struct pod_ranges *p = calloc(1, sizeof(*p));
	int r;

	if (!p)
		return -ENOMEM;
	p->list = list ? list : "";
	p->problems = problems;
	r = map_new(&p->nodes);
	if (r < 0)
		return r;
	*ret = TAKE_PTR(p);
	return 0;
}

struct pod_ranges *pod_ranges_free(struct pod_ranges *p)
{
	if (p)
		map_free(p->nodes);
	free(p);
	return NULL;
}

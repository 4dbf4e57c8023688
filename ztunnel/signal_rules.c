/* SPDX-License-Identifier: Apache-2.0 */
#include "ztunnel/signal_rules.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/str.h"
#include "userspace/lib/xds/node.pb-c.h"
#include "xds/signal_attributes.h"
#include "ztunnel/arena.h"

static bool is_tagged(const struct signal_rules *r, const char *name, uint32_t metrics)
{
	for (size_t i = 0; i < r->tags_count; i++)
		if (r->tags[i].metrics & metrics && streq(r->tags[i].name, name))
			return true;
	return false;
}

/* Into the arena. Return: 0, with NULL for what this version does not understand; -ENOMEM. */
static int expression_decode(const char *text, enum signal_known latest, struct arena *arena,
			     const struct cel **ret)
{
	struct cel_problem problem;
	struct cel *c = NULL;
	void *copy;
	int r;

	*ret = NULL;
	if (!*text)
		return 0;
	r = signal_expression(text, latest, &c, &problem);
	if (r < 0)
		return r == -ENOMEM ? r : 0;
	copy = arena_alloc(arena, 1, cel_size(c));
	if (copy)
		*ret = memcpy(copy, c, cel_size(c));
	free(c);
	return copy ? 0 : -ENOMEM;
}

static int tag_decode(const Culvert__Node__Telemetry__Tag *t, struct arena *arena,
		      struct signal_tag *tag)
{
	tag->metrics = t->metrics ? t->metrics & SIGNAL_ALL : SIGNAL_ALL;
	tag->name = arena_str(arena, t->name);
	if (!tag->name)
		return -ENOMEM;
	if (t->is_removed)
		return 0;
	tag->value = arena_str(arena, t->value);
	if (!tag->value)
		return -ENOMEM;
	return expression_decode(t->expression, SIGNAL_OF_CONN, arena, &tag->expression);
}

static int tags_decode(const Culvert__Node__Telemetry *m, struct arena *arena,
		       struct signal_rules *r)
{
	struct signal_tag *tags = arena_alloc(arena, m->n_tags + 1, sizeof(*tags));

	if (!tags)
		return -ENOMEM;
	for (size_t i = 0; i < m->n_tags; i++) {
		int err = tag_decode(m->tags[i], arena, &tags[i]);

		if (err < 0)
			return err;
		if (!str_is_metric_label(tags[i].name) ||
		    is_tagged(r, tags[i].name, tags[i].metrics))
			return -EINVAL;
		r->has_metric_tags |= tags[i].metrics != SIGNAL_ALL;
		r->has_conn_tags |=
			tags[i].expression && !signal_expression_is_of_pair(tags[i].expression);
		r->tags = tags;
		r->tags_count = i + 1;
	}
	return 0;
}

int signal_rules_decode(const Culvert__Node__Telemetry *m, struct arena *arena,
			const struct signal_rules **ret)
{
	struct signal_rules *r;
	int err;

	*ret = NULL;
	if (!m)
		return 0;
	if (m->n_tags > SIGNAL_TAGS_MAX)
		return -EINVAL;
	r = arena_alloc(arena, 1, sizeof(*r));
	if (!r)
		return -ENOMEM;
	if (m->access_log == CULVERT__NODE__TELEMETRY__SWITCH__ON)
		r->access_log = SIGNAL_ON;
	else if (m->access_log == CULVERT__NODE__TELEMETRY__SWITCH__OFF)
		r->access_log = SIGNAL_OFF;
	r->metrics_off = m->metrics_off & SIGNAL_ALL;
	err = expression_decode(m->log_filter, SIGNAL_OF_END, arena, &r->log_filter);
	if (err == 0)
		err = tags_decode(m, arena, r);
	if (err < 0)
		return err;
	if (r->log_filter && cel_result(r->log_filter) != CEL_BOOL)
		return -EINVAL;
	*ret = r;
	return 0;
}

const struct signal_tag *signal_rules_tag(const struct signal_rules *r, const char *name,
					  enum signal_metric metric)
{
	for (size_t i = 0; r && i < r->tags_count; i++)
		if (r->tags[i].metrics & metric && streq(r->tags[i].name, name))
			return &r->tags[i];
	return NULL;
}

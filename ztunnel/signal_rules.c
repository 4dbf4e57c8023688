/* SPDX-License-Identifier: Apache-2.0 */
#include "ztunnel/signal_rules.h"

#include <ctype.h>
#include <errno.h>
#include <string.h>

#include "base/str.h"
#include "userspace/lib/xds/node.pb-c.h"
#include "ztunnel/arena.h"

static bool is_label_name(const char *s)
{
	if ((!isalpha((unsigned char)*s) && *s != '_') || str_has_prefix(s, "__"))
		return false;
	while (isalnum((unsigned char)*s) || *s == '_')
		s++;
	return *s == '\0';
}

static int tags_decode(const Culvert__Node__Telemetry *m, struct arena *arena,
		       struct signal_rules *r)
{
	struct signal_tag *tags = arena_alloc(arena, m->n_tags + 1, sizeof(*tags));

	if (!tags)
		return -ENOMEM;
	for (size_t i = 0; i < m->n_tags; i++) {
		const Culvert__Node__Telemetry__Tag *t = m->tags[i];

		if (!is_label_name(t->name) || signal_rules_tag(r, t->name))
			return -EINVAL;
		tags[i].name = arena_str(arena, t->name);
		tags[i].value = t->is_removed ? NULL : arena_str(arena, t->value);
		if (!tags[i].name || (!t->is_removed && !tags[i].value))
			return -ENOMEM;
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
	err = tags_decode(m, arena, r);
	if (err < 0)
		return err;
	*ret = r;
	return 0;
}

const struct signal_tag *signal_rules_tag(const struct signal_rules *r, const char *name)
{
	for (size_t i = 0; r && i < r->tags_count; i++)
		if (streq(r->tags[i].name, name))
			return &r->tags[i];
	return NULL;
}

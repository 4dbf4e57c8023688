/* SPDX-License-Identifier: Apache-2.0 */
#include "kinds.h"

#include <errno.h>
#include <stdlib.h>

#include "base/log.h"
#include "base/map.h"

struct kinds {
	struct map *counts; /* kind -> struct kinds_count */
};

int kinds_new(struct kinds **ret)
{
	_cleanup_(kinds_freep) struct kinds *k = calloc(1, sizeof(*k));
	int r = k ? map_new(&k->counts) : -ENOMEM;

	if (r == 0)
		*ret = TAKE_PTR(k);
	return r;
}

struct kinds *kinds_free(struct kinds *k)
{
	if (!k)
		return NULL;
	if (k->counts)
		map_for_each (k->counts, it)
			free(it.value);
	(void)map_free(k->counts);
	free(k);
	return NULL;
}

static struct kinds_count *count_make(struct kinds *k, const char *kind)
{
	struct kinds_count *n = calloc(1, sizeof(*n));

	if (n && map_put_str(k->counts, kind, n) < 0) {
		free(n);
		return NULL;
	}
	return n;
}

void kinds_count(struct kinds *k, const char *kind, enum kinds_event event)
{
	struct kinds_count *n = map_get_str(k->counts, kind);

	if (!n)
		n = count_make(k, kind);
	if (!n) {
		log_debug("control", "object not counted kind=%s", kind);
		return;
	}
	n->events[event]++;
	if (event == KINDS_ADD)
		n->objects++;
	else if (event == KINDS_DELETE && n->objects > 0)
		n->objects--;
}

void kinds_for_each(const struct kinds *k,
		    void (*fn)(void *arg, const char *kind, const struct kinds_count *count),
		    void *arg)
{
	map_for_each (k->counts, it)
		fn(arg, it.key, it.value);
}

const char *kinds_event_name(enum kinds_event event)
{
	static const char *const names[KINDS_EVENT_MAX] = {
		[KINDS_ADD] = "add", [KINDS_UPDATE] = "update", [KINDS_DELETE] = "delete"};

	return names[event];
}

/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* heard - writes down, line by line, what a source says. For the tests of this folder. */
#include <stdio.h>
#include <string.h>

#include "source/source.h"

struct heard {
	char text[8192];
	unsigned int synced;
	int64_t generation; /* of the last error */
};

static inline void heard_add(struct heard *h, const char *what, const char *rest)
{
	size_t n = strlen(h->text);

	(void)snprintf(h->text + n, sizeof(h->text) - n, "%s%s%s\n", what, *rest ? " " : "", rest);
}

static inline void heard_object(struct heard *h, const char *what, const struct object *o)
{
	char line[512];

	(void)snprintf(line, sizeof(line), "%s %s/%s%s", o->kind, o->namespace_, o->name,
		       o->is_invalid ? " invalid" : "");
	heard_add(h, what, line);
}

static inline void heard_put(void *arg, struct object *o)
{
	heard_object(arg, "put", o);
}

static inline void heard_delete(void *arg, struct object *o)
{
	heard_object(arg, "delete", o);
}

static inline void heard_error(void *arg, const struct source_error *err)
{
	struct heard *h = arg;
	char line[1024];

	(void)source_error_format(err, line, sizeof(line));
	heard_add(h, "error", line);
	h->generation = err->generation;
}

static inline void heard_cleared(void *arg, const char *file)
{
	heard_add(arg, "cleared", file);
}

static inline void heard_synced(void *arg)
{
	((struct heard *)arg)->synced++;
}

static inline void heard_stale(void *arg, const char *kind, uint64_t since_us, bool is_refused)
{
	struct heard *h = arg;
	char line[128];

	(void)snprintf(line, sizeof(line), "%s%s, synced %u", kind ? kind : "no longer",
		       is_refused ? " (refused)" : "", h->synced);
	heard_add(h, "stale", line);
}

static const struct source_ops heard_ops = {
	.on_put = heard_put,
	.on_delete = heard_delete,
	.on_error = heard_error,
	.on_error_cleared = heard_cleared,
	.on_synced = heard_synced,
	.on_stale = heard_stale,
};

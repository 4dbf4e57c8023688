/* SPDX-License-Identifier: Apache-2.0 */
#include "problems.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/list.h"
#include "base/log.h"
#include "base/str.h"

#define PROBLEMS_MAX 10000
#define LINE_MAX_LEN 2048

struct problem {
	struct list link;
	enum problem_origin origin;
	unsigned int line;
	int64_t generation;
	bool is_warning;
	bool hides_policy;
	bool is_waited_for; /* and that was logged */
	bool is_cleared;    /* until the next settle */
	char *file, *kind, *namespace_, *name, *field, *message;
};

struct problems {
	struct list all;
	size_t n;
	bool is_short; /* one that hides a policy was not kept */
};

static void problem_free(struct problems *p, struct problem *e)
{
	list_del(&e->link);
	p->n--;
	free(e->file);
	free(e->kind);
	free(e->namespace_);
	free(e->name);
	free(e->field);
	free(e->message);
	free(e);
}

int problems_new(struct problems **ret)
{
	struct problems *p = calloc(1, sizeof(*p));

	if (!p)
		return -ENOMEM;
	list_init(&p->all);
	*ret = p;
	return 0;
}

struct problems *problems_free(struct problems *p)
{
	struct problem *e, *tmp;

	if (!p)
		return NULL;
	list_for_each_entry_safe (e, tmp, &p->all, link)
		problem_free(p, e);
	free(p);
	return NULL;
}

void problems_clear_file(struct problems *p, const char *file)
{
	struct problem *e;

	list_for_each_entry (e, &p->all, link)
		if (e->origin == PROBLEM_SOURCE && streq(e->file, file))
			e->is_cleared = true;
}

void problems_clear_object(struct problems *p, const char *kind, const char *namespace_,
			   const char *name)
{
	struct problem *e;

	list_for_each_entry (e, &p->all, link)
		if (e->origin == PROBLEM_MODEL && streq(e->kind, kind) &&
		    streq(e->namespace_, namespace_) && streq(e->name, name))
			e->is_cleared = true;
}

static struct problem *problem_find(struct problems *p, enum problem_origin origin,
				    const struct source_error *err)
{
	struct problem *e;

	list_for_each_entry (e, &p->all, link)
		if (e->origin == origin && streq(e->file, err->file) && streq(e->kind, err->kind) &&
		    streq(e->namespace_, err->namespace_) && streq(e->name, err->name) &&
		    streq(e->field, err->field) && streq(e->message, err->message))
			return e;
	return NULL;
}

static void problem_keep(struct problems *p, enum problem_origin origin,
			 const struct source_error *err)
{
	bool is_kept = p->n < PROBLEMS_MAX || err->hides_policy;
	struct problem *e = is_kept ? calloc(1, sizeof(*e)) : NULL;

	p->is_short |= !e && err->hides_policy;
	if (!e)
		return;
	list_add_tail(&p->all, &e->link);
	p->n++;
	e->origin = origin;
	e->line = err->line;
	e->generation = err->generation;
	e->is_warning = err->is_warning;
	e->hides_policy = err->hides_policy;
	e->file = strdup(err->file);
	e->kind = strdup(err->kind);
	e->namespace_ = strdup(err->namespace_);
	e->name = strdup(err->name);
	e->field = strdup(err->field);
	e->message = strdup(err->message);
	if (!e->file || !e->kind || !e->namespace_ || !e->name || !e->field || !e->message) {
		p->is_short |= err->hides_policy;
		problem_free(p, e);
	}
}

void problems_add(struct problems *p, enum problem_origin origin, const struct source_error *err)
{
	struct problem *known = problem_find(p, origin, err);
	char text[LINE_MAX_LEN];

	if (known) {
		known->is_cleared = false;
		known->line = err->line;
		known->generation = err->generation;
		return;
	}
	problem_keep(p, origin, err);
	(void)source_error_format(err, text, sizeof(text));
	if (err->is_warning)
		log_warn("config", "%s", text);
	else
		log_error("config", "%s", text);
}

void problems_settle(struct problems *p)
{
	struct problem *e, *tmp;

	list_for_each_entry_safe (e, tmp, &p->all, link)
		if (e->is_cleared)
			problem_free(p, e);
}

void problems_set(struct problems *p, const struct source_error *err, bool is_there)
{
	problems_clear_file(p, err->file);
	if (is_there)
		problems_add(p, PROBLEM_SOURCE, err);
	problems_settle(p);
}

void problems_for_each(const struct problems *p,
		       void (*fn)(void *arg, const struct source_error *err), void *arg)
{
	const struct problem *e;

	list_for_each_entry (e, &p->all, link) {
		const struct source_error err = {
			.file = e->file,
			.line = e->line,
			.kind = e->kind,
			.namespace_ = e->namespace_,
			.name = e->name,
			.field = e->field,
			.message = e->message,
			.is_warning = e->is_warning,
			.generation = e->generation,
		};

		if (!e->is_cleared)
			fn(arg, &err);
	}
}

int problems_await(struct problems *p)
{
	struct problem *e;
	int r = 0;

	if (p->is_short)
		return -ENOMEM;
	list_for_each_entry (e, &p->all, link) {
		if (!e->hides_policy || e->is_cleared)
			continue;
		if (!e->is_waited_for)
			log_error("control",
				  "waiting for %s to be mended: until then it is not known whom "
				  "policies in it keep out, and no node is told anything",
				  e->file);
		e->is_waited_for = true;
		r = 1;
	}
	return r;
}

size_t problems_count(const struct problems *p, bool is_warning)
{
	const struct problem *e;
	size_t n = 0;

	list_for_each_entry (e, &p->all, link)
		n += !e->is_cleared && e->is_warning == is_warning;
	return n;
}

json_t *problems_to_json(const struct problems *p)
{
	json_t *array = json_array();
	struct problem *e;

	list_for_each_entry (e, &p->all, link) {
		/* a file's name may be any bytes */
		_cleanup_(freep) char *file = strdup(e->file);

		if (e->is_cleared || !file)
			continue;
		(void)json_array_append_new(
			array,
			json_pack("{s:s,s:i,s:s,s:s,s:s,s:s,s:s,s:s,s:s}", "file", str_utf8(file),
				  "line", (int)e->line, "kind", e->kind, "namespace", e->namespace_,
				  "name", e->name, "field", e->field, "message", e->message,
				  "severity", e->is_warning ? "warning" : "error", "version",
				  CULVERT_VERSION));
	}
	return array;
}

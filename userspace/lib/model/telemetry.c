/* SPDX-License-Identifier: Apache-2.0 */
/* Worked out for each pod: mesh, then namespace, then workload, of several in one scope the oldest;
 * what a narrower one says stands in place of the wider one's. */
#include "model/telemetry.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "base/str.h"
#include "userspace/lib/xds/node.pb-c.h"
#include "xds/signal_attributes.h"

#define OPENED   1u
#define CLOSED   2u
#define SENT     4u
#define RECEIVED 8u
#define ALL      31u
#define METRICS  5
#define TAGS_MAX 32 /* ztunnels take no more */

enum mode {
	MODE_CLIENT = 1,
	MODE_SERVER = 2,
};

/* Istio's own provider of text on stdout: the log that is there when nobody says anything. */
#define OUR_LOG "envoy"

/* One side of a workload's connections. */
struct side {
	Culvert__Node__Telemetry__Switch access_log;
	json_t *logs;          /* the providers that have one -> filter, or null; NULL: OUR_LOG */
	const json_t *loggers; /* whom those who name no provider mean, borrowed; NULL: OUR_LOG */
	uint32_t metrics_off;
	json_t *tags; /* name -> a tag per metric, see tag_of() */
};

struct sides {
	struct side client, server;
};

static const struct {
	const char *word;
	uint32_t bits;
} metrics[] = {
	{"ALL_METRICS", ALL},
	{"TCP_OPENED_CONNECTIONS", OPENED},
	{"TCP_SENT_BYTES", SENT},
	{"TCP_CLOSED_CONNECTIONS", CLOSED},
	{"TCP_RECEIVED_BYTES", RECEIVED},
};

static unsigned int mode_of(const json_t *match)
{
	const char *s = json_string_value(json_object_get(match, "mode"));

	if (s && streq(s, "CLIENT"))
		return MODE_CLIENT;
	return s && streq(s, "SERVER") ? MODE_SERVER : MODE_CLIENT | MODE_SERVER;
}

/* Return: the metrics that an override is about; 0: none of layer 4. */
static uint32_t metrics_of(const json_t *match)
{
	const char *s = json_string_value(json_object_get(match, "metric"));

	if (json_object_get(match, "customMetric"))
		return 0;
	for (size_t i = 0; s && i < ARRAY_SIZE(metrics); i++)
		if (streq(metrics[i].word, s))
			return metrics[i].bits;
	return s ? 0 : ALL;
}

/* The text of a literal of CEL; anything else has no value at layer 4. */
static json_t *literal(const char *expression)
{
	size_t n = strlen(expression);
	char quote = *expression;

	if (n < 2 || (quote != '\'' && quote != '"') || expression[n - 1] != quote ||
	    memchr(expression + 1, quote, n - 2) || memchr(expression, '\\', n))
		return NULL;
	return json_stringn(expression + 1, n - 2);
}

/* Return: false: it goes; a string: its value; [text]: what this expression says; NULL: it stays as
 * it is, which is reported. */
static json_t *tag_of(const json_t *override)
{
	const char *value = json_string_value(json_object_get(override, "value"));
	struct cel_problem problem;
	struct cel *c = NULL;
	json_t *text;

	if (!value)
		return json_false();
	text = literal(value);
	if (text || signal_expression(value, SIGNAL_OF_CONN, &c, &problem) < 0)
		return text;
	free(c);
	return json_pack("[s]", value);
}

static int tag_set(struct side *s, const char *name, const json_t *override, uint32_t bits)
{
	json_t *to = tag_of(override), *of = json_object_get(s->tags, name);
	int r = 0;

	if (!to)
		return 0;
	if (!s->tags)
		s->tags = json_object();
	if (!of) {
		of = json_pack("[n,n,n,n,n]"); /* by METRICS */
		r = json_object_set_new(s->tags, name, of);
	}
	for (size_t i = 0; i < METRICS && r == 0; i++)
		if (bits & 1u << i)
			r = json_array_set(of, i, to);
	json_decref(to);
	return r < 0 ? -ENOMEM : 0;
}

/* Metrics of layer 4 are Prometheus', whoever else is to have some. */
static bool is_prometheus(const json_t *metrics_one)
{
	const json_t *all = json_object_get(metrics_one, "providers"), *provider;
	size_t i;

	json_array_foreach (all, i, provider)
		if (streq(json_text(provider, "name", ""), "prometheus"))
			return true;
	return json_array_size(all) == 0;
}

static int override_apply(struct side *s, const json_t *override, uint32_t bits, bool is_ours)
{
	const json_t *off = json_object_get(override, "disabled");
	const char *name;
	json_t *one;

	if (json_is_true(off) && is_ours)
		s->metrics_off |= bits;
	else if (json_is_false(off))
		s->metrics_off &= ~bits;
	json_object_foreach (json_object_get(override, "tagOverrides"), name, one) {
		int r = tag_set(s, name, one, bits);

		if (r < 0)
			return r;
	}
	return 0;
}

static int overrides_apply(struct sides *to, const json_t *metrics_one)
{
	bool is_ours = is_prometheus(metrics_one);
	const json_t *one;
	size_t i;
	int r = 0;

	json_array_foreach (json_object_get(metrics_one, "overrides"), i, one) {
		const json_t *match = json_object_get(one, "match");
		uint32_t bits = metrics_of(match);

		if (bits && mode_of(match) & MODE_CLIENT)
			r = override_apply(&to->client, one, bits, is_ours);
		if (r == 0 && bits && mode_of(match) & MODE_SERVER)
			r = override_apply(&to->server, one, bits, is_ours);
		if (r < 0)
			return r;
	}
	return 0;
}

/* Return: NULL: every connection, also where the filter is not understood. */
static const char *filter_of(const json_t *logging, struct cel_problem *problem)
{
	const json_t *filter = json_object_get(logging, "filter");
	const char *text = json_string_value(json_object_get(filter, "expression"));
	struct cel *c = NULL;

	problem->text[0] = '\0';
	if (!text || signal_expression(text, SIGNAL_OF_END, &c, problem) < 0)
		return NULL;
	if (cel_result(c) != CEL_BOOL) {
		(void)snprintf(problem->text, sizeof(problem->text), "it is not true or false");
		text = NULL;
	}
	free(c);
	return text;
}

/* For one provider. Turned off, it is only its own log that ends. */
static int log_set(struct side *s, const char *provider, const json_t *one)
{
	struct cel_problem problem;
	const char *filter;

	if (json_is_true(json_object_get(one, "disabled"))) {
		if (json_object_del(s->logs, provider) == 0 && json_object_size(s->logs) == 0)
			s->access_log = CULVERT__NODE__TELEMETRY__SWITCH__OFF;
		return 0;
	}
	filter = filter_of(one, &problem);
	s->access_log = CULVERT__NODE__TELEMETRY__SWITCH__ON;
	return json_object_set_new(s->logs, provider, filter ? json_string(filter) : json_null());
}

static int log_set_all(struct side *s, const json_t *one)
{
	const json_t *named = json_object_get(one, "providers"), *provider;
	size_t i;
	int r = 0;

	if (json_array_size(named) == 0)
		named = s->loggers;
	if (!named)
		return log_set(s, OUR_LOG, one);
	json_array_foreach (named, i, provider)
		r |= log_set(s, json_text(provider, "name", ""), one);
	return r;
}

/* Does it give a log to somebody by name? Who has one so has it in place of those of wider scopes,
 * and is meant where no name is. */
static bool is_by_name(const json_t *one)
{
	return json_array_size(json_object_get(one, "providers")) > 0 &&
	       !json_is_true(json_object_get(one, "disabled"));
}

static bool is_for(const json_t *one, enum mode mode)
{
	return mode_of(json_object_get(one, "match")) & mode;
}

/* Of one resource, as Istio merges them, but that a provider which has no log and is turned off
 * takes nobody else's away. */
static int logging_apply(struct side *s, enum mode mode, const json_t *list)
{
	bool is_anew = false;
	const json_t *one;
	size_t i;
	int r = 0;

	if (!s->logs)
		s->logs = json_pack("{s:n}", OUR_LOG);
	json_array_foreach (list, i, one)
		is_anew |= is_by_name(one) && is_for(one, mode);
	if (is_anew)
		(void)json_object_clear(s->logs);
	json_array_foreach (list, i, one) {
		if (is_by_name(one))
			s->loggers = json_object_get(one, "providers");
		if (is_for(one, mode))
			r |= log_set_all(s, one);
	}
	return !s->logs || r < 0 ? -ENOMEM : 0;
}

static int telemetry_apply(struct sides *to, const struct telemetry *t)
{
	const json_t *one, *logging;
	size_t i;
	int r;

	if (!t)
		return 0;
	logging = object_value(t->e.object, "spec.accessLogging");
	r = logging_apply(&to->client, MODE_CLIENT, logging);
	if (r == 0)
		r = logging_apply(&to->server, MODE_SERVER, logging);
	json_array_foreach (object_value(t->e.object, "spec.metrics"), i, one)
		if (r == 0)
			r = overrides_apply(to, one);
	return r;
}

/** struct search - the oldest of each width that selects a pod. */
struct search {
	const json_t *labels;
	const struct telemetry *wide, *narrow;
};

static void on_candidate(void *arg, void *owner)
{
	const struct telemetry *t = owner;
	struct search *s = arg;
	const struct telemetry **best = json_object_size(t->selector) ? &s->narrow : &s->wide;

	if (labels_match(t->selector, s->labels) &&
	    (!*best || object_is_older(t->e.object, (*best)->e.object)))
		*best = t;
}

static struct search search(const struct model *m, const char *ns, const json_t *labels)
{
	struct search s = {.labels = labels};

	selector_candidates(&m->telemetries, ns, labels, on_candidate, &s);
	return s;
}

static int tag_compare(const void *a, const void *b)
{
	const Culvert__Node__Telemetry__Tag *const *x = a, *const *y = b;

	int order = strcmp((*x)->name, (*y)->name);

	return order ? order : ((*x)->metrics > (*y)->metrics) - ((*x)->metrics < (*y)->metrics);
}

static int tag_pack(const char *name, const json_t *value, uint32_t bits,
		    Culvert__Node__Telemetry *msg, struct scratch *a)
{
	Culvert__Node__Telemetry__Tag *t = scratch_alloc(a, sizeof(*t));

	if (!t)
		return -ENOMEM;
	culvert__node__telemetry__tag__init(t);
	t->name = scratch_format(a, "%s", name);
	t->metrics = bits == ALL ? 0 : bits;
	t->is_removed = json_is_false(value);
	if (json_is_string(value))
		t->value = scratch_format(a, "%s", json_string_value(value));
	else if (json_is_array(value))
		t->expression =
			scratch_format(a, "%s", json_string_value(json_array_get(value, 0)));
	msg->tags[msg->n_tags++] = t;
	return a->error;
}

/* One message for the metrics that share a value. */
static int tag_pack_all(const char *name, const json_t *values, Culvert__Node__Telemetry *msg,
			struct scratch *a)
{
	uint32_t done = 0;

	for (size_t i = 0; i < METRICS; i++) {
		const json_t *value = json_array_get(values, i);
		uint32_t bits = 0;

		for (size_t k = i; k < METRICS; k++)
			if (json_equal(json_array_get(values, k), value))
				bits |= 1u << k;
		if (done & 1u << i || json_is_null(value) || msg->n_tags == TAGS_MAX)
			continue;
		done |= bits;
		if (tag_pack(name, value, bits, msg, a) < 0)
			return a->error;
	}
	return 0;
}

static int tags_pack(const json_t *tags, Culvert__Node__Telemetry *msg, struct scratch *a)
{
	const char *name;
	json_t *values;

	msg->tags = scratch_alloc(a, TAGS_MAX * sizeof(*msg->tags));
	if (!msg->tags)
		return -ENOMEM;
	json_object_foreach ((json_t *)tags, name, values) {
		int r = tag_pack_all(name, values, msg, a);

		if (r < 0)
			return r;
	}
	qsort(msg->tags, msg->n_tags, sizeof(*msg->tags), tag_compare);
	return a->error;
}

/* ztunnels have one log. Return: what holds for all providers that have it; NULL: each line. */
static const char *log_filter_of(const struct side *s)
{
	const char *provider, *filter = NULL;
	const json_t *one;

	json_object_foreach (s->logs, provider, one) {
		if (!json_is_string(one) || (filter && !streq(filter, json_string_value(one))))
			return NULL;
		filter = json_string_value(one);
	}
	return filter;
}

static int side_pack(const struct side *s, Culvert__Node__Telemetry **ret, struct scratch *a)
{
	const char *filter = log_filter_of(s);
	Culvert__Node__Telemetry *msg;

	if (!s->access_log && !s->metrics_off && json_object_size(s->tags) == 0)
		return 0;
	msg = scratch_alloc(a, sizeof(*msg));
	if (!msg)
		return -ENOMEM;
	culvert__node__telemetry__init(msg);
	msg->access_log = s->access_log;
	msg->metrics_off = s->metrics_off;
	if (filter)
		msg->log_filter = scratch_format(a, "%s", filter);
	*ret = msg;
	return tags_pack(s->tags, msg, a);
}

static void side_clear(struct side *s)
{
	json_decref(s->logs);
	json_decref(s->tags);
}

int pod_telemetry(const struct model *m, const struct pod *p, Culvert__Node__Workload *msg,
		  struct scratch *a)
{
	const char *ns = p->e.object->namespace_;
	const json_t *labels = p->e.object->labels;
	bool is_root = streq(ns, m->root_namespace);
	struct search mesh, own;
	struct sides sides = {0};
	int r;

	if (map_count(m->entities[ENTITY_TELEMETRY]) == 0)
		return 0;
	mesh = search(m, m->root_namespace, labels);
	own = search(m, ns, labels);
	r = telemetry_apply(&sides, mesh.wide);
	if (r == 0 && !is_root)
		r = telemetry_apply(&sides, own.wide);
	if (r == 0)
		r = telemetry_apply(&sides, own.narrow);
	if (r == 0)
		r = side_pack(&sides.client, &msg->client, a);
	if (r == 0)
		r = side_pack(&sides.server, &msg->server, a);
	side_clear(&sides.client);
	side_clear(&sides.server);
	return r;
}

static void telemetry_mark(struct model *m, const struct telemetry *t)
{
	/* which one of the whole namespace counts may be another one now */
	if (json_object_size(t->selector) == 0)
		map_for_each (m->entities[ENTITY_TELEMETRY], it) {
			struct entity *e = it.value;

			if (streq(e->object->namespace_, t->e.object->namespace_))
				entity_mark(m, e);
		}
	selector_mark(m, t->e.object->namespace_, t->selector, json_object_size(t->selector) == 0);
}

void telemetry_unlink(struct model *m, struct telemetry *t)
{
	if (!t->in_selector.bucket)
		return;
	index_del(&m->telemetries, &t->in_selector);
	telemetry_mark(m, t);
}

static bool has_target(const struct object *o)
{
	return object_value(o, "spec.targetRef") ||
	       json_array_size(object_value(o, "spec.targetRefs")) > 0;
}

int telemetry_link(struct model *m, struct telemetry *t)
{
	const struct object *o = t->e.object;
	int r;

	t->selector = object_value(o, "spec.selector.matchLabels");
	if (has_target(o))
		return 0;
	r = selector_file(&m->telemetries, o->namespace_, t->selector, t, &t->in_selector);
	if (r == 0)
		telemetry_mark(m, t);
	return r;
}

static void tags_report(struct model *m, const json_t *tags, const char *where)
{
	const char *name;
	json_t *tag;

	if (json_object_size(tags) > TAGS_MAX)
		report(m, where, true, "ztunnels change at most %d tags", TAGS_MAX);
	json_object_foreach ((json_t *)tags, name, tag) {
		const char *value = json_string_value(json_object_get(tag, "value"));
		struct cel_problem problem;
		json_t *known = tag_of(tag);
		struct cel *c = NULL;

		if (!known && value && signal_expression(value, SIGNAL_OF_CONN, &c, &problem) < 0)
			report(m, where, true, "tag %s stays as it is: %s", name, problem.text);
		free(c);
		json_decref(known);
	}
}

static void overrides_report(struct model *m, const json_t *list, size_t at)
{
	const json_t *one;
	size_t i;

	json_array_foreach ((json_t *)list, i, one) {
		char field[128];

		(void)snprintf(field, sizeof(field), "spec.metrics[%zu].overrides[%zu]", at, i);
		if (!metrics_of(json_object_get(one, "match")))
			report(m, field, true, "no metric of layer 4: has no effect on ztunnels");
		else
			tags_report(m, json_object_get(one, "tagOverrides"), field);
	}
}

static void logging_report(struct model *m, const json_t *list)
{
	const json_t *one;
	size_t i;

	json_array_foreach ((json_t *)list, i, one) {
		struct cel_problem problem;
		char field[64];

		(void)snprintf(field, sizeof(field), "spec.accessLogging[%zu]", i);
		if (!filter_of(one, &problem) && problem.text[0])
			report(m, field, true,
			       "filter is not honoured, every connection has its line: %s",
			       problem.text);
		if (is_by_name(one))
			report(m, field, true,
			       "ztunnels have one access log: it is there while any provider's is");
		else if (json_array_size(json_object_get(one, "providers")))
			report(m, field, true,
			       "ztunnels have one access log: it ends when no provider has one, of "
			       "which " OUR_LOG " does unless others are named");
	}
}

static void telemetry_report(struct model *m, const struct telemetry *t)
{
	const struct object *o = t->e.object;
	struct search s = search(m, o->namespace_, t->selector);
	const struct telemetry *oldest = json_object_size(t->selector) ? NULL : s.wide;
	const json_t *one;
	size_t i;

	if (has_target(o)) {
		report(m, "spec", true, "targetRefs are for waypoints: no effect on ztunnels");
		return;
	}
	if (oldest && oldest != t)
		report(m, "metadata.name", true, "%s/%s is older and counts instead", o->namespace_,
		       oldest->e.object->name);
	if (json_array_size(object_value(o, "spec.tracing")))
		report(m, "spec.tracing", true, "not honoured: ztunnels make no spans");
	logging_report(m, object_value(o, "spec.accessLogging"));
	json_array_foreach (object_value(o, "spec.metrics"), i, one) {
		char field[64];

		(void)snprintf(field, sizeof(field), "spec.metrics[%zu]", i);
		if (json_array_size(json_object_get(one, "providers")))
			report(m, field, true,
			       "providers are not told apart: ztunnels have Prometheus' metrics%s",
			       is_prometheus(one) ? "" : ", which this does not turn off");
		if (json_object_get(one, "reportingInterval"))
			report(m, field, true,
			       "reportingInterval is not honoured: bytes are counted as they move");
		overrides_report(m, json_object_get(one, "overrides"), i);
	}
}

int telemetry_flush(struct model *m, struct telemetry *t)
{
	telemetry_report(m, t);
	return 0;
}

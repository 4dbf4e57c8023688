/* SPDX-License-Identifier: Apache-2.0 */
#include "source/manifest.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/str.h"
#include "source/honoured.h"
#include "source/schema.h"
#include "source/yaml.h"

struct parse {
	const char *file, *namespace_;
	const struct manifest_ops *ops;
	void *arg;
	bool is_complete;
	unsigned int errors;
	bool has_policy_words; /* the text has those of a security kind */
	bool is_hiding;        /* that was reported */
	int error;             /* of a callback within a report */
	/* the object being checked, for the lines of its fields */
	struct object *object;
};

/* Of each file it is known whether it may hide a policy, whatever else is wrong with it. */
static int report(struct parse *p, const struct source_error *err)
{
	struct source_error told = *err;

	told.hides_policy = err->hides_policy && !p->is_hiding;
	p->is_hiding |= err->hides_policy;
	if (p->errors++ >= MANIFEST_ERRORS_MAX && !told.hides_policy)
		return 0;
	return p->ops->on_error(p->arg, &told);
}

/* What cannot even be named: what the file held before may still be meant. */
static int report_lost(struct parse *p, const struct source_error *err)
{
	struct source_error hiding = *err;
	char message[1024];

	p->is_complete = false;
	if (!err->hides_policy)
		return report(p, err);
	(void)snprintf(message, sizeof(message), "%.900s" MANIFEST_HIDES, err->message);
	hiding.message = str_utf8(message);
	return report(p, &hiding);
}

/* In the same letters as a manifest has them, or in two bytes each. */
static bool has_policy_words(const char *text, size_t len)
{
	static const char *const words[] = {"AuthorizationPolicy", "PeerAuthentication", "\xff\xfe",
					    "\xfe\xff"};

	for (size_t i = 0; i < ARRAY_SIZE(words); i++)
		if (memmem(text, len, words[i], strlen(words[i])))
			return true;
	return false;
}

/* A kind that nobody knows, of the group that has no others than those of security. */
static bool is_like_policy(const struct object *o)
{
	const char *version = object_string(o, "apiVersion");

	return (version && str_has_prefix(version, "security.istio.io/")) ||
	       has_policy_words(o->kind, strlen(o->kind));
}

static struct source_error error_of(const struct parse *p, const struct object *o,
				    const char *field, const char *message)
{
	return (struct source_error){
		.file = p->file,
		.line = object_line(o, field),
		.kind = o->kind,
		.namespace_ = o->namespace_,
		.name = o->name,
		.field = field,
		.message = message,
	};
}

static int report_object(struct parse *p, const struct object *o, const char *field,
			 const char *message, bool is_warning)
{
	struct source_error err = error_of(p, o, field, message);

	err.is_warning = is_warning;
	return report(p, &err);
}

/* A problem of a document that is no object of a known kind and name: the document as a whole. */
static int report_unnamed(struct parse *p, const struct object *o, const char *field,
			  const char *message, bool hides_policy)
{
	struct source_error err = error_of(p, o, field, message);

	err.hides_policy = hides_policy;
	return report_lost(p, &err);
}

static void tell(struct parse *p, const char *field, const char *message, bool is_warning)
{
	int r = report_object(p, p->object, field, message, is_warning);

	if (r != 0 && p->error == 0)
		p->error = r;
}

static void on_problem(void *arg, const char *field, const char *message)
{
	tell(arg, field, message, false);
}

static void on_doubt(void *arg, const char *field, const char *message)
{
	tell(arg, field, message, true);
}

/** struct slice - part of a document: an object of its own, or an item of a List. */
struct slice {
	json_t *body;
	const unsigned int *lines;
	size_t lines_count;
	unsigned int line;
	const char *problem; /* of the reader (a duplicate key ...); NULL: none */
	unsigned int problem_line;
};

static int object_of(const struct parse *p, const struct slice *s, const struct schema_kind *kind,
		     struct object **ret)
{
	const json_t *metadata = json_object_get(s->body, "metadata");
	const char *kind_name = json_string_value(json_object_get(s->body, "kind"));
	const char *namespace_ = json_string_value(json_object_get(metadata, "namespace"));
	const char *name = json_string_value(json_object_get(metadata, "name"));
	struct object_init init = {
		.kind = kind_name ? kind_name : "",
		.name = name ? name : "",
		.namespace_ = kind && kind->is_namespaced
				      ? (namespace_ && *namespace_ ? namespace_ : p->namespace_)
				      : "",
		.file = p->file,
		.line = s->line,
		.lines_count = s->lines_count,
	};

	init.lines = malloc(s->lines_count * sizeof(*init.lines) + 1);
	if (!init.lines)
		return -ENOMEM;
	memcpy(init.lines, s->lines, s->lines_count * sizeof(*init.lines));
	init.body = json_incref(s->body);
	return object_new(&init, ret);
}

/* A kind that may be written, and does nothing yet. */
static const char *not_yet(const struct object *o)
{
	const char *version = object_string(o, "apiVersion");
	char group[64];

	if (!version)
		return NULL;
	(void)snprintf(group, sizeof(group), "%.*s", (int)strcspn(version, "/"), version);
	return honoured_not_yet(group, o->kind);
}

/* Of an object that cannot be named: it has no kind. */
static int report_nameless(struct parse *p, const struct object *o, const char *field,
			   const char *message, const struct schema_kind **kind)
{
	bool hides_policy = (*kind)->is_security;

	*kind = NULL;
	return report_unnamed(p, o, field, message, hides_policy);
}

/* The kind of an object, or NULL after a report that it cannot be used at all. */
static int kind_of(struct parse *p, const struct object *o, const struct schema_kind **ret)
{
	char message[512];
	const json_t *namespace_;

	*ret = schema_kind_find(o->kind);
	if (!*ret && streq(o->kind, "Secret"))
		return report_unnamed(
			p, o, "kind",
			"a Secret does not belong in a folder of manifests; it is not read", false);
	/* No mistake: it is known what the object is, and that it is none that is used. */
	if (!*ret && not_yet(o))
		return report_object(p, o, "kind", not_yet(o), true);
	if (!*ret && !*o->kind)
		return report_unnamed(p, o, "kind",
				      "required: expected the kind of the object, a string",
				      p->has_policy_words);
	if (!*ret) {
		(void)snprintf(message, sizeof(message),
			       "unknown kind \"%.60s\": expected one of %s", o->kind,
			       schema_kind_names());
		return report_unnamed(p, o, "kind", str_utf8(message), is_like_policy(o));
	}
	namespace_ = object_value(o, "metadata.namespace");
	if (namespace_ && !json_is_string(namespace_))
		return report_nameless(p, o, "metadata.namespace", "expected a namespace, a string",
				       ret);
	if (*o->name)
		return 0;
	return report_nameless(p, o, "metadata.name",
			       "required: expected the name of the object, a string", ret);
}

static unsigned int check_object(struct parse *p, const struct slice *s,
				 const struct schema_kind *kind, struct object *o)
{
	struct schema_report schema_report = {.on_problem = on_problem, .arg = p};
	struct schema_report doubts = {.on_problem = on_doubt, .arg = p};
	struct source_error err = {
		.file = p->file,
		.line = s->problem_line,
		.kind = o->kind,
		.namespace_ = o->namespace_,
		.name = o->name,
		.field = "",
		.message = s->problem,
		/* what was left out may have been its namespace, or its selector */
		.hides_policy = kind->is_security,
	};
	unsigned int n = 0;

	if (s->problem) {
		n++;
		p->error = report(p, &err);
	}
	p->object = o;
	n += schema_check(kind, o->body, &schema_report);
	if (schema_report.count == 0)
		(void)schema_doubts(kind, o->body, &doubts);
	p->object = NULL;
	return n;
}

/* A kind that does nothing yet, and of which it is known what it may hold; NULL: another. */
static const struct schema_kind *unread_kind(const json_t *body)
{
	const char *version = json_string_value(json_object_get(body, "apiVersion"));
	const char *name = json_string_value(json_object_get(body, "kind"));
	const struct schema_kind *kind = version && name ? schema_kind_of(version, name) : NULL;

	return kind && kind->is_unread ? kind : NULL;
}

static int report_unread(struct parse *p, const struct slice *s, const struct schema_kind *kind,
			 struct object *o)
{
	(void)check_object(p, s, kind, o);
	return p->error ? p->error : report_object(p, o, "kind", not_yet(o), true);
}

static int parse_object(struct parse *p, const struct slice *s)
{
	_cleanup_(object_unrefp) struct object *o = NULL;
	struct manifest_item item;
	const char *name = json_string_value(json_object_get(s->body, "kind"));
	const struct schema_kind *kind = name ? schema_kind_find(name) : NULL;
	const struct schema_kind *unread = kind ? NULL : unread_kind(s->body);
	unsigned int problems;
	int r;

	r = object_of(p, s, unread ? unread : kind, &o);
	if (r < 0)
		return r;
	r = p->ops->on_object ? p->ops->on_object(p->arg, o) : 0;
	if (r < 0 || (r > 0 && !kind))
		return r < 0 ? r : 0;
	if (unread)
		return report_unread(p, s, unread, o);
	r = kind_of(p, o, &kind);
	if (r != 0 || !kind)
		return r;
	problems = check_object(p, s, kind, o);
	if (p->error)
		return p->error;
	item = (struct manifest_item){
		.kind = o->kind, .namespace_ = o->namespace_, .name = o->name};
	o->is_invalid = problems > 0;
	if (problems == 0 || kind->is_security)
		item.object = o;
	return p->ops->on_item(p->arg, &item);
}

static int parse_problem(struct parse *p, unsigned int line, const char *field, const char *message)
{
	struct source_error err = {
		.file = p->file,
		.line = line,
		.kind = "",
		.namespace_ = "",
		.name = "",
		.field = field,
		.message = message,
		.hides_policy = p->has_policy_words,
	};

	return report_lost(p, &err);
}

static int parse_part(struct parse *p, const struct slice *s)
{
	if (json_is_object(s->body))
		return parse_object(p, s);
	return parse_problem(p, s->line, "", "expected an object (apiVersion, kind, metadata ...)");
}

/* Where the items of a List begin in the order of its nodes. */
static size_t items_offset(const json_t *list)
{
	size_t n = 1;
	const char *key;
	json_t *child;

	json_object_foreach ((json_t *)list, key, child) {
		if (streq(key, "items"))
			break;
		n += object_node_count(child);
	}
	return n;
}

static int parse_list(struct parse *p, const struct yaml_document *doc)
{
	const json_t *items = json_object_get(doc->body, "items");
	size_t i, at = items_offset(doc->body) + 1;
	bool is_placed = false;
	json_t *one;
	int r;

	if (!json_is_array(items))
		return parse_problem(p, doc->line, "items", "expected a list of objects");
	json_array_foreach (items, i, one) {
		struct slice s = {
			.body = one,
			.lines = doc->lines + at,
			.lines_count = object_node_count(one),
			.line = doc->lines[at],
			.problem_line = doc->bad_line,
		};
		size_t next = at + s.lines_count;

		/* A problem of the reader belongs to the item that it stands in; what it left out
		 * has no line. */
		if (doc->bad_line >= s.line &&
		    (next == doc->lines_count || doc->bad_line < doc->lines[next])) {
			s.problem = doc->problem;
			is_placed = true;
		}
		r = parse_part(p, &s);
		if (r != 0)
			return r;
		at = next;
	}
	return is_placed || !doc->bad_line ? 0 : parse_problem(p, doc->bad_line, "", doc->problem);
}

static int on_document(void *arg, const struct yaml_document *doc)
{
	struct parse *p = arg;
	const char *kind = json_string_value(json_object_get(doc->body, "kind"));
	struct slice s = {
		.body = doc->body,
		.lines = doc->lines,
		.lines_count = doc->lines_count,
		.line = doc->line,
		.problem = doc->bad_line ? doc->problem : NULL,
		.problem_line = doc->bad_line,
	};

	if (!kind || !streq(kind, "List"))
		return parse_part(p, &s);
	return parse_list(p, doc);
}

int manifest_parse(const struct manifest_text *in, const struct manifest_ops *ops, void *arg,
		   bool *ret_is_complete)
{
	struct parse p = {.file = in->file,
			  .namespace_ = in->namespace_ ? in->namespace_ : "default",
			  .ops = ops,
			  .arg = arg,
			  .is_complete = true,
			  .has_policy_words = has_policy_words(in->text, in->len)};
	struct yaml_problem problem = {0};
	int r;

	r = yaml_parse(in->text, in->len, on_document, &p, &problem);
	if (r == -EBADMSG && problem.line)
		r = parse_problem(&p, problem.line, "", problem.message);
	if (r == 0)
		*ret_is_complete = p.is_complete;
	return r;
}

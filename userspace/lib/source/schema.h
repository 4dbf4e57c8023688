/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* schema - what each kind of object may hold: constant tables, and one walk that compares a tree
 * with them. No state. */
#include <stdbool.h>
#include <stddef.h>

#include <jansson.h>

#include "base/macros.h"

#define SCHEMA_PATH_MAX 1024

enum schema_type {
	SCHEMA_ANY,
	SCHEMA_STRING,
	SCHEMA_BOOL,
	SCHEMA_INT,
	SCHEMA_NUMBER,   /* with or without a fraction */
	SCHEMA_PORT_REF, /* a port number or a port's name */
	SCHEMA_OBJECT,
	SCHEMA_LIST,
	SCHEMA_MAP,
};

struct schema_field;

/** struct schema - one value. Members that @type doesn't need are zero. */
struct schema {
	enum schema_type type;
	const char *expected;              /* "an IP address"; NULL: worded from the type */
	bool (*is_valid)(const char *s);   /* STRING */
	const char *const *words;          /* STRING: the only values, NULL-ended */
	long long min, max;                /* INT; both 0: any */
	const struct schema_field *fields; /* OBJECT: ends with a field without name */
	const struct schema *item;         /* LIST, MAP: of each value; NULL: anything */
	bool (*is_key)(const char *s);     /* MAP: what a key must look like; NULL: anything */
	const char *key_expected;
	bool is_open;     /* OBJECT: other fields are accepted unread */
	bool is_nonempty; /* LIST, STRING */
};

struct schema_field {
	const char *name;
	const struct schema *schema;
	bool is_required;
};

/* A row of a table of fields, and its end. */
#define FIELD(n, s)                                                                                \
	{                                                                                          \
		.name = (n), .schema = (s)                                                         \
	}
#define REQUIRED(n, s)                                                                             \
	{                                                                                          \
		.name = (n), .schema = (s), .is_required = true                                    \
	}
#define FIELDS_END                                                                                 \
	{                                                                                          \
		.name = NULL                                                                       \
	}

/** struct schema_report - where findings go; the path of the value being looked at lives here. */
struct schema_report {
	void (*on_problem)(void *arg, const char *field, const char *message);
	void *arg;
	/* versions and fields that no table has are accepted: an API server that has it knows them
	 */
	bool is_lenient;
	unsigned int count; /* of problems so far */
	char path[SCHEMA_PATH_MAX];
	size_t len;
};

/** struct schema_kind - one kind of object. */
struct schema_kind {
	const char *kind;
	const char *const *api_versions; /* NULL-ended, the first is the usual one */
	bool is_namespaced;
	bool is_security; /* deny when it cannot be understood */
	bool is_unread;   /* nothing is done with it: it is only checked */
	const struct schema *schema;
	/* what tables cannot say, run when the tables found nothing; NULL: nothing */
	void (*check)(const json_t *body, struct schema_report *report);
	/* what can be honoured though Istio's webhook refuses it; NULL: nothing */
	void (*doubt)(const json_t *body, struct schema_report *report);
};

/** schema_kind_find() - of the kinds that are read. Return: static; NULL when the kind is unknown.
 */
const struct schema_kind *schema_kind_find(const char *kind);
/** schema_kind_of() - of all kinds, those that nothing is done with included: a kind is one of a
 * group, the Gateway API has a Gateway, too. @group: with or without a version. Return: static;
 * NULL when the kind is unknown. */
const struct schema_kind *schema_kind_of(const char *group, const char *kind);
/** schema_kind_names() - "Namespace, Pod, ..." for messages; static. */
const char *schema_kind_names(void);

/** schema_check() - compare @body with its kind; each problem goes to the report. Return: how many
 * there were. */
unsigned int schema_check(const struct schema_kind *kind, const json_t *body,
			  struct schema_report *report);
/** schema_doubts() - what keeps @body, in which schema_check() found nothing, from coming in, but
 * is no reason to leave it out once it is there. Return: how many there were. */
unsigned int schema_doubts(const struct schema_kind *kind, const json_t *body,
			   struct schema_report *report);

/* For the checks that tables cannot express. */
/** schema_enter() - go down to a field ("spec"), an element ("[3]") or a key; schema_leave() with
 * the result returns. */
size_t schema_enter(struct schema_report *r, const char *key);
size_t schema_enter_index(struct schema_report *r, size_t index);
void schema_leave(struct schema_report *r, size_t mark);
/** schema_problem() - report the present path. */
void schema_problem(struct schema_report *r, const char *fmt, ...) _printf_(2, 3);
/** schema_walk() - compare one value at the present path. */
void schema_walk(const struct schema *s, const json_t *v, struct schema_report *r);

/* Words of Kubernetes (RFC 1123, RFC 1035) and addresses, for is_valid. */
bool word_is_label(const char *s);     /* [a-z0-9-], 63 */
bool word_is_subdomain(const char *s); /* labels and dots, 253: a DNS name */
bool word_is_name(const char *s);      /* the same, but that no label is limited: an object's */
bool word_is_port_name(const char *s); /* [a-z0-9-], 15, one letter */
bool word_is_label_key(const char *s); /* prefix/name */
/* the same, the prefix in either case: Kubernetes looks at it in lower case */
bool word_is_annotation_key(const char *s);
/* is @s what @is says, its letters made small? */
bool word_is_in_lower(const char *s, bool (*is)(const char *s));
bool word_is_label_value(const char *s); /* may be empty */
bool word_is_ip(const char *s);
bool word_is_ip_or_cidr(const char *s);
bool word_is_port(const char *s);     /* "80" */
bool word_is_duration(const char *s); /* as Go reads one: "1h30m", "-1.5s", "0" */

/* The tables, one file per group. Each ends with a kind without name. */
extern const struct schema schema_metadata, schema_metadata_dns, schema_metadata_template,
	schema_any, schema_string, schema_bool, schema_labels;
extern const struct schema_kind schema_kinds_core[], schema_kinds_network[],
	schema_kinds_security[], schema_kinds_istio[], schema_kinds_telemetry[],
	schema_kinds_unread[]; /* the last is made: tools/deploy/crds/generate */

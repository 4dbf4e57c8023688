/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* exclude - the annotations of a Pod, or of its Namespace, that take ports and ranges out of the
 * capture, or machines inside the pod in. Pure but for the notes that it makes. A value that cannot
 * be understood counts as absent: the pod is then captured as without it. */
#include <net/if.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/macros.h"
#include "net/cidr.h"
#include "source/object.h"

#define EXCLUDE_RULES_MAX   512
#define EXCLUDE_REROUTE_MAX 8

enum exclude_kind {
	EXCLUDE_OUT_EXCLUDE_RANGE, /* the first four as enum cv_outbound_kind */
	EXCLUDE_OUT_INCLUDE_RANGE,
	EXCLUDE_OUT_EXCLUDE_PORT,
	EXCLUDE_OUT_INCLUDE_PORT,
	EXCLUDE_IN_EXCLUDE_PORT, /* from here on about connections into the pod */
	EXCLUDE_IN_INCLUDE_PORT,
	EXCLUDE_IN_EXCLUDE_RANGE, /* of sources */
};

struct exclude_rule {
	enum exclude_kind kind;
	uint16_t port;     /* host order; 0 for ranges */
	struct cidr range; /* masked */
};

/** struct exclusions - what one pod has; zeroed: nothing, all is captured. */
struct exclusions {
	struct exclude_rule *rules; /* owned */
	size_t count;
	bool is_out_listed; /* only what OUT_INCLUDE rules name is captured */
	bool is_in_listed;  /* only what IN_INCLUDE rules name is captured */
	bool is_dns_off;
	/* interfaces of machines inside the pod: what comes in there counts as the pod's own */
	char reroute[EXCLUDE_REROUTE_MAX][IF_NAMESIZE];
	size_t reroute_count;
};

/** struct exclude_notes - who is told what is wrong with an annotation, or not honoured. */
struct exclude_notes {
	/* @on: the Pod or the Namespace that has it; @annotation: its key. */
	void (*fn)(void *arg, const struct object *on, const char *annotation, const char *message,
		   bool is_warning);
	void *arg;
};

/**
 * exclude_read() - a Pod's annotation counts before its Namespace's
 * @ns:  NULL: none known.
 * @ret: exclude_clear() it.
 * Return: 0; -ENOMEM.
 */
_must_check_ int exclude_read(const struct object *pod, const struct object *ns,
			      const struct exclude_notes *notes, struct exclusions *ret);
void exclude_clear(struct exclusions *x);
bool exclude_is_same(const struct exclusions *a, const struct exclusions *b);
/** exclude_has() - is there this rule? */
bool exclude_has(const struct exclusions *x, const struct exclude_rule *rule);
/** exclude_has_port() - is there a rule of this kind about @port? */
bool exclude_has_port(const struct exclusions *x, enum exclude_kind kind, uint16_t port);
/** exclude_has_inbound() - is there anything about connections into the pod? */
bool exclude_has_inbound(const struct exclusions *x);

/** exclude_for_each() - what is in force but for `reroute`, a line for people each: "out: not port
 * 3306". */
void exclude_for_each(const struct exclusions *x, void (*fn)(void *arg, const char *line),
		      void *arg);

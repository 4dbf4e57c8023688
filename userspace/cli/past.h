/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* past - records and text of `culvert explain --past`, from ztunnel's /connections/ended and the
 * agent's /past. */
#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

#include "base/macros.h"
#include "net/addr.h"

/** struct past_end - who is meant at one end. */
struct past_end {
	char text[300]; /* as it was given, without the port; "": anybody */
	struct cv_addr addr;
	bool is_addr;
	unsigned int port; /* 0: any */
};

/** past_end_parse() - NAME, NAMESPACE/NAME, NAME.NAMESPACE, a service, an address; @may_have_port:
 * and :PORT. Return: 0; -EINVAL. */
_must_check_ int past_end_parse(const char *s, bool may_have_port, struct past_end *ret);

#define PAST_TIME 40

/** past_time() - "2026-01-31T12:00:00.123Z", of microseconds since 1970. Return: @into, or "?". */
const char *past_time(json_int_t us, char into[PAST_TIME]);
/** past_src(), past_dst() - "words/client (10.0.0.1:1)" of a record; caller frees. NULL: out of
 * memory. */
char *past_src(const json_t *c);
char *past_dst(const json_t *c);
/** past_is_between() - is the record one of @from to @to? */
bool past_is_between(const json_t *c, const struct past_end *from, const struct past_end *to);

/**
 * past_read() - the records of one answer that are from @from to @to, with node, when, sentence
 * @records: appended to.
 * @nodes: appended to: {node, completeSince, remembered}.
 * Return: 0; -ENOMEM.
 */
_must_check_ int past_read(const json_t *answer, const struct past_end *from,
			   const struct past_end *to, json_t *records, json_t *nodes);

/** past_read_kernel() - the same from the agent: what the kernel refused, dropped or let past the
 * mesh. @nodes: the node's gets the key kernel. */
_must_check_ int past_read_kernel(const json_t *answer, const struct past_end *from,
				  const struct past_end *to, json_t *records, json_t *nodes);

/** past_sort() - oldest first; the @last newest are kept, 0: all. Return: 0; -ENOMEM. */
_must_check_ int past_sort(json_t *records, size_t last);

/** past_print() - for people. */
void past_print(const json_t *records, const json_t *nodes);

/** past_ask() - the word itself: ask the nodes and print. @from, @to: NULL: any. Return: the exit
 * code. */
int past_ask(const char *node, const char *run_dir, const char *output, size_t last,
	     const char *const ends[2]);

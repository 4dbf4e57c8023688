/* SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>
#include <string.h>

#include "base/str.h"
#include "json.h"
#include "past.h"
#include "term.h"

static void print_identities(const json_t *c)
{
	const char *src = json_text(c, "srcIdentity", ""), *dst = json_text(c, "dstIdentity", "");

	if (*src || *dst) {
		term_wrap(*src ? "  from " : "  to   ", "       ", *src ? src : dst);
		if (*src && *dst)
			term_wrap("  to   ", "       ", dst);
	} else {
		puts("  no identity was shown");
	}
}

static const char *took_format(double seconds, char into[TERM_NUMBER])
{
	if (seconds >= 1)
		return term_age(seconds, into);
	(void)snprintf(into, TERM_NUMBER, "%d ms", (int)(seconds * 1000));
	return into;
}

/* print_kernel() - what nobody has seen but the kernel has no end, no bytes and no identity. */
static void print_kernel(const json_t *c)
{
	const char *verdict = json_text(c, "verdict", "?");
	const char *process = json_text(c, "process", "");

	printf("\n%s  %s%s%s  %s, %s at %s", json_text(c, "ended", "?"),
	       term_color(streq(verdict, "passed") ? TERM_GREEN : TERM_RED), verdict,
	       term_color(TERM_NO_COLOR), json_text(c, "reason", "?"),
	       streq(json_text(c, "direction", ""), "inbound") ? "in" : "out",
	       json_text(c, "node", "?"));
	if (*process)
		printf(", by %s (pid %lld)", process, json_number(c, "pid"));
	puts("");
	term_wrap("  ", "  ", json_text(c, "sentence", ""));
}

static void print_one(const json_t *c)
{
	const char *verdict = json_text(c, "verdict", "?");
	bool is_good = streq(verdict, "allowed");
	char took[TERM_NUMBER], there[TERM_NUMBER], back[TERM_NUMBER];

	printf("\n%s  %s%s%s  %s, %s at %s, took %s, %s there, %s back\n",
	       json_text(c, "ended", "?"), term_color(is_good ? TERM_GREEN : TERM_RED), verdict,
	       term_color(TERM_NO_COLOR), json_text(c, "path", "?"),
	       streq(json_text(c, "direction", ""), "inbound") ? "in" : "out",
	       json_text(c, "node", "?"),
	       took_format(json_number_value(json_object_get(c, "tookSeconds")), took),
	       term_bytes((double)json_number(c, "bytesToServer"), there),
	       term_bytes((double)json_number(c, "bytesToClient"), back));
	term_wrap("  ", "  ", json_text(c, "sentence", ""));
	print_identities(c);
}

static void print_node(const json_t *v)
{
	const json_t *kernel = json_object_get(v, "kernel");
	const char *node = json_text(v, "node", "?"), *since = json_text(v, "completeSince", "");
	json_int_t lost = json_number(kernel, "lost");

	if (*since)
		printf("%s remembers all that have ended since %s (%lld are kept)\n", node, since,
		       json_number(v, "remembered"));
	else
		printf("%s: what has ended there is not known\n", node);
	if (!json_is_object(kernel))
		return;
	printf("  what the kernel refused since %s (%lld are kept)\n",
	       json_text(kernel, "refusedSince", "?"), json_number(kernel, "refused"));
	if (lost > 0)
		printf("    but for %lld or fewer: too many at once\n", lost);
	printf("  what it let past the mesh since %s (%lld are kept)\n",
	       json_text(kernel, "passedSince", "?"), json_number(kernel, "passed"));
}

void past_print(const json_t *records, const json_t *nodes)
{
	const json_t *v;
	size_t i;

	json_array_foreach (nodes, i, v)
		print_node(v);
	json_array_foreach (records, i, v)
		if (streq(json_text(v, "by", ""), "kernel"))
			print_kernel(v);
		else
			print_one(v);
	if (json_array_size(records) == 0)
		term_wrap("\n", "",
			  "None of them is from there to there. Before these moments nothing is "
			  "known.");
}

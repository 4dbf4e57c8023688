/* SPDX-License-Identifier: Apache-2.0 */
#include "xds/signal_attributes.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

static const struct cel_attribute attributes[SIGNAL_ATTRIBUTES_COUNT + 1] = {
#define X(id, word, type, known) [SIGNAL_##id] = {word, type},
	SIGNAL_ATTRIBUTES(X)
#undef X
};
static const enum signal_known known_of[SIGNAL_ATTRIBUTES_COUNT] = {
#define X(id, word, type, known) [SIGNAL_##id] = known,
	SIGNAL_ATTRIBUTES(X)
#undef X
};

_Static_assert(SIGNAL_ATTRIBUTES_COUNT <= 64, "cel_uses() has a bit for each");

/* Return: the first attribute in use that is known later than this; SIGNAL_ATTRIBUTES_COUNT. */
static size_t later_than(const struct cel *c, enum signal_known latest)
{
	size_t i = 0;

	while (i < SIGNAL_ATTRIBUTES_COUNT &&
	       (!(cel_uses(c) & UINT64_C(1) << i) || known_of[i] <= latest))
		i++;
	return i;
}

int signal_expression(const char *text, enum signal_known latest, struct cel **ret,
		      struct cel_problem *problem)
{
	struct cel *c;
	int r = cel_parse(text, attributes, &c, problem);
	size_t late;

	if (r < 0)
		return r;
	late = later_than(c, latest);
	if (late < SIGNAL_ATTRIBUTES_COUNT) {
		(void)snprintf(problem->text, sizeof(problem->text),
			       "%s is known only when the connection is over",
			       attributes[late].name);
		free(c);
		return -EINVAL;
	}
	*ret = c;
	return 0;
}

bool signal_expression_is_of_pair(const struct cel *c)
{
	return later_than(c, SIGNAL_OF_PAIR) == SIGNAL_ATTRIBUTES_COUNT;
}

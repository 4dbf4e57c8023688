/* SPDX-License-Identifier: Apache-2.0 */
#include "stale.h"

#include <stdio.h>
#include <time.h>

#include "base/log.h"
#include "base/str.h"

#define FILE_NAME "API server" /* under which it stands among the problems */

/* Return: @buf, the time of day then. */
static const char *time_text(uint64_t then_us, char *buf, size_t size)
{
	time_t t = time(NULL) - (time_t)((now_monotonic_us() - then_us) / 1000000);
	struct tm tm;

	if (!gmtime_r(&t, &tm) || strftime(buf, size, "%Y-%m-%dT%H:%M:%SZ", &tm) == 0)
		buf[0] = '\0';
	return buf;
}

static void problem_set(struct problems *problems, const char *text)
{
	const struct source_error err = {
		.file = FILE_NAME,
		.kind = "",
		.namespace_ = "",
		.name = "",
		.field = "",
		.message = text,
	};

	problems_set(problems, &err, *text);
}

void stale_set(struct stale *s, struct xds_server *xds, struct problems *problems,
	       const struct stale_kind *kind)
{
	char since[32];

	s->text[0] = '\0';
	s->is_refused = kind && kind->is_refused;
	if (kind)
		(void)snprintf(s->text, sizeof(s->text),
			       "changes of kind %s have not been heard of since %s%s: nodes are "
			       "told nothing until they are, and keep what they have",
			       kind->name, time_text(kind->since_us, since, sizeof(since)),
			       kind->is_refused ? ", the API server refuses them (RBAC)" : "");
	else
		log_info("control", "all is heard of again, nodes are told of it");
	problem_set(problems, s->text);
	xds_server_shut(xds, kind ? s->text : NULL);
}

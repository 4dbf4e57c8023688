/* SPDX-License-Identifier: Apache-2.0 */
#include "condition.h"

#include <stdio.h>
#include <string.h>

#include "base/json.h"
#include "base/str.h"

static const struct {
	const char *reason, *status;
} words[] = {
	[CONDITION_ACCEPTED] = {"Accepted", "True"},
	[CONDITION_UNBOUND] = {"NoMatchingWorkloads", "True"},
	[CONDITION_UNSUPPORTED] = {"UnsupportedValue", "False"}, /* Istio's word */
	[CONDITION_INVALID] = {"Invalid", "False"},
	[CONDITION_NOT_YET] = {"NotHonoured", "False"},
};

const char *condition_type(const char *kind)
{
	/* Istio's own, where it has one */
	return streq(kind, "AuthorizationPolicy") ? "ZtunnelAccepted" : "Accepted";
}

static void take(const json_t *one, struct condition *ret)
{
	struct condition c = {.is_there = true};

	while (c.verdict < ARRAY_SIZE(words) &&
	       (!streq(json_text(one, "reason", ""), words[c.verdict].reason) ||
		!streq(json_text(one, "status", ""), words[c.verdict].status)))
		c.verdict++;
	if (c.verdict == ARRAY_SIZE(words) ||
	    str_copy(c.message, sizeof(c.message), json_text(one, "message", "")) < 0 ||
	    str_copy(c.since, sizeof(c.since), json_text(one, "lastTransitionTime", "")) < 0)
		return;
	c.generation = json_integer_value(json_object_get(one, "observedGeneration"));
	*ret = c;
}

void condition_read(const json_t *object, const char *kind, struct condition *ret)
{
	const json_t *list = json_object_get(json_object_get(object, "status"), "conditions");

	*ret = (struct condition){0};
	for (size_t i = 0; i < json_array_size(list); i++) {
		const json_t *one = json_array_get(list, i);

		if (streq(json_text(one, "type", ""), condition_type(kind)))
			take(one, ret);
	}
}

bool condition_is_same(const struct condition *a, const struct condition *b)
{
	return a->is_there == b->is_there && a->verdict == b->verdict &&
	       a->generation == b->generation && streq(a->message, b->message);
}

void condition_add(struct condition *c, const char *field, const char *message)
{
	char before[CONDITION_MESSAGE_MAX];

	(void)str_copy(before, sizeof(before), c->message);
	(void)str_concat(c->message, sizeof(c->message), before, *before ? "; " : "", field,
			 *field ? ": " : "", message);
	(void)str_utf8(c->message);
}

json_t *condition_patch(const struct condition *c, const struct condition *before, const char *kind,
			const char *now)
{
	const char *status = words[c->verdict].status;
	bool is_as_before =
		before->is_there && *before->since && streq(words[before->verdict].status, status);
	json_t *one = json_pack("{s:s,s:s,s:s,s:s,s:s}", "type", condition_type(kind), "status",
				status, "reason", words[c->verdict].reason, "message", c->message,
				"lastTransitionTime", is_as_before ? before->since : now);

	if (c->generation)
		(void)json_object_set_new(one, "observedGeneration", json_integer(c->generation));
	return json_pack("{s:[o]}", "conditions", one);
}

void condition_time(time_t t, char ret[CONDITION_TIME_LEN])
{
	struct tm tm;

	(void)gmtime_r(&t, &tm);
	(void)strftime(ret, CONDITION_TIME_LEN, "%Y-%m-%dT%H:%M:%SZ", &tm);
}

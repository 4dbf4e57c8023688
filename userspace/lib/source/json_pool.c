/* SPDX-License-Identifier: Apache-2.0 */
#include "source/json_pool.h"

#include <errno.h>
#include <stdlib.h>

#include "base/map.h"

#define SWEEP_MIN 64

struct json_pool {
	struct map *values; /* text -> json_t, counted */
	size_t sweep_at;
};

int json_pool_new(struct json_pool **ret)
{
	_cleanup_(json_pool_freep) struct json_pool *s = calloc(1, sizeof(*s));
	int r;

	if (!s)
		return -ENOMEM;
	s->sweep_at = SWEEP_MIN;
	r = map_new(&s->values);
	if (r < 0)
		return r;
	*ret = TAKE_PTR(s);
	return 0;
}

struct json_pool *json_pool_free(struct json_pool *s)
{
	if (!s)
		return NULL;
	if (s->values)
		map_for_each (s->values, it)
			json_decref(it.value);
	(void)map_free(s->values);
	free(s);
	return NULL;
}

/* What nobody else refers to goes, each time that there is twice as much as the last time. */
static void sweep(struct json_pool *s)
{
	if (map_count(s->values) < s->sweep_at)
		return;
	map_for_each (s->values, it) {
		json_t *value = it.value;

		if (value->refcount > 1)
			continue;
		(void)map_del(s->values, it.key, it.key_len);
		json_decref(value);
	}
	s->sweep_at = MAX(map_count(s->values) * 2, (size_t)SWEEP_MIN);
}

json_t *json_pool_get(struct json_pool *s, json_t *value)
{
	_cleanup_(freep) char *text = value ? json_dumps(value, JSON_COMPACT) : NULL;
	json_t *known = text ? map_get_str(s->values, text) : NULL;

	if (known || !text)
		return json_incref(known ? known : value);
	sweep(s);
	if (map_put_str(s->values, text, value) == 0)
		(void)json_incref(value);
	return json_incref(value);
}

size_t json_pool_count(const struct json_pool *s)
{
	return map_count(s->values);
}

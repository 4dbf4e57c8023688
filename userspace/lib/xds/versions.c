/* SPDX-License-Identifier: Apache-2.0 */
#include "xds/versions.h"

#include <errno.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/map.h"

#define MIN_SLOTS 16

/* Linear probing. The fingerprint is also where a slot is at home: a table of 2^32 slots would be
 * the largest. */
struct versions_slot {
	uint32_t fingerprint; /* 0: free */
	uint32_t high, low;   /* both 0: a version that cannot be kept */
};

static uint32_t fingerprint(const char *name)
{
	uint32_t f = (uint32_t)map_hash(name, strlen(name));

	return f ? f : 1;
}

void versions_clear(struct versions *v)
{
	free(v->slots);
	*v = (struct versions){0};
}

/* Where @f is, or the free slot where it would be. There is always a free one. */
static size_t slot_find(const struct versions_slot *slots, size_t n_slots, uint32_t f)
{
	size_t i = f & (n_slots - 1);

	while (slots[i].fingerprint && slots[i].fingerprint != f)
		i = (i + 1) & (n_slots - 1);
	return i;
}

/* An eighth stays free. */
static int room_make(struct versions *v)
{
	size_t n = v->n_slots ? v->n_slots * 2 : MIN_SLOTS;
	struct versions_slot *slots;

	if ((v->count + 1) * 8 <= v->n_slots * 7)
		return 0;
	slots = calloc(n, sizeof(*slots));
	if (!slots)
		return -ENOMEM;
	for (size_t i = 0; i < v->n_slots; i++)
		if (v->slots[i].fingerprint)
			slots[slot_find(slots, n, v->slots[i].fingerprint)] = v->slots[i];
	free(v->slots);
	v->slots = slots;
	v->n_slots = n;
	return 0;
}

/* Return: 16 digits as a number; 0: it is something else. */
static uint64_t version_parse(const char *text)
{
	uint64_t value = 0;
	size_t n;

	for (n = 0; n < VERSION_TEXT_SIZE && text[n]; n++) {
		if (text[n] >= '0' && text[n] <= '9')
			value = value << 4 | (uint64_t)(text[n] - '0');
		else if (text[n] >= 'a' && text[n] <= 'f')
			value = value << 4 | (uint64_t)(text[n] - 'a' + 10);
		else
			return 0;
	}
	return n == VERSION_TEXT_SIZE - 1 ? value : 0;
}

int versions_set(struct versions *v, const char *name, const char *version)
{
	const uint64_t value = version_parse(version);
	const struct versions_slot slot = {fingerprint(name), (uint32_t)(value >> 32),
					   (uint32_t)value};
	size_t i;

	if (room_make(v) < 0) {
		versions_del(v, name);
		return -ENOMEM;
	}
	i = slot_find(v->slots, v->n_slots, slot.fingerprint);
	v->count += v->slots[i].fingerprint == 0;
	v->slots[i] = slot;
	return 0;
}

/* Those behind a slot that came free move up, unless that is before where they are at home. */
static void slots_close_up(struct versions *v, size_t hole)
{
	const size_t mask = v->n_slots - 1;

	for (size_t i = (hole + 1) & mask; v->slots[i].fingerprint; i = (i + 1) & mask) {
		size_t home = v->slots[i].fingerprint & mask;

		if (((i - home) & mask) < ((i - hole) & mask))
			continue;
		v->slots[hole] = v->slots[i];
		hole = i;
	}
	v->slots[hole] = (struct versions_slot){0};
}

void versions_del(struct versions *v, const char *name)
{
	const uint32_t f = fingerprint(name);
	size_t i;

	if (v->n_slots == 0)
		return;
	i = slot_find(v->slots, v->n_slots, f);
	if (!v->slots[i].fingerprint)
		return;
	v->count--;
	slots_close_up(v, i);
}

int versions_get(const struct versions *v, const char *name, char ret[VERSION_TEXT_SIZE])
{
	const struct versions_slot *s;

	ret[0] = '\0';
	if (v->n_slots == 0)
		return -ENOENT;
	s = &v->slots[slot_find(v->slots, v->n_slots, fingerprint(name))];
	if (!s->fingerprint)
		return -ENOENT;
	if (s->high || s->low)
		(void)snprintf(ret, VERSION_TEXT_SIZE, "%08" PRIx32 "%08" PRIx32, s->high, s->low);
	return 0;
}

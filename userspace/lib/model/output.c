/* SPDX-License-Identifier: Apache-2.0 */
/* output - what was emitted last, by name, so that only what differs is emitted; and messages about
 * objects. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "model/impl.h"

static struct output *output_get(struct model *m, enum xds_type type, const char *name)
{
	const char *key;
	void **at = map_at_str(m->outputs[type], name, &key);
	struct output *o = at ? *at : NULL;

	if (!at || o)
		return o;
	*at = o = calloc(1, sizeof(*o));
	if (!o) {
		(void)map_del_str(m->outputs[type], name);
		return NULL;
	}
	o->type = type;
	o->name = key;
	list_init(&o->unset);
	return o;
}

int output_set(struct model *m, enum xds_type type, const char *name, const ProtobufCMessage *msg)
{
	_cleanup_(freep) uint8_t *packed = NULL;
	size_t len = protobuf_c_message_get_packed_size(msg);
	struct output *o;
	uint64_t hash;
	int r;

	packed = malloc(len + 1);
	if (!packed)
		return -ENOMEM;
	(void)protobuf_c_message_pack(msg, packed);
	o = output_get(m, type, name);
	if (!o)
		return -ENOMEM;
	o->is_unset = false;
	/* A seeded 64-bit hash: two states of one resource that collide are not to be expected. */
	hash = map_hash(packed, len);
	if (o->is_emitted && o->hash == hash && o->len == len)
		return 0;
	o->hash = hash;
	o->len = len;
	r = m->ops->on_resource(m->arg, type, name, packed, len);
	o->is_emitted = r == 0;
	return r;
}

void output_unset(struct model *m, enum xds_type type, const char *name)
{
	struct output *o = map_get_str(m->outputs[type], name);

	if (!o || o->is_unset)
		return;
	o->is_unset = true;
	if (list_is_empty(&o->unset))
		list_add_tail(&m->unset, &o->unset);
}

/* Last of a flush: what was unset and not set again is gone. Removals come after additions, so that
 * a workload never names a policy that is gone already. */
void outputs_unset(struct model *m, struct list *outputs)
{
	struct slice_output *o, *tmp;

	list_for_each_entry_safe (o, tmp, outputs, link) {
		output_unset(m, XDS_ADDRESS, o->name);
		list_del(&o->link);
		free(o);
	}
}

void output_sweep(struct model *m)
{
	while (!list_is_empty(&m->unset)) {
		struct output *o = list_entry(m->unset.next, struct output, unset);

		list_del(&o->unset);
		if (!o->is_unset)
			continue;
		m->ops->on_removed(m->arg, o->type, o->name);
		(void)map_del_str(m->outputs[o->type], o->name);
		free(o);
	}
}

void outputs_free(struct model *m)
{
	for (int type = 0; type < XDS_TYPE_MAX; type++) {
		if (!m->outputs[type])
			continue;
		map_for_each (m->outputs[type], it)
			free(it.value);
		m->outputs[type] = map_free(m->outputs[type]);
	}
}

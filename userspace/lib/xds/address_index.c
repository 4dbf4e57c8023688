/* SPDX-License-Identifier: Apache-2.0 */
#include "xds/address_index.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/str.h"
#include "net/addr.h"
#include "userspace/lib/xds/workload.pb-c.h"

#define KEY_MAX 1024

typedef Istio__Workload__Address address_msg;
typedef Istio__Workload__NetworkAddress network_address;

static void address_free(address_msg *m)
{
	istio__workload__address__free_unpacked(m, NULL);
}
DEFINE_CLEANUP(address_msg *, address_free);

int address_index_init(struct address_index *ix)
{
	return index_init(&ix->names);
}

void address_index_clear(struct address_index *ix, struct resources *store)
{
	for (struct resource_entry *e = resources_after(store, 0); e; e = resources_next(store, e))
		address_index_del(ix, e);
	index_done(&ix->names);
}

static int file_under(struct address_index *ix, struct resource_entry *e, const char *by,
		      const char *name)
{
	struct index_link *l = &e->keys->links[e->keys->n];
	char key[KEY_MAX];
	int r;

	if (!*name)
		return 0;
	(void)str_concat(key, sizeof(key), by, name);
	r = index_add(&ix->names, key, e, l);
	e->keys->n += r == 0;
	return r;
}

/* @bits 0: a host. */
static int file_ip(struct address_index *ix, struct resource_entry *e, const char *network,
		   const ProtobufCBinaryData *bytes, unsigned int bits)
{
	char text[CV_ADDR_STRLEN], name[KEY_MAX], length[16] = "";
	struct cv_addr a;

	if (cv_addr_from_bytes(bytes->data, bytes->len, &a) < 0)
		return 0;
	if (bits && bits != bytes->len * 8)
		(void)snprintf(length, sizeof(length), "/%u", bits);
	(void)str_concat(name, sizeof(name), network, "/", cv_addr_format(&a, text), length);
	return file_under(ix, e, ADDRESS_BY_IP, name);
}

static int keys_make(struct resource_entry *e, size_t n)
{
	e->keys = calloc(1, sizeof(*e->keys) + n * sizeof(*e->keys->links));
	return e->keys ? 0 : -ENOMEM;
}

static int workload_file(struct address_index *ix, struct resource_entry *e,
			 const Istio__Workload__Workload *w)
{
	bool is_host = w->network_mode == ISTIO__WORKLOAD__NETWORK_MODE__HOST_NETWORK;
	int r = keys_make(e, w->n_addresses + w->n_services + 1);

	/* such a one is not found by its address: it is its node's */
	for (size_t i = 0; r == 0 && !is_host && i < w->n_addresses; i++)
		r = file_ip(ix, e, w->network, &w->addresses[i], 0);
	for (size_t i = 0; r == 0 && i < w->n_services; i++)
		r = file_under(ix, e, ADDRESS_BY_SERVICE, w->services[i]->key);
	return r < 0 ? r : file_under(ix, e, ADDRESS_BY_NODE, w->node);
}

static unsigned int length_of(const network_address *a)
{
	return a->prefix_case == ISTIO__WORKLOAD__NETWORK_ADDRESS__PREFIX_LENGTH ? a->length : 0;
}

static int service_file(struct address_index *ix, struct resource_entry *e,
			const Istio__Workload__Service *s)
{
	int r = keys_make(e, s->n_addresses);

	if (r == 0)
		e->keys->is_service = true;
	for (size_t i = 0; r == 0 && i < s->n_addresses; i++)
		r = file_ip(ix, e, s->addresses[i]->network, &s->addresses[i]->address,
			    length_of(s->addresses[i]));
	return r;
}

int address_index_put(struct address_index *ix, struct resource_entry *e)
{
	_cleanup_(address_freep) address_msg *m = NULL;
	int r = 0;

	address_index_del(ix, e);
	m = e->packed ? istio__workload__address__unpack(NULL, e->len, e->packed) : NULL;
	if (m && m->type_case == ISTIO__WORKLOAD__ADDRESS__TYPE_WORKLOAD)
		r = workload_file(ix, e, m->workload);
	else if (m && m->type_case == ISTIO__WORKLOAD__ADDRESS__TYPE_SERVICE)
		r = service_file(ix, e, m->service);
	if (r < 0)
		address_index_del(ix, e);
	return r;
}

void address_index_del(struct address_index *ix, struct resource_entry *e)
{
	if (!e->keys)
		return;
	for (size_t i = 0; i < e->keys->n; i++)
		index_del(&ix->names, &e->keys->links[i]);
	free(e->keys);
	e->keys = NULL;
}

struct index_bucket *address_index_find(const struct address_index *ix, const char *by,
					const char *name)
{
	char key[KEY_MAX];

	(void)str_concat(key, sizeof(key), by, name);
	return index_find(&ix->names, key);
}

const char *address_key_is(const struct index_link *l, const char *by)
{
	return str_has_prefix(l->bucket->key, by) ? l->bucket->key + strlen(by) : NULL;
}

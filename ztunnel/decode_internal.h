/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* decode_internal - what decode.c and decode_workload.c share. */
#include <stdbool.h>

#include "base/buf.h"
#include "userspace/lib/xds/node.pb-c.h"
#include "userspace/lib/xds/workload.pb-c.h"
#include "ztunnel/decode.h"

struct arena;
struct gateway_ref;
struct service_port;
struct share;
struct unpack;

struct decode_tables {
	struct share *apps;   /* struct workload_app */
	struct share *places; /* struct workload_place */
	struct buf key;       /* of the look-up that runs */
	char *network;
};

/* What the steps of one decoding share. `is_full` sticks when the arena had no memory. */
struct decoder {
	struct decode_tables *tables;
	struct arena *arena;
	struct unpack *unpack; /* of the message that is decoded */
	char *err;
	size_t err_size;
	bool is_full;
	Culvert__Node__Workload *own; /* of a workload's extensions; NULL: none */
};

/** decode_fail() - the sentence, and -EINVAL. */
int decode_fail(struct decoder *d, const char *field, const char *what);
const char *decode_text(struct decoder *d, const char *s);
void *decode_array(struct decoder *d, size_t n, size_t size);
int decode_texts(struct decoder *d, size_t n, char *const *from, const char *const **ret);
/** decode_ports() - without those whose number is none of a port. They are no reason to refuse all
 * of a workload: who is not known has no policies, and no tunnel. Return: 0; -ENOMEM. */
int decode_ports(struct decoder *d, size_t n, Istio__Workload__Port *const *from,
		 const struct service_port **ret, size_t *ret_count);
int decode_gateway(struct decoder *d, const Istio__Workload__GatewayAddress *g,
		   struct gateway_ref *ret);
/** decode_extension() - our own additions; what is another's is not ours to read. NULL: none. */
const ProtobufCBinaryData *decode_extension(size_t n, Istio__Workload__Extension *const *list,
					    const char *name);
/** decode_unread() - an extension that could not be unpacked. Return: as decode_fail(); -ENOMEM:
 * for want of memory. */
int decode_unread(struct decoder *d, const char *what);
/** decode_workload() - decode_workload.c. @ret: one reference. */
int decode_workload(struct decoder *d, const Istio__Workload__Workload *m, struct workload **ret);

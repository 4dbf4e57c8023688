/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* recall - what is remembered of a connection that the kernel refused, dropped or let past the mesh
 * by itself, as GET /past tells it. Pure. */
#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/macros.h"
#include "culvert/abi/maps.h"

/** enum recall_place - where it was met. */
enum recall_place {
	RECALL_CONNECT,   /* connect(2) or sendmsg(2): no packet was sent */
	RECALL_HANDSHAKE, /* as it was set up: it is not vouched for */
	RECALL_LINK,      /* as a packet of the pod's came to the host */
	RECALL_ARRIVAL,   /* as it came into the pod */
	RECALL_ENTRY,     /* as a packet for the pod left the host */
	RECALL_UPLINK,    /* as it came into the node; only one in RECALL_UPLINK_SAMPLE is told */
	RECALL_PLACE_MAX,
};

#define RECALL_UPLINK_SAMPLE 64

/** struct recall - the same from one to another for one reason, all at once. Zeroed before use. */
struct recall {
	uint64_t first_us, last_us; /* CLOCK_REALTIME */
	uint64_t count;
	uint32_t reason; /* enum cv_reason */
	enum recall_place place;
	struct cv_sockaddr src, dst; /* the client, of the last one; what it dialled */
	char src_name[CV_NAME_LEN];  /* "namespace/name", "" unknown */
	char dst_name[CV_NAME_LEN];
	uint32_t pid; /* of the last one; 0: not known */
	char comm[16];
};

/** recall_is_inbound() - is it told by the server's end? */
bool recall_is_inbound(const struct recall *r);

/** recall_to_json() - append to the array @into; keys: userspace/cli/README.md. Return: 0; -ENOMEM.
 */
_must_check_ int recall_to_json(const struct recall *r, json_t *into);

/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* head - what an HBONE CONNECT says beside its :method. Plain text handling, no state, any thread.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/macros.h"

/* A DNS name has at most 253 bytes, then ":65535". */
#define HBONE_AUTHORITY_MAX   264
#define HBONE_FORWARDED_MAX   384
#define HBONE_BAGGAGE_MAX     1024
#define HBONE_TRACEPARENT_LEN 55
/* name + value + 32 each, as HTTP/2 counts a header list. A CONNECT of ours or of Istio's ztunnel
 * has 1 KB at most; a proxy in front may add some, as Envoy does what it knows of its workload. */
#define HBONE_HEADER_LIST_MAX (8 * 1024)

/** struct hbone_head - what we want to know of a request's or a response's headers: baggage and
 * traceparent are for others. Empty string: absent. */
struct hbone_head {
	bool is_connect;
	bool is_too_big; /* the header list, or an authority that cannot be one */
	int status;      /* response; 0 while unknown */
	char authority[HBONE_AUTHORITY_MAX];
	char forwarded[HBONE_FORWARDED_MAX];
	size_t list_len;
};

/** hbone_head_reset() - empty, ready for hbone_head_add(). */
void hbone_head_reset(struct hbone_head *h);

/**
 * hbone_head_add() - take one header field as HPACK gives it.
 * @name, @value: borrowed, not NUL-terminated, any bytes.
 * Fields that we do not know are only counted. A Forwarded that is too long or holds control bytes
 * is dropped; what decides (:method, :authority, :status) is kept exactly or marks the head
 * as unusable.
 */
void hbone_head_add(struct hbone_head *h, const uint8_t *name, size_t name_len,
		    const uint8_t *value, size_t value_len);

/**
 * hbone_forwarded_get() - one parameter of a Forwarded value ("for", "host"), quotes removed.
 * Return: 0; -ENOENT absent; -EINVAL malformed; -ENOBUFS too long. @ret_value untouched on failure.
 */
_must_check_ int hbone_forwarded_get(const char *forwarded, const char *parameter, char *ret_value,
				     size_t size);

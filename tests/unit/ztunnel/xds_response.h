/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* xds_response - what a control plane says that is not ours: no word of parts. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "userspace/lib/xds/discovery.pb-c.h"
#include "xds/message.h"
#include "xds/types.h"

/** response_put() - with one resource; @name NULL: with none. @body NULL: it has none. */
static inline void response_put(struct grpc_call *c, enum xds_type type, const char *name,
				Google__Protobuf__Any *body)
{
	Envoy__Service__Discovery__V3__DeltaDiscoveryResponse m =
		ENVOY__SERVICE__DISCOVERY__V3__DELTA_DISCOVERY_RESPONSE__INIT;
	Envoy__Service__Discovery__V3__Resource res = ENVOY__SERVICE__DISCOVERY__V3__RESOURCE__INIT;
	Envoy__Service__Discovery__V3__Resource *all[] = {&res};

	res.name = (char *)(uintptr_t)name;
	res.version = "1";
	res.resource = body;
	m.type_url = (char *)(uintptr_t)xds_type_url(type);
	m.nonce = "1";
	m.resources = all;
	m.n_resources = name != NULL;
	assert_int_equal(message_send(c, &m.base), 0);
}

/** response_send() - the same with a body of that type. */
static inline void response_send(struct grpc_call *c, enum xds_type type, const char *name,
				 const uint8_t *packed, size_t len)
{
	Google__Protobuf__Any body = GOOGLE__PROTOBUF__ANY__INIT;

	body.type_url = (char *)(uintptr_t)xds_type_url(type);
	body.value = (ProtobufCBinaryData){len, (uint8_t *)(uintptr_t)packed};
	response_put(c, type, name, &body);
}

/** response_remove() - that one is gone. */
static inline void response_remove(struct grpc_call *c, enum xds_type type, const char *name)
{
	Envoy__Service__Discovery__V3__DeltaDiscoveryResponse m =
		ENVOY__SERVICE__DISCOVERY__V3__DELTA_DISCOVERY_RESPONSE__INIT;
	char *gone[] = {(char *)(uintptr_t)name};

	m.type_url = (char *)(uintptr_t)xds_type_url(type);
	m.nonce = "1";
	m.removed_resources = gone;
	m.n_removed_resources = 1;
	assert_int_equal(message_send(c, &m.base), 0);
}

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

/** response_send() - with one resource; @name NULL: with none. */
static inline void response_send(struct grpc_call *c, enum xds_type type, const char *name,
				 const uint8_t *packed, size_t len)
{
	Envoy__Service__Discovery__V3__DeltaDiscoveryResponse m =
		ENVOY__SERVICE__DISCOVERY__V3__DELTA_DISCOVERY_RESPONSE__INIT;
	Envoy__Service__Discovery__V3__Resource res = ENVOY__SERVICE__DISCOVERY__V3__RESOURCE__INIT;
	Envoy__Service__Discovery__V3__Resource *all[] = {&res};
	Google__Protobuf__Any body = GOOGLE__PROTOBUF__ANY__INIT;

	body.type_url = (char *)(uintptr_t)xds_type_url(type);
	body.value = (ProtobufCBinaryData){len, (uint8_t *)(uintptr_t)packed};
	res.name = (char *)(uintptr_t)name;
	res.version = "1";
	res.resource = &body;
	m.type_url = body.type_url;
	m.nonce = "1";
	m.resources = all;
	m.n_resources = name != NULL;
	assert_int_equal(message_send(c, &m.base), 0);
}

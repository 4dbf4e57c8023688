/* SPDX-License-Identifier: Apache-2.0 */
#include "xds/message.h"

#include <errno.h>
#include <stdlib.h>

#include "base/cleanup.h"

int message_send(struct grpc_call *c, const ProtobufCMessage *m)
{
	size_t len = protobuf_c_message_get_packed_size(m);
	_cleanup_(freep) uint8_t *packed = malloc(len ? len : 1);

	if (!packed)
		return -ENOMEM;
	(void)protobuf_c_message_pack(m, packed);
	return grpc_call_send(c, packed, len);
}

# SPDX-License-Identifier: Apache-2.0
proto-srcs += $(addprefix userspace/lib/xds/,google.proto workload.proto authorization.proto discovery.proto \
	ca.proto node.proto)
lib-srcs += $(addprefix userspace/lib/xds/,types.c message.c unpack.c node.c metadata.c dial.c client.c versions.c ca_client.c resources.c address_index.c batch.c held.c wanted.c push_stats.c refusal.c sub.c rounds.c server.c signal_attributes.c)

# SPDX-License-Identifier: Apache-2.0
model := userspace/lib/model
lib-srcs += $(addprefix $(model)/,alike.c distribution.c domains.c enrol.c entry.c entry_hosts.c exclude.c match.c model.c output.c pack_entry.c pack_node.c pack_service.c \
	pack_workload.c \
	peer.c pod.c policy.c ports.c report.c scratch.c selector.c service.c telemetry.c vip.c visibility.c)

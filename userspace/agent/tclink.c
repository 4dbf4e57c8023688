/* SPDX-License-Identifier: Apache-2.0 */
#include "tclink.h"

#include <bpf/libbpf.h>
#include <errno.h>

#include "pinlink.h"

#define TCX_BEFORE      (1u << 3) /* Linux 6.6 */
#define FILTER_PRIORITY 1

static enum bpf_tc_attach_point point_of(enum tclink_direction direction)
{
	return direction == TCLINK_EGRESS ? BPF_TC_EGRESS : BPF_TC_INGRESS;
}

static int filter_attach(int prog_fd, uint32_t ifindex, enum tclink_direction direction)
{
	LIBBPF_OPTS(bpf_tc_hook, hook, .ifindex = (int)ifindex,
		    .attach_point = point_of(direction));
	LIBBPF_OPTS(bpf_tc_opts, opts, .handle = TCLINK_HANDLE, .priority = FILTER_PRIORITY,
		    .prog_fd = prog_fd, .flags = BPF_TC_F_REPLACE);
	int r = bpf_tc_hook_create(&hook);

	return r < 0 && r != -EEXIST ? r : bpf_tc_attach(&hook, &opts);
}

static void filter_detach(uint32_t ifindex, enum tclink_direction direction)
{
	LIBBPF_OPTS(bpf_tc_hook, hook, .ifindex = (int)ifindex,
		    .attach_point = point_of(direction));
	LIBBPF_OPTS(bpf_tc_opts, opts, .handle = TCLINK_HANDLE, .priority = FILTER_PRIORITY);

	(void)bpf_tc_detach(&hook, &opts);
}

int tclink_attach(const char *path, int prog_fd, uint32_t ifindex, enum tclink_direction direction)
{
	int r = pinlink_make(path, prog_fd, (int)ifindex, (enum bpf_attach_type)direction,
			     TCX_BEFORE);

	return r == -EINVAL ? filter_attach(prog_fd, ifindex, direction) : r;
}

void tclink_detach(const char *path, uint32_t ifindex, enum tclink_direction direction)
{
	pinlink_destroy(path);
	filter_detach(ifindex, direction);
}

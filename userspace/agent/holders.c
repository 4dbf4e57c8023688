/* SPDX-License-Identifier: Apache-2.0 */
#include "holders.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/macros.h"

#define IDS_MAX 4 /* more is not said */

/* The kernel takes no name that could spoil a log line. */
static void holder_add(uint32_t id, char ret[HOLDERS_LEN])
{
	_cleanup_(close_fdp) int fd = bpf_prog_get_fd_by_id(id);
	struct bpf_prog_info info = {0};
	size_t used = strlen(ret);
	uint32_t len = sizeof(info);

	if (fd >= 0)
		(void)bpf_obj_get_info_by_fd(fd, &info, &len);
	(void)snprintf(ret + used, HOLDERS_LEN - used, "%s%s id=%u", used ? ", " : "",
		       info.name[0] ? info.name : "(without a name)", id);
}

/* Return: how many, the first of them in @ids. */
static uint32_t query(int cgroup_fd, enum bpf_attach_type type, uint32_t how, uint32_t *flags,
		      uint32_t ids[IDS_MAX])
{
	uint32_t n = IDS_MAX;
	int r = bpf_prog_query(cgroup_fd, type, how, flags, ids, &n);

	if (r == -ENOSPC)
		return IDS_MAX;
	return r < 0 ? 0 : n;
}

void holders_of_cgroup(int cgroup_fd, enum bpf_attach_type type, char ret[HOLDERS_LEN])
{
	uint32_t ids[IDS_MAX], flags = 0, n = query(cgroup_fd, type, 0, &flags, ids);

	/* What lets others in is not in the way. Where there is such a one, one above is hidden;
	 * without, the nearest above comes first, those further up behind it. */
	if (n == 0 && query(cgroup_fd, type, BPF_F_QUERY_EFFECTIVE, NULL, ids) > 0)
		n = 1;
	else if (flags & BPF_F_ALLOW_MULTI)
		n = 0;
	ret[0] = '\0';
	for (uint32_t i = 0; i < n; i++)
		holder_add(ids[i], ret);
}

void holders_of_xdp(unsigned int ifindex, char ret[HOLDERS_LEN])
{
	LIBBPF_OPTS(bpf_xdp_query_opts, opts);
	uint32_t ids[3];

	ret[0] = '\0';
	if (bpf_xdp_query((int)ifindex, 0, &opts) < 0)
		return;
	ids[0] = opts.drv_prog_id;
	ids[1] = opts.skb_prog_id;
	ids[2] = opts.hw_prog_id;
	for (size_t i = 0; i < ARRAY_SIZE(ids); i++)
		if (ids[i])
			holder_add(ids[i], ret);
}

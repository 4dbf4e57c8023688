/* SPDX-License-Identifier: Apache-2.0 */
#include "pinlink.h"

#include <bpf/bpf.h>
#include <errno.h>
#include <unistd.h>

#include "base/cleanup.h"

int pin_replace(int fd, const char *path)
{
	if (unlink(path) < 0 && errno != ENOENT)
		return -errno;
	return bpf_obj_pin(fd, path);
}

/* Give the pinned link at @path a new program. Return: 1 done; 0 no usable link is there; -errno.
 */
static int link_adopt(const char *path, int prog_fd)
{
	_cleanup_(close_fdp) int fd = -EBADF;
	int r;

	fd = bpf_obj_get(path);
	if (fd < 0)
		return fd == -ENOENT ? 0 : fd;
	r = bpf_link_update(fd, prog_fd, NULL);
	if (r < 0) {
		/* What it was attached to is gone (-ENOLINK), or it is a link of another kind. */
		if (unlink(path) < 0)
			return -errno;
		return 0;
	}
	return 1;
}

int pinlink_make(const char *path, int prog_fd, int target, enum bpf_attach_type type,
		 uint32_t flags)
{
	_cleanup_(close_fdp) int fd = -EBADF;
	LIBBPF_OPTS(bpf_link_create_opts, opts, .flags = flags);
	int r;

	r = link_adopt(path, prog_fd);
	if (r != 0)
		return r < 0 ? r : 0;
	fd = bpf_link_create(prog_fd, target, type, &opts);
	if (fd < 0)
		return fd;
	return bpf_obj_pin(fd, path);
}

bool pinlink_is_on_cgroup(const char *path)
{
	_cleanup_(close_fdp) int fd = bpf_obj_get(path);
	struct bpf_link_info info = {0};
	uint32_t len = sizeof(info);

	return fd >= 0 && bpf_obj_get_info_by_fd(fd, &info, &len) == 0 &&
	       info.type == BPF_LINK_TYPE_CGROUP && info.cgroup.cgroup_id != 0;
}

/* Detach by hand: another holder of the link's descriptor must not keep it alive. */
void pinlink_destroy(const char *path)
{
	_cleanup_(close_fdp) int fd = bpf_obj_get(path);

	if (fd >= 0)
		(void)bpf_link_detach(fd);
	(void)unlink(path);
}

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

/* Does an update that failed so tell that there is nothing to lose? What the link was attached to
 * is gone, or it was detached (-ENOLINK, of each kind); it is for programs of another type, of
 * another hook then, or no link at all (-EINVAL); or it is an interface's, and the driver has no
 * use for the new program (-EOPNOTSUPP, or -EINVAL). All else, a security module's word or want of
 * memory, says nothing of a link that is at work. */
static bool is_spent(int r)
{
	return r == -ENOLINK || r == -EINVAL || r == -EOPNOTSUPP;
}

/* Give the pinned link at @path a new program. Return: 1 done; 0 no usable link is there; -errno:
 * it runs what it ran. Were it taken away then, connections would pass by until another is there,
 * or for good if that is refused too. */
static int link_adopt(const char *path, int prog_fd)
{
	_cleanup_(close_fdp) int fd = -EBADF;
	int r;

	fd = bpf_obj_get(path);
	if (fd < 0)
		return fd == -ENOENT ? 0 : fd;
	r = bpf_link_update(fd, prog_fd, NULL);
	if (r == 0)
		return 1;
	if (!is_spent(r))
		return r;
	return unlink(path) < 0 ? -errno : 0;
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

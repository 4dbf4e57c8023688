/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* pinlink - BPF links and objects by their pins. Thread: any. */
#include <linux/bpf.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/macros.h"

/** pin_replace() - put an object at a path of the bpffs, replacing what is there. Return: 0;
 * -errno.
 */
_must_check_ int pin_replace(int fd, const char *path);

/**
 * pinlink_make() - a link at @path with this program: what is pinned there gets it, else a new one
 * is made and pinned
 * @target: descriptor, or ifindex where @type is about interfaces.
 * @flags:  of the new link.
 * Return: 0; -errno: a link that is pinned there and at work goes on with the program that it has.
 */
_must_check_ int pinlink_make(const char *path, int prog_fd, int target, enum bpf_attach_type type,
			      uint32_t flags);

/** pinlink_is_on_cgroup() - is a link pinned at @path that is attached to a cgroup that exists? */
bool pinlink_is_on_cgroup(const char *path);

/** pinlink_destroy() - detach and unpin; harmless when it is not there. */
void pinlink_destroy(const char *path);

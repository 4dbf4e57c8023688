/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* holders - whose BPF program is where one of ours is refused, for the line that says so. Thread:
 * any. */
#include <linux/bpf.h>
#include <stddef.h>

#define HOLDERS_LEN 128

/**
 * holders_of_cgroup() - programs that keep a hook of this cgroup, or of one above it, to themselves
 * @cgroup_fd: folder of the cgroup2 file system; borrowed.
 * @type:      the hook.
 * @ret:       "name id=7" of each, with ", " between them, the first few; "" when there are none.
 */
void holders_of_cgroup(int cgroup_fd, enum bpf_attach_type type, char ret[HOLDERS_LEN]);

/** holders_of_xdp() - the same for XDP on an interface of this network namespace. */
void holders_of_xdp(unsigned int ifindex, char ret[HOLDERS_LEN]);

/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* datapath_attach - the programs of sockets into the cgroup root, all of them or none. Owner:
 * datapath. Thread: loop only. */
#include "datapath_load.h"

/**
 * datapath_attach() - attach what is not there, give what is pinned there its new program, pin all
 * Where another tool keeps one of the hooks to itself nothing changes: what an earlier agent has
 * attached goes on as it was, what would be new is not there, and one line says who is in the way.
 * @skel:    loaded; borrowed.
 * @pin_dir: of this node's pins.
 * Return: 0; -EPERM a hook is taken; -errno. The failure has been logged.
 */
_must_check_ int datapath_attach(const struct culvert_bpf *skel, const char *pin_dir);

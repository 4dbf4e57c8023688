/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* datapath_load - the BPF object into the kernel: all of it, or as much as its verifier takes.
 * Owner: datapath. Thread: loop only; blocks for as long as the verifier walks, 0.1 s and more. */
#include "datapath.h"

#include "culvert.skel.h" /* its rodata is of abi/maps.h */

/** enum datapath_extent - how much of the object is loaded, from the most to the least. */
enum datapath_extent {
	DATAPATH_WHOLE,
	DATAPATH_TUNNELS, /* without the code of direct connections, the uplink's guard and what is
			   * for machines inside pods */
	DATAPATH_HOOKS,   /* and without the guards of pods' links */
};

/**
 * datapath_extent_choose() - before it is loaded, leave out of the object what @extent has not
 * What is dead by a constant of rodata the verifier does not walk.
 * @skel: borrowed, opened; changed.
 * Return: 0; -errno of libbpf's.
 */
_must_check_ int datapath_extent_choose(struct culvert_bpf *skel, enum datapath_extent extent);

/**
 * datapath_load() - load the object, its maps pinned in, or taken over from, @pin_dir
 * Attaches nothing. What the kernel refuses is tried again as the next lesser extent; where the
 * least is refused too, nothing is left behind.
 * @config:     borrowed for the call.
 * @ret:        the caller's, to be destroyed with culvert_bpf__destroy().
 * @ret_extent: what of it is there; programs that are not have no descriptor.
 * Return: 0; -EUCLEAN a pinned map has another layout, which is logged; -errno of the kernel's
 * refusal.
 */
_must_check_ int datapath_load(const struct datapath_config *config, const char *pin_dir,
			       struct culvert_bpf **ret, enum datapath_extent *ret_extent);

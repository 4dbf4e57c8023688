/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* map_keys - the keys of a BPF map. Thread: any. */
#include <bpf/bpf.h>
#include <stdbool.h>

/** map_keys_each() - a loop over the keys of the map @fd, each in @key while the loop's body runs,
 * which may delete it: the one after it is in @next by then. Both are variables of the key's type.
 */
#define map_keys_each(fd, key, next)                                                               \
	for (bool has_next_ = bpf_map_get_next_key((fd), NULL, &(next)) == 0;                      \
	     has_next_ && ((key) = (next),                                                         \
			  has_next_ = bpf_map_get_next_key((fd), &(key), &(next)) == 0, true);)

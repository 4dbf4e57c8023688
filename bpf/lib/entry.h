/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
#pragma once
/* entry - of a hash that programs add numbers up in. */
#include "bpf/maps.h"

/* Made of `none` where there is none. Returns NULL when there is no room. */
static __always_inline void *entry_of(void *map, const void *key, const void *none)
{
	void *e = bpf_map_lookup_elem(map, key);

	if (e)
		return e;
	(void)bpf_map_update_elem(map, key, none, BPF_NOEXIST);
	return bpf_map_lookup_elem(map, key);
}

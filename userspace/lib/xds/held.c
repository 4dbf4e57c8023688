/* SPDX-License-Identifier: Apache-2.0 */
#include "xds/held.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

int held_read(const Envoy__Service__Discovery__V3__DeltaDiscoveryRequest *req, struct map **ret)
{
	int r = map_new(ret);

	for (size_t i = 0; r == 0 && i < req->n_initial_resource_versions; i++) {
		const Envoy__Service__Discovery__V3__ResourceVersion *v =
			req->initial_resource_versions[i];
		char *copy;

		if (map_get_str(*ret, v->key))
			continue;
		copy = strdup(v->value);
		r = copy ? map_put_str(*ret, v->key, copy) : -ENOMEM;
		if (r < 0)
			free(copy);
	}
	return r;
}

void held_free(struct map **held)
{
	if (!*held)
		return;
	map_for_each (*held, it)
		free(it.value);
	*held = map_free(*held);
}

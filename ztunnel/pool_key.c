/* SPDX-License-Identifier: Apache-2.0 */
#include "ztunnel/pool_key.h"

#include <string.h>

#include "base/buf.h"
#include "tls/identity.h"
#include "ztunnel/pod.h"
#include "ztunnel/pool.h"
#include "ztunnel/resolve.h"
#include "ztunnel/state.h"

static int key_add(struct buf *b, const char *const *ids, size_t n)
{
	int r = 0;

	for (size_t i = 0; i < n && r == 0; i++)
		r = buf_append(b, ids[i], strlen(ids[i]) + 1);
	return r;
}

int pool_key_make(struct buf *b, const struct pool_want *want)
{
	const struct upstream *u = want->upstream;
	int r;

	b->start = 0;
	b->end = 0;
	r = buf_append(b, &want->pod->netns_cookie, sizeof(want->pod->netns_cookie));
	if (r == 0)
		r = buf_append(b, &u->dial, sizeof(u->dial));
	if (r == 0)
		r = buf_append(b, want->identity->id, strlen(want->identity->id) + 1);
	if (r == 0)
		r = buf_append(b, u->workload ? u->workload->uid : "",
			       u->workload ? strlen(u->workload->uid) + 1 : 1);
	if (r == 0 && u->workload)
		r = buf_append(b, &u->workload->incarnation, sizeof(u->workload->incarnation));
	if (r == 0)
		r = key_add(b, u->identities, u->identities_count);
	if (r == 0)
		r = key_add(b, u->more_identities, u->more_identities_count);
	return r;
}

static size_t add_identities(const char *ids[POOL_IDENTITIES_MAX], size_t n,
			     const char *const *from, size_t count)
{
	struct spiffe_id parts;

	for (size_t i = 0; i < count && n < POOL_IDENTITIES_MAX; i++)
		if (spiffe_parse(from[i], &parts) == 0)
			ids[n++] = from[i];
	return n;
}

size_t pool_identities(const struct pool_want *want, const char *ids[POOL_IDENTITIES_MAX])
{
	const struct upstream *u = want->upstream;
	size_t n = add_identities(ids, 0, u->identities, u->identities_count);

	return add_identities(ids, n, u->more_identities, u->more_identities_count);
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "adopt.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "guard.h"
#include "reroute.h"
#include "rules.h"

#define GROW 64

struct stale {
	uint64_t *cookies;
	size_t n;
};

static int stale_add(struct stale *s, uint64_t cookie)
{
	if (s->n % GROW == 0) {
		uint64_t *more = realloc(s->cookies, (s->n + GROW) * sizeof(*more));

		if (!more)
			return -ENOMEM;
		s->cookies = more;
	}
	s->cookies[s->n++] = cookie;
	return 0;
}

/* Of rules on the way in those at its own addresses, which are the ones in its entry: a pod that
 * was let go when its agent ended has one that lets all in. */
static void rules_release(struct datapath *d, uint64_t cookie, const struct cv_pod *entry,
			  const struct adopt_ops *ops, void *arg)
{
	static const struct exclusions none;
	const struct cv_addr *const theirs[] = {&entry->addr4, &entry->addr6};
	struct cv_addr addrs[ARRAY_SIZE(theirs)];
	struct rules_of of = {.netns_cookie = cookie, .addrs = addrs};

	for (size_t i = 0; i < ARRAY_SIZE(theirs); i++)
		if (!ops->has_addr(arg, theirs[i]))
			addrs[of.addr_count++] = *theirs[i];
	rules_keep(d, &of, &none);
}

/* Its steer entries need no care: they go with ztunnel's listeners, which end when SYNCED does not
 * name the pod. */
static void stale_release(struct datapath *d, uint64_t cookie, const struct adopt_ops *ops,
			  void *arg)
{
	struct cv_pod entry;

	if (datapath_pod_get(d, cookie, &entry) < 0)
		return;
	log_info("agent", "releasing a pod that is gone pod=%.63s netns_cookie=%" PRIu64,
		 entry.name, cookie);
	if (entry.flags & CV_POD_REROUTE)
		reroute_forget(datapath_pin_dir(d), cookie);
	guard_retire(d, cookie);
	datapath_lookup_detach(d, cookie);
	rules_release(d, cookie, &entry, ops, arg);
	datapath_pod_del(d, cookie);
}

/* Nobody's verdict holds for it any more: what it dials to the mesh is refused. */
static void left_refuse(struct datapath *d, uint64_t cookie, struct cv_pod *entry)
{
	uint32_t flags = entry->flags & ~(uint32_t)(CV_POD_ALIVE | CV_POD_DIRECT);

	if (flags == entry->flags)
		return;
	log_info("agent",
		 "pod has no object, but processes: captured until they end pod=%.63s "
		 "netns_cookie=%" PRIu64,
		 entry->name, cookie);
	entry->flags = flags;
	if (datapath_pod_set(d, cookie, entry) < 0)
		log_error("agent", "cannot mark a pod as without ztunnel pod=%.63s", entry->name);
}

/* Return: whether it was, or is not to be yet. */
static bool stale_keep(struct datapath *d, uint64_t cookie, const struct adopt_ops *ops, void *arg)
{
	struct cv_pod entry;

	if (datapath_pod_get(d, cookie, &entry) < 0 || !(entry.flags & CV_POD_CAPTURE))
		return false;
	entry.name[sizeof(entry.name) - 1] = '\0';
	if (!ops->is_left(arg, cookie, entry.name))
		return false;
	left_refuse(d, cookie, &entry);
	return true;
}

bool adopt_sweep(struct datapath *d, const struct adopt_ops *ops, void *arg)
{
	struct stale stale = {0};
	struct cv_pod entry;
	uint64_t cookie = 0;
	bool is_left = false;

	while (datapath_pod_next(d, &cookie)) {
		if (ops->is_owned(arg, cookie) || datapath_pod_get(d, cookie, &entry) < 0)
			continue;
		entry.name[sizeof(entry.name) - 1] = '\0';
		if (ops->is_awaited(arg, entry.name) || stale_add(&stale, cookie) < 0)
			is_left = true;
	}
	for (size_t i = 0; i < stale.n; i++)
		if (stale_keep(d, stale.cookies[i], ops, arg))
			is_left = true;
		else
			stale_release(d, stale.cookies[i], ops, arg);
	free(stale.cookies);
	datapath_lookup_sweep(d);
	return is_left;
}

bool adopt_has_flag(struct datapath *d, uint32_t flags)
{
	struct cv_pod entry;
	uint64_t cookie = 0;

	while (datapath_pod_next(d, &cookie))
		if (datapath_pod_get(d, cookie, &entry) == 0 && (entry.flags & flags))
			return true;
	return false;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* pods_left - pods whose objects are gone while their processes live: deleted by force, or unknown
 * to an API server that was set back. Released, what they dial until they end would be plaintext.
 * So they stay captured; what becomes of their connections is ztunnel's to say, which goes by the
 * mesh's model. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "pods_private.h"

static bool is_alive(const struct pod *pod)
{
	const struct enrolment *e = pod->enrolment;

	return e && e->is_captured && netns_file_is_same(pod->spec->netns, &e->file);
}

void pods_leave(struct pods *p, const char *key, const char *left_key)
{
	struct pod *pod = map_get_str(p->by_key, key);

	if (!pod || !is_alive(pod)) {
		pods_remove(p, key);
		return;
	}
	pods_end(p, left_key); /* what pods_left_replace() has left of it */
	pod->left_key = strdup(left_key);
	if (!pod->left_key || map_put_str(p->by_key, left_key, pod) < 0) {
		free(pod->left_key);
		pod->left_key = NULL;
		log_error("agent", "out of memory: a pod stays in the mesh under its name pod=%s",
			  key);
		return;
	}
	(void)map_del_str(p->by_key, key);
	loop_timer_del(&pod->retry);
	log_info("agent",
		 "pod's object is gone, its processes are not: captured until they end pod=%s "
		 "netns_cookie=%" PRIu64,
		 pod->spec->key, pod->enrolment->cookie);
}

bool pods_has(const struct pods *p, const char *key)
{
	return map_get_str(p->by_key, key) != NULL;
}

void pods_left_check(struct pods *p)
{
	map_for_each (p->by_key, it) {
		const struct pod *pod = it.value;

		if (pod->left_key && !is_alive(pod))
			pods_end(p, it.key);
	}
}

/* Not out of by_key, which may be gone through now. */
void pods_left_replace(struct pods *p, struct enrolment *e)
{
	pods_unoffer(p, e);
	(void)map_del(p->by_cookie, &e->cookie, sizeof(e->cookie));
	e->owner->enrolment = NULL;
	(void)enrolment_forget(e);
}

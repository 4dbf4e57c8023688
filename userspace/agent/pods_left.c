/* SPDX-License-Identifier: Apache-2.0 */
/* pods_left - pods whose objects are gone while their processes live: deleted by force, or unknown
 * to an API server that was set back. Released, what they dial until they end would be plaintext.
 * So they stay captured; what becomes of their connections is ztunnel's to say, which goes by the
 * mesh's model. */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "adopt.h"
#include "base/log.h"
#include "base/str.h"
#include "net/addr.h"
#include "netns_find.h"
#include "pods_private.h"

#define GROW 64

bool pods_netns_lives(struct pod *pod)
{
	const struct netns_file *file = &pod->enrolment->file;
	char path[NETNS_PATH_MAX];

	if (netns_file_is_same(pod->spec->netns, file))
		return true;
	/* a folder's manifests name it, and name another one now */
	if (!pod->pods->config.is_outside || !netns_find_path(file, path))
		return false;
	if (podspec_follow(pod->spec, path) < 0)
		log_error("agent", "out of memory: a pod's namespace is sought again");
	return true;
}

struct seek {
	const struct pods *pods;
	struct podspec *spec;
	ino_t last; /* processes of one namespace mostly follow each other */
};

static bool is_its(void *arg, const char *netns)
{
	struct seek *s = arg;
	struct stat st;

	if (stat(netns, &st) < 0 || st.st_ino == s->last)
		return false;
	s->last = st.st_ino;
	return enrolment_fits(s->pods->config.enrolment, s->spec, netns) &&
	       podspec_follow(s->spec, netns) == 0;
}

bool pods_netns_seek(struct pods *p, struct podspec *spec)
{
	struct seek s = {.pods = p, .spec = spec};

	return p->config.elsewhere && !spec->is_unstarted && spec->ip_count > 0 &&
	       p->config.elsewhere(p->config.arg, spec->key, is_its, &s);
}

static bool is_alive(struct pod *pod)
{
	const struct enrolment *e = pod->enrolment;

	return e && e->is_captured && pods_netns_lives(pod);
}

/* A sandbox is known by our own descriptor, which would hold it for ever. */
static bool is_held(struct pod *pod)
{
	char path[NETNS_PATH_MAX];

	if (!pod->spec->is_unstarted || !pod->enrolment || !pod->pods->config.is_outside)
		return true;
	return netns_find_path(&pod->enrolment->file, path) && podspec_follow(pod->spec, path) == 0;
}

/* Return: the pod, under its other key; NULL: nothing is left of it, or there is no memory. */
static struct pod *leave(struct pods *p, const char *key, const char *left_key)
{
	struct pod *pod = map_get_str(p->by_key, key);

	if (!pod || !is_held(pod) || !is_alive(pod)) {
		pods_end(p, key);
		return NULL;
	}
	pods_end(p, left_key); /* what pods_left_replace() has left of it */
	pod->left_key = strdup(left_key);
	if (!pod->left_key || map_put_str(p->by_key, left_key, pod) < 0) {
		free(pod->left_key);
		pod->left_key = NULL;
		log_error("agent", "out of memory: a pod stays in the mesh under its name pod=%s",
			  key);
		return NULL;
	}
	(void)map_del_str(p->by_key, key);
	loop_timer_del(&pod->retry);
	return pod;
}

/* Of the pod of this key, or of the one that has left with it? */
static bool is_earlier_of(const struct pod *pod, const char *key)
{
	return pod->is_earlier && streq(pod->left_with ? pod->left_with : pod->spec->key, key);
}

/* Another pod may have the name by now, and who takes the one that has left out of the mesh means
 * all that is left of it. */
static void earlier_leave(struct pods *p, const char *key, const char *left_key)
{
	map_for_each (p->by_key, it) {
		struct pod *pod = it.value;

		if (is_earlier_of(pod, key))
			pod->left_with = strdup(left_key);
	}
}

void pods_leave(struct pods *p, const char *key, const char *left_key)
{
	const struct pod *pod = leave(p, key, left_key);

	earlier_leave(p, key, left_key);
	if (pod)
		log_info("agent",
			 "pod's object is gone, its processes are not: captured until they end "
			 "pod=%s netns_cookie=%" PRIu64,
			 pod->spec->key, pod->enrolment->cookie);
}

/* No UID is a number alone, so that no object that goes has that key. */
static void sandbox_leave(struct pods *p, const char *key, uint64_t cookie)
{
	_cleanup_(freep) char *left_key = str_format("%s#%" PRIu64, key, cookie);
	struct pod *pod = left_key ? leave(p, key, left_key) : NULL;

	if (!pod)
		return;
	pod->is_earlier = true;
	log_info("agent",
		 "pod has another sandbox, and something holds the earlier one: captured until "
		 "that ends pod=%s netns_cookie=%" PRIu64,
		 key, cookie);
}

/* As long as its addresses are the same, too: others are those of another sandbox, of which a
 * process may be younger than one that is left of the earlier. */
static bool is_where_it_was(const struct pod *pod, struct podspec *spec)
{
	const struct podspec *old = pod->spec;
	bool is_same = old->ip_count == spec->ip_count &&
		       memcmp(old->ips, spec->ips, sizeof(old->ips)) == 0;

	return netns_file_is_same(spec->netns, &pod->enrolment->file) &&
	       (is_same || spec->is_unstarted ||
		enrolment_fits(pod->pods->config.enrolment, spec, spec->netns) ||
		!pods_netns_seek(pod->pods, spec));
}

/* A pod has one namespace for as long as its sandbox, and it is where the pod's addresses are. A
 * process of its own elsewhere is in one that it has made, and is what procs finds once older ones
 * have ended. */
void pods_netns_settle(struct pod *pod, struct podspec *spec)
{
	struct pods *p = pod->pods;

	if (!pod->enrolment || !p->config.is_outside || is_where_it_was(pod, spec) ||
	    (pod->spec->is_unstarted && !spec->is_unstarted) || !pods_netns_lives(pod))
		return;
	if (spec->is_unstarted || enrolment_fits(p->config.enrolment, spec, spec->netns))
		sandbox_leave(p, spec->key, pod->enrolment->cookie);
	else if (podspec_follow(spec, pod->spec->netns) < 0)
		log_error("agent", "out of memory: a pod may be out of the mesh pod=%s", spec->key);
}

void pods_earlier_remove(struct pods *p, const char *key)
{
	map_for_each (p->by_key, it)
		if (is_earlier_of(it.value, key))
			pods_remove(p, it.key);
}

bool pods_has(const struct pods *p, const char *key)
{
	if (map_get_str(p->by_key, key))
		return true;
	map_for_each (p->by_key, it)
		if (is_earlier_of(it.value, key))
			return true;
	return false;
}

void pods_left_check(struct pods *p)
{
	map_for_each (p->by_key, it) {
		struct pod *pod = it.value;

		if (pod->left_key && !is_alive(pod))
			pods_end(p, it.key);
	}
}

static void earlier_return(struct pods *p, const char *left_key)
{
	map_for_each (p->by_key, it) {
		struct pod *pod = it.value;

		if (!is_earlier_of(pod, left_key))
			continue;
		free(pod->left_with);
		pod->left_with = NULL;
	}
}

/* Not out of by_key, which may be gone through now. */
void pods_left_replace(struct pods *p, struct enrolment *e)
{
	earlier_return(p, e->owner->left_key);
	pods_unoffer(p, e);
	(void)map_del(p->by_cookie, &e->cookie, sizeof(e->cookie));
	e->owner->enrolment = NULL;
	(void)enrolment_forget(e);
}

/* ---- what an earlier agent captured ---- */

static struct netns_sought *earlier_free(struct netns_sought *e)
{
	if (e)
		close_fd(e->fd);
	free(e);
	return NULL;
}

void pods_left_forget(struct pods *p, uint64_t cookie)
{
	(void)earlier_free(map_del(p->earlier, &cookie, sizeof(cookie)));
}

/* Return: NULL: no memory. */
static struct netns_sought *earlier_of(struct pods *p, uint64_t cookie)
{
	struct netns_sought *e = map_get(p->earlier, &cookie, sizeof(cookie));

	if (e)
		return e;
	e = calloc(1, sizeof(*e));
	if (!e)
		return NULL;
	e->cookie = cookie;
	e->fd = -EBADF;
	if (map_put(p->earlier, &cookie, sizeof(cookie), e) < 0)
		return earlier_free(e);
	return e;
}

/* A captured namespace of which no enrolment is known: is it to stay so? */
static bool is_left(void *arg, uint64_t cookie, const char *name)
{
	struct pods *p = arg;
	const struct netns_sought *e = map_get(p->earlier, &cookie, sizeof(cookie));

	if (!p->config.is_outside)
		return false;
	/* unknown is no reason to let it go */
	if (!e || (!e->has_file && p->is_blind))
		return true;
	if ((e->is_found || p->is_blind) && !p->config.is_outside(p->config.arg, name, &e->file))
		return true;
	pods_left_forget(p, cookie);
	return false;
}

static bool is_owned(void *arg, uint64_t netns_cookie)
{
	const struct pods *p = arg;

	return map_get(p->by_cookie, &netns_cookie, sizeof(netns_cookie)) != NULL;
}

static bool is_awaited(void *arg, const char *name)
{
	const struct pods *p = arg;

	map_for_each (p->by_key, it) {
		const struct pod *pod = it.value;

		if (!pod->enrolment && strncmp(pod->spec->key, name, CV_NAME_LEN - 1) == 0)
			return true;
	}
	return p->config.is_awaited && p->config.is_awaited(p->config.arg, name);
}

/* Return: it is one that is_left() will be asked about, and it is not where it was. */
static struct netns_sought *earlier_lost(struct pods *p, uint64_t cookie)
{
	struct netns_sought *e;
	struct cv_pod entry;

	if (is_owned(p, cookie) ||
	    datapath_pod_get(p->config.enrolment->datapath, cookie, &entry) < 0 ||
	    !(entry.flags & CV_POD_CAPTURE))
		return NULL;
	entry.name[sizeof(entry.name) - 1] = '\0';
	if (is_awaited(p, entry.name))
		return NULL;
	e = earlier_of(p, cookie);
	if (!e)
		return NULL;
	e->is_found = e->has_file && netns_file_is_same(e->path, &e->file);
	return e->is_found ? NULL : e;
}

struct lost {
	struct netns_sought **all;
	size_t n;
};

static int lost_add(struct lost *l, struct netns_sought *e)
{
	if (l->n % GROW == 0) {
		struct netns_sought **more = reallocarray(l->all, l->n + GROW, sizeof(*l->all));

		if (!more)
			return -ENOMEM;
		l->all = more;
	}
	l->all[l->n++] = e;
	return 0;
}

/* There may be hundreds of which nothing is left, and a walk through all processes takes a while.
 */
static void earlier_look(struct pods *p)
{
	struct datapath *d = p->config.enrolment->datapath;
	struct lost lost = {0};
	uint64_t cookie = 0;

	p->is_blind = false;
	while (datapath_pod_next(d, &cookie)) {
		struct netns_sought *e = earlier_lost(p, cookie);

		if (e && lost_add(&lost, e) < 0)
			p->is_blind = true;
	}
	if (lost.n > 0 && netns_find_all(p->config.enrolment->home, lost.all, lost.n) < 0)
		p->is_blind = true;
	free(lost.all);
}

static bool has_addr(void *arg, const struct cv_addr *addr)
{
	return pods_addr_is_of_another(arg, NULL, addr);
}

void pods_stale_sweep(struct pods *p)
{
	static const struct adopt_ops ops = {is_owned, is_awaited, is_left, has_addr};

	if (p->config.is_outside)
		earlier_look(p);
	p->has_stale = adopt_sweep(p->config.enrolment->datapath, &ops, p);
}

/* In the order in which they come to an end. */
static const char *earlier_waits_for(const struct pods *p, const char *name, uint64_t cookie)
{
	if (!p->is_synced)
		return "captured by an earlier agent; waiting to hear of the pods of this node";
	if (is_awaited((void *)p, name))
		return "captured by an earlier agent; waiting for its network namespace to be "
		       "found";
	return map_get(p->earlier, &cookie, sizeof(cookie))
		       ? "captured by an earlier agent; its object is gone, its processes are not: "
			 "captured until they end"
		       : "captured by an earlier agent; waiting to be released";
}

static void earlier_tell(const struct pods *p, uint64_t cookie, struct cv_pod *entry,
			 void (*fn)(void *arg, const struct pods_info *info), void *arg)
{
	static const struct exclusions none;
	const struct cv_addr zero = {0};
	struct cv_addr addrs[2];
	struct pods_info info = {.namespace_ = "",
				 .name = entry->name,
				 .state = PODS_PENDING,
				 .netns_cookie = cookie,
				 .addrs = addrs,
				 .exclusions = &none,
				 .is_kept = true};
	char *slash;

	entry->name[sizeof(entry->name) - 1] = '\0';
	info.error = earlier_waits_for(p, entry->name, cookie);
	if (!cv_addr_equal(&entry->addr4, &zero))
		addrs[info.addr_count++] = entry->addr4;
	if (!cv_addr_equal(&entry->addr6, &zero))
		addrs[info.addr_count++] = entry->addr6;
	slash = strchr(entry->name, '/');
	if (slash) {
		*slash = '\0';
		info.namespace_ = entry->name;
		info.name = slash + 1;
	}
	fn(arg, &info);
}

void pods_for_each_earlier(const struct pods *p,
			   void (*fn)(void *arg, const struct pods_info *info), void *arg)
{
	struct datapath *d = p->config.enrolment->datapath;
	struct cv_pod entry;
	uint64_t cookie = 0;

	/* a later agent's are no business of this one */
	while (!p->is_retired && datapath_pod_next(d, &cookie))
		if (!map_get(p->by_cookie, &cookie, sizeof(cookie)) &&
		    datapath_pod_get(d, cookie, &entry) == 0 && (entry.flags & CV_POD_CAPTURE))
			earlier_tell(p, cookie, &entry, fn, arg);
}

void pods_left_free(struct pods *p)
{
	if (p->earlier)
		map_for_each (p->earlier, it)
			(void)earlier_free(it.value);
	map_free(p->earlier);
}

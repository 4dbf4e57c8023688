/* SPDX-License-Identifier: Apache-2.0 */
/* enrolment_addrs - the addresses of an enrolled namespace. A process in it that may configure its
 * network gives itself any that it likes: another's are not taken for the pod's. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "enrolment_private.h"
#include "net/addr.h"

int look_around(void *arg)
{
	struct look *look = arg;
	int r;

	r = netns_cookie(&look->cookie);
	if (r < 0)
		return r;
	return netns_addrs(look->addrs, &look->addr_count);
}

static bool addrs_have(const struct cv_addr *addrs, size_t n, const struct cv_addr *a)
{
	for (size_t i = 0; i < n; i++)
		if (cv_addr_equal(&addrs[i], a))
			return true;
	return false;
}

bool enrolment_has_addr(const struct enrolment *e, const struct cv_addr *addr)
{
	return addrs_have(e->addrs.all, e->addrs.count, addr);
}

bool enrolment_owns_addr(const struct enrolment *e, const struct cv_addr *addr)
{
	return addrs_have(e->addrs.all, e->addrs.own_count, addr);
}

static void append(struct enrolment_addrs *to, const struct cv_addr *a)
{
	if (!addrs_have(to->all, to->count, a))
		to->all[to->count++] = *a;
}

static void refuse(struct enrolment_addrs *to, const struct cv_addr *a)
{
	if (!addrs_have(to->refused, to->refused_count, a))
		to->refused[to->refused_count++] = *a;
}

/* Those of a Pod without any: nobody but its network plugin has been in the namespace before the
 * first look. */
static bool is_plugins(const struct enrolment *e, const struct cv_addr *a)
{
	return e->addrs.count == 0 ? !cv_addr_is_link_local(a) : enrolment_owns_addr(e, a);
}

/* Return: the first of the Pod's that is not there; NULL: none. */
static const struct cv_addr *missing(const struct podspec *spec, const struct look *look)
{
	for (size_t i = 0; i < spec->ip_count; i++)
		if (!addrs_have(look->addrs, look->addr_count, &spec->ips[i]))
			return &spec->ips[i];
	return NULL;
}

bool enrolment_fits(const struct enrolment_context *ctx, const struct podspec *spec,
		    const char *netns)
{
	_cleanup_(close_fdp) int fd = -EBADF;
	struct netns_file file;
	struct look look = {0};

	return spec->ip_count > 0 && netns_open(netns, &fd, &file) == 0 &&
	       netns_call(ctx->home, fd, look_around, &look) == 0 && !missing(spec, &look);
}

static int own_choose(const struct podspec *spec, const struct enrolment *e,
		      const struct look *look, struct enrolment_addrs *ret,
		      char err[ENROLMENT_ERROR_LEN])
{
	const struct cv_addr *none = missing(spec, look);
	char text[CV_ADDR_STRLEN];

	if (none) {
		(void)snprintf(err, ENROLMENT_ERROR_LEN,
			       "status.podIPs: the network namespace %.150s has no address %s",
			       spec->netns, cv_addr_format(none, text));
		return -EINVAL;
	}
	for (size_t i = 0; i < spec->ip_count; i++)
		append(ret, &spec->ips[i]);
	for (size_t i = 0; i < look->addr_count && spec->ip_count == 0; i++)
		if (is_plugins(e, &look->addrs[i]))
			append(ret, &look->addrs[i]);
	ret->own_count = ret->count;
	return 0;
}

static bool is_anothers(const struct enrolment *e, const char *key, const struct cv_addr *a,
			char name[CV_NAME_LEN])
{
	const struct enrolment_others *others = e->ctx->others;

	return others && others->owns(e->ctx->others_arg, key, a, name);
}

int addrs_choose(const struct podspec *spec, const struct enrolment *e, const struct look *look,
		 struct enrolment_addrs *ret, char err[ENROLMENT_ERROR_LEN])
{
	char name[CV_NAME_LEN];
	int r;

	memset(ret, 0, sizeof(*ret));
	r = own_choose(spec, e, look, ret, err);
	if (r < 0)
		return r;
	for (size_t i = 0; i < look->addr_count; i++)
		if (!addrs_have(ret->all, ret->count, &look->addrs[i]) &&
		    is_anothers(e, spec->key, &look->addrs[i], name))
			refuse(ret, &look->addrs[i]);
	for (int is_last = 0; is_last < 2; is_last++)
		for (size_t i = 0; i < look->addr_count; i++)
			if (cv_addr_is_link_local(&look->addrs[i]) == (is_last == 1) &&
			    !addrs_have(ret->refused, ret->refused_count, &look->addrs[i]))
				append(ret, &look->addrs[i]);
	if (ret->count == 0) {
		(void)snprintf(err, ENROLMENT_ERROR_LEN,
			       "the network namespace %.150s has no address yet", spec->netns);
		return -EADDRNOTAVAIL;
	}
	return 0;
}

static void refused_log(const char *key, const struct cv_addr *a, const char *name)
{
	char text[CV_ADDR_STRLEN];

	log_warn("agent",
		 "a pod has given itself an address of another's, which is not taken for its own "
		 "pod=%s address=%s of=%s",
		 key, cv_addr_format(a, text), name);
}

void addrs_refused_log(const struct enrolment *e, const char *key,
		       const struct enrolment_addrs *old)
{
	char name[CV_NAME_LEN];

	for (size_t i = 0; i < e->addrs.refused_count; i++) {
		const struct cv_addr *a = &e->addrs.refused[i];

		if (!addrs_have(old->refused, old->refused_count, a) &&
		    is_anothers(e, key, a, name))
			refused_log(key, a, name);
	}
}

static void addr_forget(const struct enrolment *e, const struct cv_addr *a)
{
	datapath_local_del(e->ctx->datapath, e->cookie, a);
	datapath_pod_addr_del(e->ctx->datapath, e->cookie, a);
}

/* Exclusions at it are the new owner's, which has put its own there. */
void enrolment_lose(struct enrolment *e, const struct cv_addr *addr)
{
	struct enrolment_addrs *a = &e->addrs;
	size_t n = 0, own = 0;

	if (!enrolment_has_addr(e, addr))
		return;
	for (size_t i = 0; i < a->count; i++) {
		if (cv_addr_equal(&a->all[i], addr))
			continue;
		own += i < a->own_count;
		a->all[n++] = a->all[i];
	}
	a->count = n;
	a->own_count = own;
	datapath_steer_del(e->ctx->datapath, addr);
	addr_forget(e, addr);
	enrolment_entry_init(e);
}

bool enrolment_yield(struct enrolment *e, const struct cv_addr *addr, const char *to)
{
	struct enrolment_addrs *a = &e->addrs;
	struct cv_addr mine = *addr;
	size_t n = a->own_count;

	if (!enrolment_has_addr(e, addr) || enrolment_owns_addr(e, addr))
		return false;
	for (size_t i = n; i < a->count; i++)
		if (!cv_addr_equal(&a->all[i], &mine))
			a->all[n++] = a->all[i];
	a->count = n;
	if (a->refused_count < NETNS_MAX_ADDRS)
		refuse(a, &mine);
	refused_log(e->key, &mine, to);
	/* Its owner is steered to when it is captured, or again. */
	datapath_steer_del(e->ctx->datapath, &mine);
	addr_forget(e, &mine);
	enrolment_entry_init(e);
	return true;
}

static bool is_same(const struct enrolment_addrs *a, const struct enrolment_addrs *b)
{
	if (a->count != b->count || a->own_count != b->own_count ||
	    memcmp(a->all, b->all, a->own_count * sizeof(*a->all)) != 0)
		return false;
	for (size_t i = 0; i < a->count; i++)
		if (!addrs_have(b->all, b->count, &a->all[i]))
			return false;
	return true;
}

bool enrolment_others_have(const struct enrolment *e, const struct cv_addr *a)
{
	const struct enrolment_others *others = e->ctx->others;

	return others && others->have(e->ctx->others_arg, e, a);
}

int enrolment_refresh(struct enrolment *e, const struct podspec *spec)
{
	struct enrolment_addrs old = e->addrs, new;
	char err[ENROLMENT_ERROR_LEN];
	struct look look = {0};
	int r;

	r = netns_call(e->ctx->home, e->netns_fd, look_around, &look);
	if (r < 0)
		return r;
	r = addrs_choose(spec, e, &look, &new, err);
	if (r < 0)
		return r;
	if (is_same(&old, &new)) {
		memcpy(e->addrs.refused, new.refused, sizeof(new.refused));
		e->addrs.refused_count = new.refused_count;
		addrs_refused_log(e, spec->key, &old);
		return 0;
	}
	enrolment_rules_forget(e);
	e->addrs = new;
	addrs_refused_log(e, spec->key, &old);
	for (size_t i = 0; i < old.count; i++) {
		if (enrolment_has_addr(e, &old.all[i]))
			continue;
		if (!enrolment_others_have(e, &old.all[i]))
			datapath_steer_del(e->ctx->datapath, &old.all[i]);
		addr_forget(e, &old.all[i]);
	}
	enrolment_entry_init(e);
	enrolment_rules(e, spec);
	return 1;
}

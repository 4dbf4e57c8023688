/* SPDX-License-Identifier: Apache-2.0 */
/* pods_addrs - addresses that more than one pod has. The maps go by address, so that the answer to
 * whose it is must not be a pod's: its status says so, or the control plane. */
#include <bpf/bpf.h>
#include <string.h>

#include "base/log.h"
#include "base/str.h"
#include "net/addr.h"
#include "pods_private.h"

static bool spec_has(const struct podspec *spec, const struct cv_addr *addr)
{
	for (size_t i = 0; i < spec->ip_count; i++)
		if (cv_addr_equal(&spec->ips[i], addr))
			return true;
	return false;
}

/* The map, rather than what fills it: an earlier agent's is there from the start. Nodes and
 * what is outside the mesh do not count, and who is gone owns nothing. */
static bool mesh_owns(const struct pods *p, const char *key, const struct cv_addr *addr,
		      char ret_name[CV_NAME_LEN])
{
	int fd = datapath_map_fd(p->config.enrolment->datapath, DATAPATH_WORKLOADS);
	struct cv_dest dest;

	if (bpf_map_lookup_elem(fd, addr, &dest) < 0 ||
	    (dest.flags & (CV_DEST_MESH | CV_DEST_GONE)) != CV_DEST_MESH ||
	    strncmp(dest.name, key, CV_NAME_LEN - 1) == 0)
		return false;
	(void)str_copy(ret_name, CV_NAME_LEN, dest.name);
	return true;
}

static bool others_own(void *arg, const char *key, const struct cv_addr *addr,
		       char ret_name[CV_NAME_LEN])
{
	const struct pods *p = arg;

	map_for_each (p->by_key, it) {
		const struct pod *pod = it.value;

		if (streq(pod->spec->key, key) ||
		    !(spec_has(pod->spec, addr) ||
		      (pod->enrolment && enrolment_owns_addr(pod->enrolment, addr))))
			continue;
		(void)str_copy(ret_name, CV_NAME_LEN, pod->spec->key);
		return true;
	}
	return mesh_owns(p, key, addr, ret_name);
}

bool pods_addr_is_of_another(const struct pods *p, const struct enrolment *self,
			     const struct cv_addr *addr)
{
	const struct enrolment *e;

	list_for_each_entry (e, &p->enrolments, link)
		if (e != self && enrolment_has_addr(e, addr))
			return true;
	return false;
}

static bool others_have(void *arg, const struct enrolment *self, const struct cv_addr *addr)
{
	return pods_addr_is_of_another(arg, self, addr);
}

const struct enrolment_others pods_others = {.owns = others_own, .have = others_have};

void pods_unoffer(struct pods *p, struct enrolment *e)
{
	if (e->is_offered && !e->is_acked)
		p->in_flight--;
	e->is_offered = e->is_acked = false;
}

static void claim_one(struct pods *p, const struct enrolment *owner, const struct cv_addr *addr)
{
	struct enrolment *e;

	list_for_each_entry (e, &p->enrolments, link)
		if (e != owner && e->owner && e->owner->left_key)
			enrolment_lose(e, addr);
		else if (e != owner && enrolment_yield(e, addr, owner->key))
			pods_unoffer(p, e);
	list_for_each_entry (e, &p->draining, link)
		if (e != owner)
			(void)enrolment_yield(e, addr, owner->key);
}

void pods_addrs_claim(struct pods *p, const struct enrolment *e)
{
	for (size_t i = 0; i < e->addrs.own_count; i++)
		claim_one(p, e, &e->addrs.all[i]);
}

static bool clash_resolve(struct pods *p, struct enrolment *self, const struct cv_addr *addr)
{
	if (!pods_addr_is_of_another(p, self, addr))
		return false;
	datapath_steer_del(self->ctx->datapath, addr);
	return true;
}

void pods_clashes_resolve(struct pods *p, struct enrolment *e)
{
	e->unsteered = 0;
	for (size_t i = e->addrs.own_count; i < e->addrs.count; i++) {
		const struct cv_addr *a = &e->addrs.all[i];

		if (!clash_resolve(p, e, a))
			continue;
		e->unsteered |= 1u << i;
		log_warn("agent", "two pods have one %saddress, which is not served pod=%s",
			 cv_addr_is_link_local(a) ? "link-local " : "", e->key);
	}
}

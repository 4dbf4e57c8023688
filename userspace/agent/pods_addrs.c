/* SPDX-License-Identifier: Apache-2.0 */
/* pods_addrs - addresses that more than one pod has. */
#include "base/log.h"
#include "pods_private.h"

bool pods_addr_is_of_another(const struct pods *p, const struct enrolment *self,
			     const struct cv_addr *addr)
{
	const struct enrolment *e;

	list_for_each_entry (e, &p->enrolments, link)
		if (e != self && enrolment_has_addr(e, addr))
			return true;
	return false;
}

void pods_clashes_resolve(struct pods *p, struct enrolment *e)
{
	e->unsteered = 0;
	for (size_t i = 0; i < e->addr_count; i++) {
		if (!enrolment_is_link_local(&e->addrs[i]) ||
		    !pods_addr_is_of_another(p, e, &e->addrs[i]))
			continue;
		e->unsteered |= 1u << i;
		datapath_steer_del(e->ctx->datapath, &e->addrs[i]);
		log_warn("agent",
			 "two pods have one link-local address, which is not served pod=%s",
			 e->key);
	}
}

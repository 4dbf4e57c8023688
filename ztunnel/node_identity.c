/* SPDX-License-Identifier: Apache-2.0 */
/* node_identity - which identity a pod of this node has: its workload says so. While no control
 * plane is there to tell of a pod that is new, the agent's word for its namespace and service
 * account counts, if this node holds a certificate of that very identity for another pod: the same
 * one, on the same node, is what a control plane would give it. That is enough to dial. Who may
 * dial the pod is not known, so nobody may, and nobody finds it. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/str.h"
#include "net/addr.h"
#include "tls/spiffe.h"
#include "userspace/lib/xds/workload.pb-c.h"
#include "ztunnel/certs.h"
#include "ztunnel/node_internal.h"
#include "ztunnel/pod.h"
#include "ztunnel/stand_in.h"
#include "ztunnel/state.h"
#include "ztunnel/xds_sync.h"

#define TARGET "ztunnel"

static bool is_of(const char *identity, const struct pod *p, struct spiffe_id *ret)
{
	return spiffe_parse(identity, ret) == 0 && streq(ret->namespace_, p->namespace_) &&
	       streq(ret->service_account, p->service_account);
}

/* The identity of another pod that has a certificate and is the one of @p. Return: borrowed; NULL.
 */
static const char *identity_find(const struct node *n, const struct pod *p, struct spiffe_id *ret)
{
	map_for_each (n->pods, it) {
		const struct node_pod *other = it.value;

		if (other->identity && is_of(other->identity, p, ret) &&
		    state_tls_identity(n->state, other->identity))
			return other->identity;
	}
	return NULL;
}

static int stand_in_set(struct node *n, const struct pod *p, struct spiffe_id *id)
{
	Istio__Workload__Workload w = ISTIO__WORKLOAD__WORKLOAD__INIT;
	Istio__Workload__Address m = ISTIO__WORKLOAD__ADDRESS__INIT;
	_cleanup_(freep) char *cluster = strndup(p->uid, strcspn(p->uid, "/"));
	_cleanup_(freep) uint8_t *packed = NULL;
	size_t len;

	w.uid = (char *)(uintptr_t)p->uid;
	w.name = w.workload_name = w.canonical_name = (char *)(uintptr_t)p->name;
	w.namespace_ = (char *)(uintptr_t)p->namespace_;
	w.service_account = (char *)(uintptr_t)p->service_account;
	w.trust_domain = id->trust_domain;
	w.node = (char *)(uintptr_t)n->config.name;
	w.cluster_id = cluster;
	w.tunnel_protocol = ISTIO__WORKLOAD__TUNNEL_PROTOCOL__HBONE;
	w.workload_type = ISTIO__WORKLOAD__WORKLOAD_TYPE__POD;
	m.type_case = ISTIO__WORKLOAD__ADDRESS__TYPE_WORKLOAD;
	m.workload = &w;
	len = istio__workload__address__get_packed_size(&m);
	packed = malloc(len);
	if (!cluster || !packed)
		return -ENOMEM;
	(void)istio__workload__address__pack(&m, packed);
	return xds_sync_set_stand_in(n->xds, p->uid, packed, len);
}

static void stand_in_try(struct node *n, struct node_pod *np)
{
	struct spiffe_id id;
	const char *identity;
	int r;

	if (np->identity || !n->state || !state_is_alone(n->state) || !*np->pod->service_account)
		return;
	identity = identity_find(n, np->pod, &id);
	if (!identity)
		return;
	np->identity = strdup(identity);
	/* so that it stays when the other pod goes */
	r = np->identity ? certs_want(n->certs, np->identity) : -ENOMEM;
	if (r == 0) {
		r = stand_in_set(n, np->pod, &id);
	} else {
		free(np->identity);
		np->identity = NULL;
	}
	np->has_stand_in = r == 0;
	if (r < 0)
		(void)log_error_errno(TARGET, r, "pod waits for a control plane pod=%s/%s",
				      np->pod->namespace_, np->pod->name);
	else
		log_info(TARGET, "dials without a control plane pod=%s/%s identity=%s",
			 np->pod->namespace_, np->pod->name, np->identity);
}

void node_pod_want(struct node *n, struct node_pod *np)
{
	const struct pod *p = np->pod;
	const struct workload *w =
		n->state ? state_pod(n->state, p->uid, p->service_account, 0) : NULL;
	char *old = np->identity;
	int r;

	if (!w)
		stand_in_try(n, np);
	if (!w || w->app->identity[0] == '\0' || (old && streq(old, w->app->identity)))
		return;
	r = certs_want(n->certs, w->app->identity);
	if (r < 0) {
		(void)log_error_errno(TARGET, r,
				      "cannot ask for a certificate pod=%s/%s identity=%s",
				      np->pod->namespace_, np->pod->name, w->app->identity);
		return;
	}
	np->identity = strdup(w->app->identity);
	if (old)
		certs_unwant(n->certs, old);
	free(old);
}

void node_stand_in_drop(struct node *n, const struct node_pod *np)
{
	if (!np->has_stand_in)
		return;
	map_for_each (n->pods, it) {
		const struct node_pod *other = it.value;

		/* made anew under its name */
		if (other->has_stand_in && streq(other->pod->uid, np->pod->uid))
			return;
	}
	if (xds_sync_set_stand_in(n->xds, np->pod->uid, NULL, 0) < 0)
		log_error(TARGET, "out of memory pod=%s/%s", np->pod->namespace_, np->pod->name);
}

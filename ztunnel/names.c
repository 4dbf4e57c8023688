/* SPDX-License-Identifier: Apache-2.0 */
#include "ztunnel/names.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/str.h"
#include "ztunnel/dns.h"
#include "ztunnel/resolve.h"
#include "ztunnel/worker.h"

#define ADDRS_MAX 64

/* Goes to the main thread and comes back. */
struct name_query {
	struct message m;
	struct worker *worker;
	struct name_wait *wait; /* the worker's to look at; NULL: cancelled */
	uint64_t netns_cookie;
	struct cv_addr addr;
	const struct worker_ops *ops;
	struct dns_ask ask;
	int error;
	size_t count;
	struct cv_addr addrs[ADDRS_MAX];
};

static void run_answer(void *target, struct message *m)
{
	struct name_query *q = container_of(m, struct name_query, m);
	struct name_wait *wait = target ? q->wait : NULL;

	if (wait) {
		wait->query = NULL;
		wait->on_names(wait, q->error, q->addrs, q->count);
	}
	free(q);
}

static void send_back(struct name_query *q, int error)
{
	q->error = error;
	q->m.run = run_answer;
	inbox_post(&q->worker->inbox, &q->m);
}

static void on_answer(struct dns_ask *ask, int error, const struct cv_addr *addrs, size_t count)
{
	struct name_query *q = container_of(ask, struct name_query, ask);

	q->count = MIN(count, (size_t)ADDRS_MAX);
	if (q->count)
		memcpy(q->addrs, addrs, q->count * sizeof(*addrs));
	send_back(q, error);
}

void names_serve(struct name_query *q, struct dns *d)
{
	int r = 0;

	dns_count_named(d, q->netns_cookie, q->ask.host);
	if (q->ask.host[0] == '*')
		r = dns_name_at(d, q->netns_cookie, &q->addr, q->ask.host);
	if (r < 0) {
		send_back(q, r);
		return;
	}
	q->ask.on_answer = on_answer;
	dns_resolve(d, q->netns_cookie, &q->ask);
}

static void run_ask(void *target, struct message *m)
{
	struct name_query *q = container_of(m, struct name_query, m);

	if (target)
		q->ops->on_name(target, q);
	else
		send_back(q, -ESHUTDOWN);
}

int names_ask(struct worker *w, const struct name_ask *ask, struct name_wait *wait)
{
	_cleanup_(freep) struct name_query *q = calloc(1, sizeof(*q));

	if (!q)
		return -ENOMEM;
	if (str_copy(q->ask.host, sizeof(q->ask.host), ask->host) < 0)
		return -ENAMETOOLONG;
	q->m.run = run_ask;
	q->worker = w;
	q->wait = wait;
	q->netns_cookie = ask->netns_cookie;
	q->addr = ask->addr;
	q->ops = w->ops;
	wait->query = q;
	inbox_post(w->main_inbox, &q->m);
	(void)TAKE_PTR(q);
	return 0;
}

void names_cancel(struct name_wait *wait)
{
	if (wait->query)
		wait->query->wait = NULL;
	wait->query = NULL;
}

const char *names_error(int error)
{
	switch (error) {
	case -ENOENT:
		return "the endpoint's name has no address in DNS";
	case -ETIMEDOUT:
		return "no nameserver of the pod answered for the endpoint's name in time";
	case -ENETDOWN:
		return "no nameserver of the pod is known to ask for the endpoint's name (none "
		       "with a zone, like fe80::1%eth0, can be)";
	case -ENOSPC:
		return "too many names of endpoints are being resolved for this pod";
	case -EHOSTUNREACH:
		return RESOLVE_NO_ADDRESS;
	case -EADDRNOTAVAIL:
		return "this pod has not asked of late for the name below the wildcard whose "
		       "address this is";
	case -ECANCELED:
		return "the pod is gone";
	default:
		return "the endpoint's name could not be resolved";
	}
}

/* SPDX-License-Identifier: Apache-2.0 */
/* node - whom it trusts: revocation lists, trust domains, roots; and what follows from a change. */
#include <errno.h>

#include "base/log.h"
#include "base/str.h"
#include "tls/trust.h"
#include "ztunnel/agent_link.h"
#include "ztunnel/certs.h"
#include "ztunnel/crl_watch.h"
#include "ztunnel/node_internal.h"
#include "ztunnel/settings.h"
#include "ztunnel/xds_sync.h"

#define TARGET "ztunnel"

/* Open connections are looked at again, those without a tunnel too: the agent asks for their
 * verdicts anew. */
static void trust_changed(struct node *n)
{
	for (unsigned int i = 0; i < n->config.workers; i++)
		if (n->workers[i].is_running)
			worker_post_trust(&n->workers[i]);
	if (n->has_asked && n->agent)
		(void)agent_link_policy(n->agent);
}

static void on_crl(void *arg)
{
	trust_changed(arg);
}

static void on_clock_step(struct clock_watch *w)
{
	struct node *n = container_of(w, struct node, clock);

	log_info(TARGET, "the clock was set, looking at certificates anew");
	certs_clock_stepped(n->certs);
}

int node_trust_make(struct node *n)
{
	struct crl_watch_config crl = {
		.loop = n->loop, .path = n->config.crl, .on_change = on_crl, .arg = n};
	int r = tls_trust_new(&n->trust);

	crl.trust = n->trust;
	if (r == 0)
		r = clock_watch_start(&n->clock, n->loop, on_clock_step);
	return r == 0 && crl.path ? crl_watch_new(&crl, &n->crl) : r;
}

static bool has_domain(const struct settings *s, const char *name)
{
	for (size_t i = 0; i < s->domain_count; i++)
		if (streq(s->domains[i], name))
			return true;
	return false;
}

/* What could not be taken over is tried again with the next snapshot. */
static void domains_take(struct node *n, char *const *names, size_t count)
{
	int r = tls_trust_set_domains(n->trust, (const char *const *)names, count);

	if (r < 0) {
		(void)log_error_errno(TARGET, r, "trust domain aliases not taken over");
		n->has_new_domains = true;
		return;
	}
	log_info(TARGET, "trust domain aliases taken over count=%zu", count);
	trust_changed(n);
}

/* Policies mean each of the names. Those that go are no longer trusted before the policies stop
 * naming them, those that come are when the policies do: else a peer of such a name would be let in
 * past a DENY that is for it. One that came before may not be trusted yet. */
static void domains_change(struct node *n, const struct settings *s)
{
	const struct settings *old = &n->settings;
	char *kept[TRUST_DOMAINS_MAX];
	bool is_less = false;
	size_t count = 0;

	n->has_new_domains = false;
	for (size_t i = 0; i < s->domain_count; i++)
		n->has_new_domains |= !tls_trust_is_domain(n->trust, s->domains[i]);
	for (size_t i = 0; i < old->domain_count; i++) {
		if (!has_domain(s, old->domains[i]))
			is_less = true;
		else if (tls_trust_is_domain(n->trust, old->domains[i]))
			kept[count++] = old->domains[i];
	}
	if (is_less)
		domains_take(n, kept, count);
}

static void no_conn(void *arg, const struct conn *c)
{
}

/* New ones that the workers have not been asked about wait for the next snapshot. */
static void on_told(void *main, void *arg)
{
	struct node *n = main;

	if (--n->untold == 0 && !n->has_new_domains)
		domains_take(n, n->settings.domains, n->settings.domain_count);
}

/* A worker that answers has come to the snapshot, which it was sent before. */
void node_trust_state(struct node *n)
{
	if (!n->has_new_domains)
		return;
	n->has_new_domains = false;
	n->untold++; /* this call's own, that it ends with */
	for (unsigned int i = 0; i < n->config.workers; i++) {
		if (!n->workers[i].is_running)
			continue;
		if (worker_post_collect(&n->workers[i], no_conn, on_told, NULL) == 0)
			n->untold++;
		else
			n->has_new_domains = true;
	}
	if (n->has_new_domains)
		log_error(TARGET, "trust domain aliases not taken over yet: out of memory");
	on_told(n, NULL);
}

void node_trust_settings(void *arg, struct settings *s)
{
	struct node *n = arg;

	domains_change(n, s);
	if (n->settings.trust_bundle && !streq(n->settings.trust_bundle, s->trust_bundle)) {
		log_info(TARGET, "roots or signer of the CA changed, renewing certificates");
		certs_renew(n->certs);
	}
	settings_clear(&n->settings);
	n->settings = *s;
	*s = (struct settings){0};
}

void node_trust_identity(void *arg, const char *identity, const struct tls_identity *t)
{
	struct node *n = arg;
	int r = xds_sync_set_identity(n->xds, identity, t);

	if (r < 0)
		(void)log_error_errno(TARGET, r, "cannot publish certificate identity=%s",
				      identity);
	/* a new one is on no list: what was refused without a tunnel may be allowed */
	n->is_renewed |= n->crl && t;
}

void node_trust_connected(void *arg)
{
	certs_retry(((struct node *)arg)->certs);
}

void node_trust_free(struct node *n)
{
	clock_watch_stop(&n->clock);
	n->crl = crl_watch_free(n->crl);
	n->trust = tls_trust_free(n->trust);
	settings_clear(&n->settings);
}

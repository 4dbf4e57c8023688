/* SPDX-License-Identifier: Apache-2.0 */
#include "ztunnel/settings.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tls/spiffe.h"
#include "tls/trust.h"
#include "userspace/lib/xds/node.pb-c.h"
#include "xds/unpack.h"

#define UNPACK_BLOCK 1000

static bool is_trust_domain(const char *name)
{
	char id[SPIFFE_ID_SIZE];

	return spiffe_format(name, "n", "a", id) == 0;
}

static int domains_copy(const Culvert__Node__Config *m, struct settings *s, char *err, size_t size)
{
	if (m->n_trust_domain_aliases > TRUST_DOMAINS_MAX) {
		(void)snprintf(err, size, "trust_domain_aliases: expected %d at most",
			       TRUST_DOMAINS_MAX);
		return -EINVAL;
	}
	s->domains = calloc(m->n_trust_domain_aliases + 1, sizeof(*s->domains));
	if (!s->domains)
		return -ENOMEM;
	for (size_t i = 0; i < m->n_trust_domain_aliases; i++) {
		if (!is_trust_domain(m->trust_domain_aliases[i])) {
			(void)snprintf(err, size, "trust_domain_aliases: not a trust domain");
			return -EINVAL;
		}
		s->domains[i] = strdup(m->trust_domain_aliases[i]);
		if (!s->domains[i])
			return -ENOMEM;
		s->domain_count++;
	}
	return 0;
}

int settings_decode(const void *packed, size_t len, struct settings *ret, char *err,
		    size_t err_size)
{
	_cleanup_(settings_clearp) struct settings s = {0};
	_cleanup_(unpack_resetp) struct unpack unpack;
	const Culvert__Node__Config *m;
	int r;

	unpack_init(&unpack, UNPACK_BLOCK);
	m = culvert__node__config__unpack(&unpack.memory, len, packed);
	if (!m) {
		(void)snprintf(err, err_size, "not a culvert.node.Config");
		return unpack_error(&unpack);
	}
	r = domains_copy(m, &s, err, err_size);
	if (r == 0) {
		s.is_access_log_off = m->is_access_log_off;
		s.has_drain = m->has_drain;
		s.drain_us = MIN(m->drain_ms, SETTINGS_DRAIN_MAX_MS) * 1000;
		s.is_registry_only =
			m->outbound_traffic != CULVERT__NODE__CONFIG__OUTBOUND_TRAFFIC__ALLOW_ANY;
		s.trust_bundle = strdup(m->trust_bundle);
		s.cluster_domain = strdup(m->cluster_domain);
		r = s.trust_bundle && s.cluster_domain ? 0 : -ENOMEM;
	}
	if (r < 0)
		return r;
	*ret = s;
	s = (struct settings){0};
	return 0;
}

void settings_clear(struct settings *s)
{
	for (size_t i = 0; i < s->domain_count; i++)
		free(s->domains[i]);
	free(s->domains);
	free(s->trust_bundle);
	free(s->cluster_domain);
	*s = (struct settings){0};
}

/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* certs - the certificates of the identities that run on this node: one key and one certificate
 * each, renewed at half life, with back-off; the old one serves until it expires. Keys live in
 * memory only. Thread: the main loop. */
#include <stdint.h>

#include <jansson.h>

#include "base/cleanup.h"
#include "base/macros.h"
#include "xds/dial.h"

struct certs; /* opaque */
struct loop;
struct tls_trust;
struct tls_identity;

struct certs_config {
	struct loop *loop;         /* borrowed */
	struct dial_target target; /* the CA; copied */
	/** on_identity() - a certificate to publish (@t counted by the taker), or NULL: gone or
	 * expired. */
	void (*on_identity)(void *arg, const char *identity, const struct tls_identity *t);
	void *arg;
	struct tls_trust *trust; /* of connections made with them; borrowed; NULL: none */
};

/** certs_new() - Return: 0; -errno. */
_must_check_ int certs_new(const struct certs_config *config, struct certs **ret);
struct certs *certs_free(struct certs *c);
DEFINE_CLEANUP(struct certs *, certs_free);

/**
 * certs_want() - a pod with this identity is here; counted, each wants one certs_unwant()
 * @identity: "spiffe://<td>/ns/<ns>/sa/<sa>"; copied.
 * Return: 0; -EINVAL not such an identity; -ENOMEM; -ENOSPC too many identities.
 */
_must_check_ int certs_want(struct certs *c, const char *identity);

/** certs_unwant() - that pod is gone; the last one drops key and certificate. Unknown identities
 * are ignored. */
void certs_unwant(struct certs *c, const char *identity);

/** certs_renew() - the CA's roots or signer changed: ask for every certificate again within a
 * second. Those there are serve until then. */
void certs_renew(struct certs *c);

/** certs_retry() - the control plane is back: what the CA did not give meanwhile is asked for
 * within a second, not when its back-off, which may be minutes by now, is over. */
void certs_retry(struct certs *c);

/** certs_clock_stepped() - CLOCK_REALTIME was set: drop what has expired by it, ask again within a
 * second for what is past half life or not good yet, and wait anew for the rest. */
void certs_clock_stepped(struct certs *c);

/** certs_to_json() - the `certificates` array of config_dump; new reference. Return: NULL when out
 * of memory. */
json_t *certs_to_json(const struct certs *c);

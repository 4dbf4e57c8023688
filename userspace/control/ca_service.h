/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* ca_service - CreateCertificate. Signs only for identities that some pod on this node has. The
 * node's agent may tell ztunnel of a pod a moment before the folder's change arrives here, so an
 * identity that is not known yet is waited for, briefly. A caller that names no identity asks for
 * its own. Many are signed over several turns of the loop. Owner: control. Thread: its loop. */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/cleanup.h"
#include "base/loop.h"
#include "ca.h"
#include "csr_signer.h"
#include "gate.h"
#include "http/grpc.h"

struct ca_service; /* opaque */

/** struct ca_settings - how long certificates live. */
struct ca_settings {
	int64_t ttl_s;     /* where the request names no life; 0: CA_TTL_S */
	int64_t ttl_max_s; /* who asks for more gets this; 0: CA_TTL_MAX_S */
};

struct ca_service_config {
	struct loop *loop; /* borrowed */
	struct ca *ca;     /* borrowed */
	struct ca_settings settings;
	struct csr_signer *signer; /* borrowed; signs instead of @ca; NULL: nobody else */
	/** is_known() - may @caller have a certificate for @spiffe: does a pod of its node run
	 * under it? @caller: NULL on a node's own socket. */
	bool (*is_known)(void *arg, const struct caller *caller, const char *spiffe);
	/** may_ask() - may @caller ask for any identity but its own? */
	bool (*may_ask)(void *arg, const struct caller *caller);
	const char *trust_domain; /* borrowed; of those who ask for themselves */
	void *arg;
};

_must_check_ int ca_service_new(const struct ca_service_config *config, struct ca_service **ret);
/** ca_service_free() - after the gRPC server that serves its method. Takes NULL. Return: NULL. */
struct ca_service *ca_service_free(struct ca_service *s);
DEFINE_CLEANUP(struct ca_service *, ca_service_free);
struct grpc_method ca_service_method(struct ca_service *s);
/** ca_service_set_ca() - who signs from now on; borrowed. */
void ca_service_set_ca(struct ca_service *s, struct ca *ca);
/** ca_service_retry() - the set of pods changed: look again at the requests that wait. */
void ca_service_retry(struct ca_service *s);

/** struct ca_service_counts - so far. What was asked and is in neither waits, or its client left.
 */
struct ca_service_counts {
	size_t asked, granted;
	size_t strangers; /* refused: may not have a certificate for that identity */
	size_t malformed; /* refused: the request is wrong */
	size_t failed;    /* refused: we could not */
};

struct ca_service_counts ca_service_counts(const struct ca_service *s);

/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* csr_signer - somebody else's CA behind Kubernetes' CertificateSigningRequest: the request is
 * handed in, approved and waited for, and taken away again. Owner: ca_service's. Thread: its loop.
 */
#include <stddef.h>
#include <stdint.h>

#include "base/cleanup.h"
#include "base/loop.h"
#include "base/macros.h"
#include "source/kube_client.h"

#define CSR_SIGNER_CACERTS "/etc/external-ca-cert/root-cert.pem" /* of Secret external-ca-cert */

struct csr_signer;  /* opaque */
struct csr_request; /* opaque; one certificate */

struct csr_signer_config {
	struct loop *loop;        /* borrowed */
	struct kube_client *kube; /* borrowed */
	const char *signer;       /* "example.com/mesh"; copied */
	const char *roots_pem;    /* whom its certificates chain to; copied */
	uint64_t look_us;         /* to the first look at a request, then longer; 0: 100 ms */
	uint64_t patience_us;     /* for all of one; 0: 8 s, less than a node waits */
};

/**
 * csr_signed - the end of a request, once, never inside csr_signer_sign()
 * @error: 0; -EACCES the signer refused; -ETIMEDOUT; -EREMOTEIO the API server did; -EBADMSG no
 * certificate in its answer. @message: a sentence about it. @chain: PEM: leaf, intermediates,
 * roots; borrowed; NULL on failure.
 */
typedef void csr_signed(void *arg, int error, const char *message, char **chain, size_t n);

/** struct csr_wanted - one certificate. */
struct csr_wanted {
	const char
		*csr_pem; /* checked already by ca_request_is_for(): the signer takes its names */
	int64_t ttl_s;    /* ten minutes at least */
	csr_signed *on_signed;
	void *arg;
};

_must_check_ int csr_signer_new(const struct csr_signer_config *config, struct csr_signer **ret);
/** csr_signer_open() - the one of option --external-ca: csr_signer_new() with the root from
 * CSR_SIGNER_CACERTS. @signer: its name. @ret_roots: PEM, the caller's. Return: 0; -errno, logged:
 * no such file, or -ENOMEM. Blocks: reads the file. */
_must_check_ int csr_signer_open(struct loop *loop, struct kube_client *kube, const char *signer,
				 char **ret_roots, struct csr_signer **ret);
/** csr_signer_free() - open requests end without their callback. Takes NULL. Return: NULL. */
struct csr_signer *csr_signer_free(struct csr_signer *s);
DEFINE_CLEANUP(struct csr_signer *, csr_signer_free);

/** csr_signer_sign() - hand a request in. @wanted: copied. Return: 0; -ENOMEM. */
_must_check_ int csr_signer_sign(struct csr_signer *s, const struct csr_wanted *wanted,
				 struct csr_request **ret);
/** csr_request_cancel() - no callback. Takes NULL. Return: NULL. */
struct csr_request *csr_request_cancel(struct csr_request *q);

/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* ca_secret - the self-made CA that all replicas share, Secret istio-ca-secret, as files for
 * ca_files and ca_watch. A change of it reaches every replica's files; its leader renews the root
 * long before it ends. Owner: main. Thread: its loop. */
#include <stdbool.h>
#include <stdint.h>

#include "base/cleanup.h"
#include "base/loop.h"
#include "base/macros.h"
#include "bootstrap.h"
#include "ca.h"

#define CA_SECRET_CACERTS "/etc/cacerts" /* where Secret cacerts is mounted, when there is one */

/**
 * ca_secret_fetch() - at the start: the Secret as files
 * @dir: private, in memory; made. The first of several replicas makes the CA, the others take it.
 * Return: 0; -EINTR stopped; -errno of the files; -EBADMSG the Secret is not one of a CA.
 */
_must_check_ int ca_secret_fetch(const struct bootstrap *b, const char *dir,
				 const struct ca_root *root);

struct ca_secret; /* opaque */

struct ca_secret_config {
	struct loop *loop;        /* borrowed */
	struct kube_client *kube; /* borrowed */
	const char *namespace_;   /* borrowed for the call */
	const char *dir;          /* as ca_secret_fetch(); copied */
	struct ca_root root;      /* how the next one is made */
	uint64_t check_us;        /* how often its age is looked at; 0: an hour */
	/** ca() - what signs now; borrowed. */
	const struct ca *(*ca)(void *arg);
	void *arg;
};

_must_check_ int ca_secret_new(const struct ca_secret_config *config, struct ca_secret **ret);
struct ca_secret *ca_secret_free(struct ca_secret *s);
DEFINE_CLEANUP(struct ca_secret *, ca_secret_free);
/** ca_secret_lead() - look after the root's age from now on, or leave it to another. */
void ca_secret_lead(struct ca_secret *s, bool is_leader);

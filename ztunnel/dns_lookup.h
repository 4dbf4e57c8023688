/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* dns_lookup - which service a name means to a pod. Pure function of a snapshot. */
#include <stdbool.h>
#include <stddef.h>

#include "base/macros.h"
#include "ztunnel/dns_wire.h"

struct service;
struct state;
struct workload;

#define DNS_SEARCH_MAX 8
#define DNS_ADDRS_MAX  64

/** struct dns_client - who asks. */
struct dns_client {
	const char *namespace_;
	const char *search[DNS_SEARCH_MAX]; /* the pod's own list */
	size_t search_count;
	/* The list is not known but assumed: short names are lengthened by it. Else that is for the
	 * pod's resolver to do, which knows its options: a short name may be a real one. */
	bool is_assumed;
};

/** struct dns_match - what was found. */
struct dns_match {
	const struct service *service;
	const struct workload *pod; /* one pod of a headless service was asked for; else NULL */
	char name[DNS_NAME_SIZE];   /* that was found, or is below the wildcard that was */
	char cname[DNS_NAME_SIZE];  /* set when a search domain was stripped, else "" */
};

/** dns_lookup() - Return: 0; -ENOENT not a name of the mesh, or of a host that has ranges alone. */
_must_check_ int dns_lookup(const struct state *s, const struct dns_client *client,
			    const char *cluster_domain, const char *name, struct dns_match *ret);

/** dns_addrs() - addresses of what was found in the family of @type, shuffled. Return: how many, at
 * most DNS_ADDRS_MAX. */
size_t dns_addrs(const struct dns_match *m, enum dns_type type, struct cv_addr into[DNS_ADDRS_MAX]);

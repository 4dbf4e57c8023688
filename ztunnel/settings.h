/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* settings - culvert.node.Config as ztunnel uses it: what Istio's types cannot carry. Owner:
 * whoever decoded it. */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/cleanup.h"
#include "base/macros.h"

#define SETTINGS_DRAIN_MAX_MS UINT64_C(86400000)

/** struct settings - zeroed: what holds without a control plane of ours. */
struct settings {
	char **domains; /* further names of our trust domain */
	size_t domain_count;
	char *trust_bundle;   /* another text: other roots or another signer */
	char *cluster_domain; /* of Services' names; NULL, "": not said */
	bool is_access_log_off;
	bool is_registry_only; /* outboundTrafficPolicy */
	bool has_drain;
	uint64_t drain_us; /* terminationDrainDuration */
};

/**
 * settings_decode() - @ret: cleared by the caller with settings_clear(); untouched on failure.
 * @err: on failure a sentence that names the field.
 * Return: 0; -EBADMSG not decodable; -EINVAL a field; -ENOMEM.
 */
_must_check_ int settings_decode(const void *packed, size_t len, struct settings *ret, char *err,
				 size_t err_size);
void settings_clear(struct settings *s);
static inline void settings_clearp(struct settings *s)
{
	settings_clear(s);
}

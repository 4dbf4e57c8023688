/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* features - what the running kernel can do for us, found by probing and never by its version. One
 * table. */
#include <stdbool.h>
#include <stddef.h>

#include "base/macros.h"

struct feature {
	const char *name;    /* "sk_lookup programs" */
	const char *since;   /* first mainline kernel, "5.9" */
	const char *without; /* what still works where it is missing */
	bool is_required;    /* the agent cannot serve without it */
	bool is_present;
};

enum { FEATURE_COUNT = 12 };

/** features_probe() - fill the table. Needs CAP_BPF; takes a few milliseconds. */
void features_probe(struct feature ret[FEATURE_COUNT]);

/** features_check() - log every missing feature, once. Return: 0; -EOPNOTSUPP a required one is
 * missing. */
_must_check_ int features_check(const struct feature features[FEATURE_COUNT]);

/** features_is_off() - must the agent do without what came with kernel @since ("5.18")? So say
 * tests with CULVERT_KERNEL_LEVEL=5.15: a newer kernel then serves as one of that version. Every
 * probe asks this first. What cannot be read as a version switches all off: no pod is enrolled. */
_must_check_ bool features_is_off(const char *since);

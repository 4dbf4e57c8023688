/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* ztunnel_config - tables of ztunnel's /config_dump, with the columns of `istioctl ztunnel-config`.
 */
#include <jansson.h>
#include <stdbool.h>

#include "base/option.h"

/** struct zc_options - what every `ztunnel-config` subcommand takes. */
struct zc_options {
	const char *node;
	const char *run_dir;
	const char *file;
	const char *output;
	const char *namespace_;              /* only what is in it; NULL: all */
	const char *option_n;                /* the same; with @pod that of the pod */
	const char *pod;                     /* the argument; NULL: none */
	const char *workload_node, *address; /* workloads: only those; NULL: all */
	const char *direction;
	bool is_raw;
	const char *level;
	bool is_reset;
};

/** struct zc_view - one subcommand: the key of the dump that it shows, and the table of it. */
struct zc_view {
	const char *name;
	const char *aliases[4]; /* istioctl's; the first one is in the help */
	const char *key;        /* NULL: the whole dump */
	const char *help;
	int (*print)(const json_t *dump, const struct zc_options *o);
	bool is_everywhere; /* every ztunnel of the mesh knows the same of it */
};

/** zc_narrow() - leave in @dump what the options ask for: what is not printed as a table. Tables
 * have it whole, since names of addresses come from all of it. */
void zc_narrow(json_t *dump, const struct zc_options *o);

int zc_print_workloads(const json_t *dump, const struct zc_options *o);
int zc_print_services(const json_t *dump, const struct zc_options *o);
int zc_print_policies(const json_t *dump, const struct zc_options *o);
int zc_print_certificates(const json_t *dump, const struct zc_options *o);
int zc_print_connections(const json_t *dump, const struct zc_options *o);

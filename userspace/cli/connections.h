/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* connections - records and tables of `culvert connections`, from ztunnel's /connections. */
#include <jansson.h>

#include "admin.h"
#include "base/macros.h"

/** struct connections_filter - NULL: no restriction. */
struct connections_filter {
	const char *namespace_;
	const char *pod;       /* NAME or NAMESPACE/NAME */
	const char *service;   /* NAME, NAMESPACE/HOSTNAME or host name */
	const char *direction; /* inbound, outbound */
};

/**
 * connections_read() - records of one answer that pass the filter, appended to @records
 * @before: what the last call for this round of nodes left, or NULL; gives the rates.
 * @now:    object that receives what the next round calls @before.
 * Return: 0; -ENOMEM.
 */
_must_check_ int connections_read(const json_t *answer, const struct connections_filter *f,
				  const json_t *before, json_t *now, json_t *records);

/**
 * connections_why() - add `verdict`, `policy`, `why` (a sentence) and `evaluatedBy` to records of
 * connections_read(): what the ztunnel that decides says of each as it is, by the policies of now
 * @nodes: @count that are known; others are looked for beside them and added, up to
 * ADMIN_NODES_MAX. Blocking. Return: 0; -ENOMEM.
 */
_must_check_ int connections_why(json_t *records, struct admin_node *nodes, size_t count);

/** connections_conclude() - the same of one record, @inbound being that ztunnel's answer to
 * /explain/inbound, or {unknown: why}; NULL: nobody of the mesh decides. Return: 0; -ENOMEM. */
_must_check_ int connections_conclude(json_t *record, json_t *inbound, const char *by);

/** connections_print_why() - a sentence each. Return: 0; -ENOMEM. */
_must_check_ int connections_print_why(const json_t *records);

/** connections_group() - sums of records by "pod" or "service". Return: new reference; NULL. */
json_t *connections_group(const json_t *records, const char *by);

/** connections_sort() - in place by rate, bytes, sent, received, age, pod, peer; the greatest
 * first, names alphabetically. Return: 0; -EINVAL no such key; -ENOMEM. */
_must_check_ int connections_sort(json_t *records, const char *key);

/** connections_print() - the table, at most 100 columns. @by: "connection", "pod", "service".
 * Return: 0; -ENOMEM. */
_must_check_ int connections_print(const json_t *records, const char *by);

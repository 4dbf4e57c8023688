/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* direct_list - ztunnel asks which direct connections are open, for who asks it: a page of
 * cv_directs at a time, so that nothing is kept of them. Owner: agent. Thread: loop only. */
#include "culvert/zds.h"
#include "datapath.h"

struct zds;

/** direct_list_answer() - send the page that @ask is about; an empty last one where the map cannot
 * be read. */
void direct_list_answer(struct zds *zds, struct datapath *d, const struct zds_direct_ask *ask);

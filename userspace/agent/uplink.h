/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* uplink - cv_uplink on the interface that other nodes are reached by. Owner: agent. Thread: loop
 * only. */
#include "datapath.h"

/**
 * uplink_attach() - guard an interface of the agent's namespace; takes the guard off any other
 * @name: of the interface; NULL: none is to be guarded.
 * A failure is logged and costs no more than the saving.
 */
void uplink_attach(struct datapath *d, const char *name);

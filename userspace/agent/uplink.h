/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* uplink - cv_uplink on the interface that other nodes are reached by. Owner: agent. Thread: loop
 * only. */
#include <stddef.h>

#include "datapath.h"

#define UPLINK_TROUBLE_LEN 256

/**
 * uplink_attach() - guard an interface of the agent's namespace; takes the guard off any other
 * A failure is logged and costs no more than the saving.
 * @name: of the interface; NULL: none is to be guarded.
 * @ret:  the same line for whoever asks later; "" when the interface is guarded, or none is to be.
 */
void uplink_attach(struct datapath *d, const char *name, char ret[UPLINK_TROUBLE_LEN]);

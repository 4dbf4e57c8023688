/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* nameservers - tells ztunnel which number or port stands for which nameserver: at once when BPF
 * says so, all of them to a new ztunnel, and again when an event was lost. Owner: agent. Thread:
 * loop only. */
#include <stdint.h>

#include "culvert/abi/maps.h"
#include "datapath.h"
#include "zds.h"

struct nameservers {
	struct datapath *datapath; /* borrowed */
	struct zds *zds;           /* borrowed */
	uint32_t told_v4, told_v6; /* how many the ztunnel of now has been told */
};

/** nameservers_announce() - a NAMESERVER_NEW event has come. */
void nameservers_announce(struct nameservers *n, const struct cv_event *ev);
/** nameservers_send() - all that are known, to a ztunnel that has just come. */
void nameservers_send(struct nameservers *n);
/** nameservers_resend() - all, if there are others than were told: the ring buffer was full. */
void nameservers_resend(struct nameservers *n);

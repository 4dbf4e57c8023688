/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* dns_metrics - Istio's counters of DNS requests, by query type, transport and who asked, and of
 * the names that connections need. Bounded: past the limit what is new is counted as unknown.
 * Thread: the main loop. */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/cleanup.h"
#include "base/macros.h"

struct buf;
struct dns_metrics; /* opaque */
struct workload;

/** struct dns_request - one of a pod's, as the metrics know it. All borrowed. */
struct dns_request {
	const struct workload *source; /* NULL: unknown */
	const uint8_t *packet;
	size_t len;
	bool is_tcp;
};

enum dns_event {
	DNS_ASKED,
	DNS_FORWARDED, /* once, however often it is sent */
	DNS_FAILED,    /* no nameserver answered */
	DNS_EVENT_MAX,
};

_must_check_ int dns_metrics_new(struct dns_metrics **ret);
struct dns_metrics *dns_metrics_free(struct dns_metrics *m);
DEFINE_CLEANUP(struct dns_metrics *, dns_metrics_free);

void dns_metrics_count(struct dns_metrics *m, const struct dns_request *r, enum dns_event event);
/** dns_metrics_took() - a nameserver has answered after so long. */
void dns_metrics_took(struct dns_metrics *m, const struct dns_request *r, uint64_t took_us);
/** dns_metrics_named() - a connection needs the addresses of an endpoint that is given by name.
 * @source: whose it is; NULL: unknown. @host: as the endpoint has it. */
void dns_metrics_named(struct dns_metrics *m, const struct workload *source, const char *host);
/** dns_metrics_write() - append OpenMetrics text. Return: 0; -ENOMEM. */
_must_check_ int dns_metrics_write(const struct dns_metrics *m, struct buf *into);

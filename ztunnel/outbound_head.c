/* SPDX-License-Identifier: Apache-2.0 */
/* outbound_head - the CONNECT: for whom, for what, and the trace that ties both ends' logs. */
#include "base/str.h"
#include "net/addr.h"
#include "ztunnel/baggage.h"
#include "ztunnel/outbound_internal.h"
#include "ztunnel/state.h"

static void format_trace(struct worker *w, char into[HBONE_TRACEPARENT_LEN + 1])
{
	const uint64_t trace[] = {worker_random(w), worker_random(w)}, span = worker_random(w);
	char trace_hex[2 * sizeof(trace) + 1], span_hex[2 * sizeof(span) + 1];

	str_hex(trace, sizeof(trace), trace_hex);
	str_hex(&span, sizeof(span), span_hex);
	(void)str_concat(into, HBONE_TRACEPARENT_LEN + 1, "00-", trace_hex, "-", span_hex, "-00");
}

void outbound_head(struct outbound *o, struct outbound_head *text, struct hbone_connect *ret)
{
	char src[CV_SOCKADDR_STRLEN];
	const struct service *s = o->conn.service;

	(void)cv_sockaddr_format(&o->conn.hbone_addr, text->authority);
	(void)str_concat(text->forwarded, sizeof(text->forwarded), "for=\"",
			 cv_sockaddr_format(&o->conn.src, src), "\"", s ? ";host=" : "",
			 s ? s->def->hostname : "");
	format_trace(o->conn.worker, text->traceparent);
	baggage_format(o->conn.src_workload, text->baggage, sizeof(text->baggage));
	*ret = (struct hbone_connect){
		.authority = text->authority,
		.forwarded = text->forwarded,
		.traceparent = text->traceparent,
		.baggage = text->baggage,
	};
}

/* SPDX-License-Identifier: Apache-2.0 */
/* fuzz-dns - queries of pods; an answer to what was understood must fit and parse. */
#include <stdlib.h>
#include <string.h>

#include "tests/fuzz/fuzz.h"
#include "ztunnel/dns_wire.h"

/* Nameservers' bytes beside a query's; what was asked, sent back, is an answer to it. */
static void check_reply(const uint8_t *data, size_t size)
{
	uint8_t *back = malloc(size + 1);

	(void)dns_is_reply(data, size / 2, data + size / 2, size - size / 2);
	if (!back)
		return;
	memcpy(back, data, size);
	if (size >= DNS_HEADER_LEN) {
		back[2] |= 0x80;
		if (!dns_is_reply(data, size, back, size))
			abort();
	}
	free(back);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const struct cv_addr addrs[2];
	const struct dns_answer answer = {
		.is_authoritative = true,
		.cname = "a.b.svc.cluster.local",
		.addrs = addrs,
		.addrs_count = 2,
		.ttl_s = 30,
	};
	uint8_t into[1232];
	struct dns_query q;

	check_reply(data, size);
	if (size >= DNS_HEADER_LEN) {
		(void)dns_is_question(data);
		(void)dns_has_answer(data);
		if (dns_refusal_write(data, DNS_SERVFAIL, into) != DNS_HEADER_LEN)
			abort();
	}
	if (dns_query_parse(data, size, &q) < 0)
		return 0;
	if (dns_answer_write(data, &q, &answer, into, sizeof(into)) > sizeof(into))
		abort();
	return 0;
}

/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* dns_wire - DNS messages (RFC 1035, EDNS of RFC 6891): just what answering A and AAAA needs. Pure
 * functions of bytes. */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/macros.h"
#include "culvert/abi/addr.h"

#define DNS_HEADER_LEN  12
#define DNS_NAME_SIZE   254 /* dotted, without the final dot, NUL included */
#define DNS_MESSAGE_MAX 65535
#define DNS_PORT        53

enum dns_type {
	DNS_TYPE_A = 1,
	DNS_TYPE_CNAME = 5,
	DNS_TYPE_AAAA = 28,
	DNS_TYPE_OPT = 41,
	DNS_TYPE_IXFR = 251,
	DNS_TYPE_AXFR = 252,
};

enum dns_rcode {
	DNS_NOERROR = 0,
	DNS_SERVFAIL = 2,
};

/** struct dns_query - the one question of a query. */
struct dns_query {
	uint16_t flags;           /* second word of the header, host order */
	uint16_t type;            /* enum dns_type and others */
	char name[DNS_NAME_SIZE]; /* lower case; "" for the root */
	size_t question_len;      /* bytes from the header's end on */
	bool has_edns;
	uint16_t udp_size; /* what the client takes over UDP, >= 512 */
};

/**
 * dns_query_parse() - is this a plain query with one question of class IN?
 * Return: 0; -EBADMSG no message at all, or a response: not to be answered nor forwarded; -ENOTSUP
 * anything else: to be forwarded as it is.
 */
_must_check_ int dns_query_parse(const uint8_t *p, size_t len, struct dns_query *ret);

/** struct dns_answer - what is to be said. */
struct dns_answer {
	enum dns_rcode rcode;
	bool is_authoritative;
	const char *cname; /* the name that the addresses belong to, when it is not the one asked;
			      or NULL */
	const struct cv_addr *addrs; /* of the family that was asked for */
	size_t addrs_count;
	uint32_t ttl_s;
};

/**
 * dns_answer_write() - a response to @query
 * @max: what fits; addresses that do not are left out and TC is set.
 * Return: its length; 0 when not even the question fits.
 */
size_t dns_answer_write(const uint8_t *query, const struct dns_query *q, const struct dns_answer *a,
			uint8_t *into, size_t max);

/** dns_refusal_write() - a header that says no to anything that has one, whatever its opcode.
 * @query: at least DNS_HEADER_LEN. Return: DNS_HEADER_LEN. */
size_t dns_refusal_write(const uint8_t *query, enum dns_rcode rcode, uint8_t *into);
/** dns_is_reply() - a response of this number, to these questions where it has any: an error may
 * come without. What @query asks and nobody can read is not compared. Both of any length. */
bool dns_is_reply(const uint8_t *query, size_t query_len, const uint8_t *reply, size_t len);
/** dns_has_answer() - a response that there is such a name, with a record of it? @packet: at least
 * DNS_HEADER_LEN. */
bool dns_has_answer(const uint8_t *packet);
/** dns_is_question() - is its opcode QUERY, which changes nothing? @packet: at least
 * DNS_HEADER_LEN. */
bool dns_is_question(const uint8_t *packet);
/** dns_is_transfer() - does it ask for a zone (AXFR, IXFR), whose answer is many messages, and
 * which nobody has but whom it asks? @packet: of any length. */
bool dns_is_transfer(const uint8_t *packet, size_t len);

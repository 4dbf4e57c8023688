/* SPDX-License-Identifier: Apache-2.0 */
#include "ztunnel/dns_wire.h"

#include <ctype.h>
#include <errno.h>
#include <string.h>

#include "net/addr.h"

#define FLAG_QR        0x8000
#define FLAG_AA        0x0400
#define FLAG_TC        0x0200
#define FLAG_RD        0x0100
#define FLAG_RA        0x0080
#define OPCODE_MASK    0x7800
#define RCODE_MASK     0x000f
#define CLASS_IN       1
#define LABEL_MAX      63
#define UDP_SIZE_MIN   512
#define UDP_SIZE_MAX   1232 /* never a fragment */
#define POINTER        0xc000
#define QUESTION_AT    DNS_HEADER_LEN
#define QUESTION_FIXED 4  /* type, class */
#define RECORD_FIXED   10 /* type, class, ttl, length */
#define OPT_RECORD_LEN 11

static uint16_t get16(const uint8_t *p)
{
	return (uint16_t)(p[0] << 8 | p[1]);
}

static void put16(uint8_t *p, unsigned int v)
{
	p[0] = (uint8_t)(v >> 8);
	p[1] = (uint8_t)v;
}

/* Labels to dotted text. Return: offset behind the name; 0: malformed, compressed, or not a host
 * name. */
static size_t name_parse(const uint8_t *p, size_t len, size_t at, char into[DNS_NAME_SIZE])
{
	size_t n = 0;

	for (;;) {
		size_t label = at < len ? p[at++] : LABEL_MAX + 1;

		if (label == 0)
			break;
		if (label > LABEL_MAX || at + label > len || n + label + 2 > DNS_NAME_SIZE)
			return 0;
		if (n)
			into[n++] = '.';
		for (size_t i = 0; i < label; i++, at++) {
			/* a dot inside a label, or a NUL, would read as another name */
			if (p[at] <= ' ' || p[at] == '.' || p[at] > '~')
				return 0;
			into[n++] = (char)tolower(p[at]);
		}
	}
	into[n] = '\0';
	return at;
}

/* An OPT record right behind the question, as every stub resolver sends it. */
static void edns_parse(const uint8_t *p, size_t len, size_t at, struct dns_query *q)
{
	q->udp_size = UDP_SIZE_MIN;
	if (get16(p + 10) == 0 || len < at + OPT_RECORD_LEN || p[at] != 0 ||
	    get16(p + at + 1) != DNS_TYPE_OPT)
		return;
	q->has_edns = true;
	q->udp_size = get16(p + at + 3);
	if (q->udp_size < UDP_SIZE_MIN)
		q->udp_size = UDP_SIZE_MIN;
	if (q->udp_size > UDP_SIZE_MAX)
		q->udp_size = UDP_SIZE_MAX;
}

int dns_query_parse(const uint8_t *p, size_t len, struct dns_query *ret)
{
	struct dns_query q = {0};
	size_t at;

	if (len < DNS_HEADER_LEN || len > DNS_MESSAGE_MAX)
		return -EBADMSG;
	q.flags = get16(p + 2);
	if (q.flags & FLAG_QR)
		return -EBADMSG;
	if ((q.flags & OPCODE_MASK) || get16(p + 4) != 1 || get16(p + 6) != 0 || get16(p + 8) != 0)
		return -ENOTSUP;
	at = name_parse(p, len, QUESTION_AT, q.name);
	if (!at || at + 4 > len || get16(p + at + 2) != CLASS_IN)
		return -ENOTSUP;
	q.type = get16(p + at);
	q.question_len = at + 4 - QUESTION_AT;
	edns_parse(p, len, at + 4, &q);
	*ret = q;
	return 0;
}

/* A response under construction; `limit` keeps room for the OPT record. */
struct writer {
	uint8_t *at;
	size_t len;
	size_t limit;
	unsigned int owner; /* offset of the name that records are about */
};

static bool put_record(struct writer *w, unsigned int type, uint32_t ttl_s, const void *data,
		       size_t data_len)
{
	uint8_t *p = w->at + w->len;

	if (w->len + 2 + RECORD_FIXED + data_len > w->limit)
		return false;
	put16(p, POINTER | w->owner);
	put16(p + 2, type);
	put16(p + 4, CLASS_IN);
	put16(p + 6, ttl_s >> 16);
	put16(p + 8, ttl_s & 0xffff);
	put16(p + 10, (unsigned int)data_len);
	memcpy(p + 12, data, data_len);
	w->len += 2 + RECORD_FIXED + data_len;
	return true;
}

/* Dotted text to labels. Return: length; 0 when it is no name. */
static size_t name_encode(const char *name, uint8_t into[DNS_NAME_SIZE + 1])
{
	size_t n = 0;

	while (*name) {
		size_t label = strcspn(name, ".");

		if (label == 0 || label > LABEL_MAX || n + label + 2 > DNS_NAME_SIZE)
			return 0;
		into[n++] = (uint8_t)label;
		memcpy(into + n, name, label);
		n += label;
		name += label;
		if (*name == '.')
			name++;
	}
	into[n++] = 0;
	return n;
}

static unsigned int put_answers(struct writer *w, const struct dns_answer *a, bool *ret_is_cut)
{
	uint8_t data[DNS_NAME_SIZE + 1];
	unsigned int count = 0;
	size_t len = a->cname ? name_encode(a->cname, data) : 0;

	if (len) {
		size_t at = w->len + 2 + RECORD_FIXED;

		if (!put_record(w, DNS_TYPE_CNAME, a->ttl_s, data, len)) {
			*ret_is_cut = true;
			return 0;
		}
		w->owner = (unsigned int)at;
		count++;
	}
	for (size_t i = 0; i < a->addrs_count; i++) {
		uint8_t bytes[16];
		size_t n = cv_addr_bytes(&a->addrs[i], bytes);

		if (!put_record(w, n == 4 ? DNS_TYPE_A : DNS_TYPE_AAAA, a->ttl_s, bytes, n)) {
			*ret_is_cut = true;
			break;
		}
		count++;
	}
	return count;
}

size_t dns_answer_write(const uint8_t *query, const struct dns_query *q, const struct dns_answer *a,
			uint8_t *into, size_t max)
{
	size_t opt = q->has_edns ? OPT_RECORD_LEN : 0;
	struct writer w = {.at = into,
			   .len = DNS_HEADER_LEN + q->question_len,
			   .limit = max - opt,
			   .owner = QUESTION_AT};
	unsigned int flags = FLAG_QR | FLAG_RA | (q->flags & FLAG_RD) | (unsigned int)a->rcode;
	bool is_cut = false;
	unsigned int count;

	if (w.len + opt > max)
		return 0;
	memcpy(into, query, w.len);
	count = put_answers(&w, a, &is_cut);
	flags |= (a->is_authoritative ? FLAG_AA : 0) | (is_cut ? FLAG_TC : 0);
	put16(into + 2, flags);
	put16(into + 6, count);
	put16(into + 8, 0);
	put16(into + 10, q->has_edns ? 1 : 0);
	if (q->has_edns) {
		static const uint8_t record[OPT_RECORD_LEN] = {
			0, 0, DNS_TYPE_OPT, UDP_SIZE_MAX >> 8, UDP_SIZE_MAX & 0xff};

		memcpy(into + w.len, record, sizeof(record));
		w.len += sizeof(record);
	}
	return w.len;
}

size_t dns_refusal_write(const uint8_t *query, enum dns_rcode rcode, uint8_t *into)
{
	unsigned int flags = get16(query + 2) & (OPCODE_MASK | FLAG_RD);

	memset(into, 0, DNS_HEADER_LEN);
	memcpy(into, query, 2);
	put16(into + 2, FLAG_QR | FLAG_RA | flags | (unsigned int)rcode);
	return DNS_HEADER_LEN;
}

/* The question at @at, whatever its letters. Return: its length; 0: malformed, or compressed. */
static size_t question_len(const uint8_t *p, size_t len, size_t at)
{
	size_t end = at;

	while (end < len && p[end] != 0 && p[end] <= LABEL_MAX)
		end += 1 + (size_t)p[end];
	return end < len && p[end] == 0 && len - end > QUESTION_FIXED
		       ? end + 1 + QUESTION_FIXED - at
		       : 0;
}

/* Names are the same in capitals; lengths of labels are below all letters. */
static bool is_same_question(const uint8_t *a, const uint8_t *b, size_t len)
{
	size_t name = len - QUESTION_FIXED;

	for (size_t i = 0; i < name; i++)
		if (tolower(a[i]) != tolower(b[i]))
			return false;
	return memcmp(a + name, b + name, QUESTION_FIXED) == 0;
}

bool dns_is_reply(const uint8_t *query, size_t query_len, const uint8_t *reply, size_t len)
{
	size_t at = QUESTION_AT;
	unsigned int count;

	if (query_len < DNS_HEADER_LEN || len < DNS_HEADER_LEN || memcmp(query, reply, 2) != 0 ||
	    !(get16(reply + 2) & FLAG_QR))
		return false;
	count = get16(reply + 4);
	if (count && count != get16(query + 4))
		return false;
	for (; count; count--) {
		size_t n = question_len(query, query_len, at);

		if (n == 0)
			return true;
		if (at + n > len || !is_same_question(query + at, reply + at, n))
			return false;
		at += n;
	}
	return true;
}

bool dns_is_question(const uint8_t *packet)
{
	return !(get16(packet + 2) & OPCODE_MASK);
}

bool dns_is_transfer(const uint8_t *packet, size_t len)
{
	size_t n = len > DNS_HEADER_LEN ? question_len(packet, len, QUESTION_AT) : 0;
	unsigned int type = n > 0 ? get16(packet + QUESTION_AT + n - QUESTION_FIXED) : 0;

	return type == DNS_TYPE_AXFR || type == DNS_TYPE_IXFR;
}

bool dns_has_answer(const uint8_t *packet)
{
	unsigned int flags = get16(packet + 2);

	return (flags & FLAG_QR) && (flags & RCODE_MASK) == DNS_NOERROR && get16(packet + 6);
}

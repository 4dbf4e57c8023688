/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* frame - packets made by hand, byte by byte, for programs that see packets. */
#include <stddef.h>
#include <stdint.h>

#define FRAME 256
#define SYN   0x02
#define ACK   0x10

/* A packet under construction. */
struct frame {
	uint8_t bytes[FRAME];
	size_t len;
};

struct ipv4 {
	const char *from, *to;
	uint8_t proto;
	uint16_t fragment;
	size_t options; /* bytes */
};

/** ethernet() - a frame that holds its Ethernet header; the others append. */
struct frame ethernet(uint16_t proto);
void add(struct frame *f, const void *bytes, size_t n);
void add8(struct frame *f, uint8_t v);
void add16(struct frame *f, uint16_t v);
void add_zero(struct frame *f, size_t n);
void add_ipv4(struct frame *f, const struct ipv4 *ip);
void add_ipv6(struct frame *f, const char *from, const char *to, uint8_t next);
/** add_tcp() - from port 40000; the flags are the seventh byte from the end. */
void add_tcp(struct frame *f, uint16_t port, uint8_t flags);

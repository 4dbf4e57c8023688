/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* frame - packets made by hand, byte by byte, for programs that see packets. */
#include <bpf/libbpf.h>
#include <stddef.h>
#include <stdint.h>

#define FRAME 256
#define SYN   0x02
#define ACK   0x10
#define RST   0x04
#define FIN   0x01

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

/** ethernet() - a frame that holds its Ethernet header; the add functions append. */
struct frame ethernet(uint16_t proto);
void add(struct frame *f, const void *bytes, size_t n);
void add8(struct frame *f, uint8_t v);
void add16(struct frame *f, uint16_t v);
void add_zero(struct frame *f, size_t n);
/** add_vlan() - the rest of a tag whose type the frame ends with. @proto: of what follows. */
void add_vlan(struct frame *f, uint16_t number, uint16_t proto);
void add_ipv4(struct frame *f, const struct ipv4 *ip);
void add_ipv6(struct frame *f, const char *from, const char *to, uint8_t next);
/** add_tcp() - from port 40000. */
void add_tcp(struct frame *f, uint16_t port, uint8_t flags);

/** frame_tcp4(), frame_tcp6() - whole frames: Ethernet, IP, add_tcp(). */
struct frame frame_tcp4(const struct ipv4 *ip, uint16_t port, uint8_t flags);
struct frame frame_tcp6(const char *from, const char *to, uint16_t port, uint8_t flags);
/** set_flags() - others for a frame that ends with a TCP header. */
void set_flags(struct frame *f, uint8_t flags);
/** set_seq() - a sequence number for a frame that ends with a TCP header. */
void set_seq(struct frame *f, uint32_t seq);
/** frame_run() - what a tc program says of it, on the link @ifindex. @from: the one that it has
 * come into this namespace by, 0: none. */
int frame_run(const struct bpf_program *prog, const struct frame *f, uint32_t ifindex,
	      uint32_t from);

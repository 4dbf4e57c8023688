/* SPDX-License-Identifier: Apache-2.0 */
#include "frame.h"

#include <bpf/bpf.h>
#include <linux/if_ether.h>
#include <netinet/in.h>
#include <string.h>

#include "harness.h"
#include "net/addr.h"

void add(struct frame *f, const void *bytes, size_t n)
{
	memcpy(f->bytes + f->len, bytes, n);
	f->len += n;
}

void add8(struct frame *f, uint8_t v)
{
	add(f, &v, 1);
}

void add16(struct frame *f, uint16_t v)
{
	v = htons(v);
	add(f, &v, 2);
}

void add_zero(struct frame *f, size_t n)
{
	f->len += n;
}

struct frame ethernet(uint16_t proto)
{
	struct frame f = {.len = 2 * ETH_ALEN};

	add16(&f, proto);
	return f;
}

void add_tcp(struct frame *f, uint16_t port, uint8_t flags)
{
	add16(f, 40000);
	add16(f, port);
	add_zero(f, 8);
	add8(f, 0x50);
	add8(f, flags);
	add_zero(f, 6);
}

void set_flags(struct frame *f, uint8_t flags)
{
	f->bytes[f->len - 7] = flags;
}

void set_seq(struct frame *f, uint32_t seq)
{
	seq = htonl(seq);
	memcpy(f->bytes + f->len - 16, &seq, sizeof(seq));
}

void add_vlan(struct frame *f, uint16_t number, uint16_t proto)
{
	add16(f, number);
	add16(f, proto);
}

static void add_addr(struct frame *f, const char *text)
{
	uint8_t bytes[16];
	struct cv_addr a;

	CHECK_OK(cv_addr_parse(text, &a));
	add(f, bytes, cv_addr_bytes(&a, bytes));
}

void add_ipv4(struct frame *f, const struct ipv4 *ip)
{
	add8(f, (uint8_t)(0x45 + ip->options / 4));
	add8(f, 0);
	add16(f, (uint16_t)(40 + ip->options));
	add16(f, 1);
	add16(f, ip->fragment);
	add8(f, 64);
	add8(f, ip->proto);
	add16(f, 0);
	add_addr(f, ip->from);
	add_addr(f, ip->to);
	add_zero(f, ip->options);
}

void add_ipv6(struct frame *f, const char *from, const char *to, uint8_t next)
{
	add16(f, 0x6000);
	add_zero(f, 2);
	add16(f, 20);
	add8(f, next);
	add8(f, 64);
	add_addr(f, from);
	add_addr(f, to);
}

struct frame frame_tcp4(const struct ipv4 *ip, uint16_t port, uint8_t flags)
{
	struct frame f = ethernet(ETH_P_IP);

	add_ipv4(&f, ip);
	add_tcp(&f, port, flags);
	return f;
}

struct frame frame_tcp6(const char *from, const char *to, uint16_t port, uint8_t flags)
{
	struct frame f = ethernet(ETH_P_IPV6);

	add_ipv6(&f, from, to, IPPROTO_TCP);
	add_tcp(&f, port, flags);
	return f;
}

int frame_run(const struct bpf_program *prog, const struct frame *f, uint32_t ifindex,
	      uint32_t from)
{
	struct __sk_buff ctx = {.ifindex = ifindex, .ingress_ifindex = from};
	uint8_t out[FRAME * 2];
	LIBBPF_OPTS(bpf_test_run_opts, opts, .data_in = f->bytes,
		    .data_size_in = (uint32_t)(f->len < 64 ? 64 : f->len), .data_out = out,
		    .data_size_out = sizeof(out), .ctx_in = &ctx, .ctx_size_in = sizeof(ctx));

	CHECK_OK(bpf_prog_test_run_opts(bpf_program__fd(prog), &opts));
	return (int)opts.retval;
}

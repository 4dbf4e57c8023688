/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* dns_fixture - a pod's DNS on real sockets in a network namespace of our own. Without the hooks a
 * client itself sends to the address that a nameserver is encoded as. */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/loop.h"
#include "net/addr.h"
#include "tests/unit/ztunnel/dns_namespace.h"
#include "tests/unit/ztunnel/mesh.h"
#include "ztunnel/dns.h"
#include "ztunnel/dns_internal.h"

#define COOKIE 42
#define HEAD   "\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00"
#define HTTPD                                                                                      \
	"\x05httpd\x04"                                                                            \
	"demo\x03svc\x07"                                                                          \
	"cluster\x05local\x00"
#define ELSEWHERE                                                                                  \
	"\x03www\x06"                                                                              \
	"debian\x03org\x00"
#define BELOW                                                                                      \
	"\x01x\x04"                                                                                \
	"wild\x03org\x00"
#define ANSWER "\x81\x80\0\0\0\0\0\0\0\0" /* a header behind its id, without the question */
#define TYPE_A "\x00\x01\x00\x01"

static const char ask_httpd[] = HEAD HTTPD TYPE_A;
static const char ask_elsewhere[] = HEAD ELSEWHERE TYPE_A;
static const char ask_below[] = HEAD BELOW TYPE_A;
static const char ask_txt[] = HEAD HTTPD "\x00\x10\x00\x01";

struct fixture {
	struct loop *loop;
	struct dns *dns;
	int listen_udp;
	int client;  /* UDP */
	int server;  /* the pod's own nameserver, 127.0.0.53:53 */
	bool is_dry; /* the agent gives nothing */
	unsigned int asked;
};

static inline int udp_socket(int family)
{
	int fd = socket(family, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	assert_true(fd >= 0);
	return fd;
}

static inline void bind_to(int fd, const char *text, int family)
{
	struct cv_sockaddr sa = mesh_sockaddr(text);
	struct sockaddr_storage native;
	socklen_t len;

	assert_int_equal(cv_sockaddr_to_native(&sa, family, &native, &len), 0);
	if (bind(fd, (struct sockaddr *)&native, len) < 0)
		fail_msg("bind %s: %s", text, strerror(errno));
}

static inline uint16_t port_of(int fd)
{
	struct sockaddr_storage native;
	socklen_t len = sizeof(native);
	struct cv_sockaddr sa;

	assert_int_equal(getsockname(fd, (struct sockaddr *)&native, &len), 0);
	assert_int_equal(cv_sockaddr_from_native((struct sockaddr *)&native, len, &sa), 0);
	return ntohs(sa.port);
}

static inline int dns_listener(void)
{
	int fd = udp_socket(AF_INET6);
	int on = 1, off = 0;

	assert_int_equal(setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof(off)), 0);
	assert_int_equal(setsockopt(fd, IPPROTO_IPV6, IPV6_RECVPKTINFO, &on, sizeof(on)), 0);
	assert_int_equal(setsockopt(fd, IPPROTO_IP, IP_PKTINFO, &on, sizeof(on)), 0);
	bind_to(fd, "[::]:0", AF_INET6);
	return fd;
}

static inline int tcp_socket(const char *at, bool is_listening)
{
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	int on = 1;

	assert_true(fd >= 0);
	assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &on, sizeof(on)), 0);
	if (at)
		bind_to(fd, at, AF_INET);
	if (is_listening)
		assert_int_equal(listen(fd, 8), 0);
	return fd;
}

/* The agent's answer comes in a later turn, as the real one's does: of UDP, of TCP. */
static struct later {
	struct loop_task task;
	struct fixture *f;
	uint32_t kind;
	uint32_t family;
	uint32_t count;
} later[2];

static inline void on_later(struct loop_task *t)
{
	const struct later *l = container_of(t, struct later, task);
	int fds[8];

	for (uint32_t i = 0; i < l->count; i++) {
		fds[i] = l->kind == CV_SOCKET_DNS
				 ? udp_socket(l->family == ZDS_INET ? AF_INET : AF_INET6)
				 : tcp_socket(NULL, false);
	}
	dns_sockets_give(l->f->dns, COOKIE, l->kind, l->family, fds, l->count);
}

static inline void need_sockets(void *arg, uint64_t cookie, uint32_t kind, uint32_t family,
				uint32_t count)
{
	struct later *l = &later[kind != CV_SOCKET_DNS];
	struct fixture *f = arg;

	assert_int_equal(cookie, COOKIE);
	assert_true(count <= 8);
	f->asked++;
	if (f->is_dry)
		return;
	l->f = f;
	l->kind = kind;
	l->family = family;
	l->count = count;
	l->task.on_task = on_later;
	loop_task_queue(f->loop, &l->task);
}

static inline struct state *world(void)
{
	struct state_builder *b = NULL;
	struct state *s;

	assert_int_equal(state_builder_new("n1", &b), 0);
	mesh_put_service(b, &(struct mesh_service){.name = "httpd", .vips = {"10.96.0.1"}});
	mesh_put_service(b, &(struct mesh_service){.name = "wild",
						   .hostname = "*.wild.org",
						   .vips = {"241.0.7.0"},
						   .vip_bits = 24,
						   .ports = {443, 443}});
	mesh_put_workload(b, &(struct mesh_workload){.name = "wild",
						     .services = {"demo/*.wild.org"},
						     .ports = {443, 443},
						     .dns_host = "*.wild.org",
						     .is_tcp = true,
						     .is_host_network = true});
	s = mesh_build(b);
	state_builder_free(b);
	return s;
}

/* The pod, at listeners of its own; once more: as a new agent has made them. */
static inline void serve(struct fixture *f, int tcp_fd)
{
	struct zds_pod_add pod = {
		.namespace_ = "demo", .addr_count = 1, .addrs = {mesh_addr(POD_ADDR)}};
	int udp[CV_DNS_PORTS];

	for (int i = 0; i < CV_DNS_PORTS; i++)
		udp[i] = dns_listener();
	f->listen_udp = udp[0];
	assert_int_equal(dns_pod_add(f->dns, COOKIE, &pod, udp, tcp_fd), 0);
}

static inline int setup(void **state)
{
	static struct fixture f;
	struct dns_config config = {.need_sockets = need_sockets, .arg = &f};
	struct state *s = world();

	memset(&f, 0, sizeof(f));
	assert_int_equal(loop_new(&f.loop), 0);
	config.loop = f.loop;
	assert_int_equal(dns_new(&config, &f.dns), 0);
	dns_set_state(f.dns, s);
	state_unref(s);
	serve(&f, tcp_socket("10.99.0.1:5353", true));
	f.client = udp_socket(AF_INET);
	f.server = udp_socket(AF_INET);
	bind_to(f.server, "127.0.0.53:53", AF_INET);
	*state = &f;
	return 0;
}

static inline int teardown(void **state)
{
	struct fixture *f = *state;

	for (size_t i = 0; i < ARRAY_SIZE(later); i++)
		loop_task_del(&later[i].task);
	dns_free(f->dns);
	loop_free(f->loop);
	close(f->client);
	close(f->server);
	return 0;
}

static inline void know_nameserver(struct fixture *f)
{
	struct zds_nameserver ns = {.number = 5, .addr = mesh_addr("127.0.0.53")};

	dns_nameserver(f->dns, &ns);
}

static inline void turn(struct fixture *f)
{
	for (int i = 0; i < 5; i++)
		assert_true(loop_run_once(f->loop, 1) >= 0);
}

/* The last moment of a pod that leaves. */
static inline void leave(struct fixture *f)
{
	struct dns_pod *pod = list_entry(f->dns->leaving.next, struct dns_pod, link);

	assert_false(list_is_empty(&f->dns->leaving));
	assert_int_equal(loop_timer_set(f->loop, &pod->leave, 0), 0);
	turn(f);
	assert_true(list_is_empty(&f->dns->leaving));
}

/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* harness - real sockets against the real programs. Each TEST runs in a child process with a pod of
 * its own: a network namespace, enrolled, with the listeners that ztunnel would hold; and a plain
 * host ("peer") at the other end of a veth. The programs are attached to a child cgroup of the
 * run's own, never to the root. A failed check ends the test's process.
 *
 *   pod   10.244.1.2  fd00:10:244:1::2          peer  10.244.1.1
 * fd00:10:244:1::1  10.96.0.10  10.244.9.9
 */
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/socket.h>

#include <bpf/bpf.h>

#include "culvert/abi/maps.h"
#include "culvert.skel.h"

#define POD4       "10.244.1.2"
#define POD6       "fd00:10:244:1::2"
#define PEER4      "10.244.1.1"
#define PEER6      "fd00:10:244:1::1"
#define MESH4      "10.244.9.9:80"         /* an enrolled workload elsewhere */
#define MESH4_B    "10.244.9.10:80"        /* another */
#define MESH6      "[fd00:10:244:9::9]:80" /* the same workload */
#define SERVICE    "10.96.0.10:80"         /* a frontend with an enrolled endpoint */
#define OTHER_PORT "10.96.0.10:8080"       /* the same address, a port without one */

/* A wait for what must come: long enough for a machine that is busy with something else. */
#define WAIT_MS (30000 * slowness())

/* Small, so that a full map can be tried. */
#define TEST_CONNS_MAX 128
#define TEST_SHARE     48 /* of one pod */

struct pod {
	uint64_t cookie;
	int netns, peer_netns;
	struct cv_pod value; /* as in cv_pods */
	int outbound[CV_OUTBOUND_PORTS];
	int plain, hbone, dns_tcp, dns_udp[CV_DNS_PORTS];
	struct bpf_link *lookup;
};

extern struct pod pod;           /* of the test that runs */
extern struct culvert_bpf *skel; /* loaded once, shared */

struct test {
	const char *name;
	void (*run)(void);
	struct test *next;
};

/** test_register() - called by TEST() before main. */
void test_register(struct test *t);

#define TEST(fn)                                                                                   \
	static void fn(void);                                                                      \
	static struct test test_##fn = {.name = #fn, .run = fn};                                   \
	__attribute__((constructor)) static void register_##fn(void)                               \
	{                                                                                          \
		test_register(&test_##fn);                                                         \
	}                                                                                          \
	static void fn(void)

/** test_fail() - print and end the test. */
__attribute__((noreturn, format(printf, 3, 4))) void test_fail(const char *file, int line,
							       const char *format, ...);
/** test_skip() - end the test: it cannot run here. */
__attribute__((noreturn)) void test_skip(const char *why);

/* check_*() behind the macros: each prints what was wanted and ends the test. */
void check_eq(long long a, long long b, const char *what, const char *file, int line);
void check_ok(long long r, const char *what, const char *file, int line);
void check_errno(long long r, int wanted, const char *what, const char *file, int line);
void check_str(const char *a, const char *b, const char *what, const char *file, int line);

#define CHECK(x)             ((x) ? (void)0 : test_fail(__FILE__, __LINE__, "not so: %s", #x))
#define CHECK_EQ(a, b)       check_eq((a), (b), #a " == " #b, __FILE__, __LINE__)
#define CHECK_OK(x)          check_ok((x), #x, __FILE__, __LINE__)
#define CHECK_ERRNO(x, e)    check_errno((x), (e), #x, __FILE__, __LINE__)
#define CHECK_STR(a, b)      check_str((a), (b), #a, __FILE__, __LINE__)
#define CHECK_NAME(fd, want) check_str(peer_name(fd), (want), "getpeername", __FILE__, __LINE__)

/* Addresses are texts, "1.2.3.4:80" or "[::1]:80". Returned texts live until eight more calls. */

/** slowness() - what deadlines are multiplied by, from CULVERT_TEST_SLOW: 1 to 100, 1 if it is not
 * there. */
int slowness(void);
/** is_old_kernel() - do the programs have to do without the helpers of Linux 6.1? */
bool is_old_kernel(void);
/** bare_refusal() - errno of a refusal where there is no connection that could fail by itself:
 * datagrams, sockets bound to a device. EPERM before 6.1. */
int bare_refusal(void);

/** native() - @family AF_INET6 makes an IPv4 address mapped. */
socklen_t native(const char *text, int family, struct sockaddr_storage *ret);
/** connect_to() - connect(2), errno as it left it. */
int connect_to(int fd, int family, const char *to);
/** bind_to() - bind(2) with SO_REUSEADDR. */
void bind_to(int fd, int family, const char *to);
/** tcp() - a socket with a limit of WAIT_MS on blocking calls; connected() one that must connect.
 */
int tcp(int family);
int connected(int family, const char *to);
/** listener() - a listening socket. accepted() - accept4 with its address in text. */
int listener(int family, const char *on);
int accepted(int listener_fd, const char **ret_peer);
bool is_pending(int listener_fd);
/** first_readable() - wait until one of them is; its index. */
int first_readable(const int *fds, int n);
bool is_readable(int fd, int timeout_ms);
const char *peer_name(int fd);
const char *own_name(int fd);
/** congestion() - of this socket; -1: of a new one. congestion_choose() - as the application. */
const char *congestion(int fd);
void congestion_choose(int fd, const char *name);
uint16_t own_port(int fd);
const char *text(const char *address, uint16_t port);
/** exchange() - one line each way, both must arrive. */
void exchange(int a, int b);
int set_client(int fd, const char *client);
void set_nonblock(int fd);

/** set_kind() - what the agent does to a socket that it makes for ztunnel. kind_tcp() makes one. */
void set_kind(int fd, enum cv_socket_kind kind);
int kind_tcp(int family, enum cv_socket_kind kind);

/** pod_flags() - change the flags in cv_pods. pod_remove() - take the pod out of it. */
void pod_flags(uint32_t flags);
void pod_remove(void);
/** ztunnel_accept() - from whichever outbound listener has one. */
int ztunnel_accept(const char **ret_peer);
/** steer_all() - cv_steer entries of the pod's addresses and the sk_lookup link. */
void steer_all(void);
/** enter_peer(), enter_pod() - the process's network namespace. */
void enter_peer(void);
void enter_pod(void);
/** enter_new() - likewise one that is made for it. Return: its descriptor. */
int enter_new(void);
/** own_cookie() - netns cookie of that namespace. */
uint64_t own_cookie(void);
/** shell() - run a command that must succeed, in the current namespace. */
__attribute__((format(printf, 1, 2))) void shell(const char *format, ...);

/** counted() - how often this reason was counted since the test began. */
uint64_t counted(enum cv_reason reason);
/** event_of() - the last event of this reason in this test; false: none. */
bool event_of(enum cv_reason reason, struct cv_event *ret);
/** direct_event_of() - the same of direct connections. direct_event_wait() - until there is one. */
bool direct_event_of(enum cv_reason reason, struct cv_direct_event *ret);
void direct_event_wait(enum cv_reason reason, struct cv_direct_event *ret);
/** check_dropped() - counter and event agree: refused once more, of this pod, towards `remote`. */
void check_dropped(enum cv_reason reason, const char *remote);
/** map_size() - entries in a map. */
unsigned map_size(const struct bpf_map *map);
/** check_emptied() - the map's last entry goes, where the other end's packets take it away. */
void check_emptied(const struct bpf_map *map);
/** map_fill() - with entries of nobody's, up to its limit. map_empty() - all out. */
void map_fill(const struct bpf_map *map);
void map_empty(const struct bpf_map *map);

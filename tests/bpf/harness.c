/* SPDX-License-Identifier: Apache-2.0 */
#include "harness.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sched.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>
#include <unistd.h>

#include "base/macros.h"
#include "net/addr.h"
#include "watch.h"

#ifndef SO_NETNS_COOKIE
#define SO_NETNS_COOKIE 71
#endif

#define TEXTS     8
#define EXIT_SKIP 77

struct pod pod;
struct culvert_bpf *skel;

void test_fail(const char *file, int line, const char *format, ...)
{
	va_list ap;

	printf("  %s:%d: ", file, line);
	va_start(ap, format);
	vprintf(format, ap);
	va_end(ap);
	printf("\n");
	watch_report();
	fflush(stdout);
	_exit(1);
}

void test_skip(const char *why)
{
	printf("  skipped: %s\n", why);
	fflush(stdout);
	_exit(EXIT_SKIP);
}

void check_eq(long long a, long long b, const char *what, const char *file, int line)
{
	if (a != b)
		test_fail(file, line, "%s: %lld, %lld", what, a, b);
}

void check_ok(long long r, const char *what, const char *file, int line)
{
	if (r < 0)
		test_fail(file, line, "%s: %lld, errno %s", what, r, strerror(errno));
}

void check_errno(long long r, int wanted, const char *what, const char *file, int line)
{
	if (r >= 0)
		test_fail(file, line, "%s: succeeded, wanted %s", what, strerror(wanted));
	if (errno != wanted)
		test_fail(file, line, "%s: %s, wanted %s", what, strerror(errno), strerror(wanted));
}

void check_str(const char *a, const char *b, const char *what, const char *file, int line)
{
	if (strcmp(a, b) != 0)
		test_fail(file, line, "%s: \"%s\", wanted \"%s\"", what, a, b);
}

static char *next_text(void)
{
	static char texts[TEXTS][CV_SOCKADDR_STRLEN];
	static unsigned n;

	return texts[n++ % TEXTS];
}

static const char *text_native(const struct sockaddr_storage *ss, socklen_t len)
{
	struct cv_sockaddr sa;

	if (cv_sockaddr_from_native((const struct sockaddr *)ss, len, &sa) < 0)
		return "?";
	return cv_sockaddr_format(&sa, next_text());
}

const char *text(const char *address, uint16_t port)
{
	struct cv_sockaddr sa = {.port = htons(port)};

	CHECK_OK(cv_addr_parse(address, &sa.addr));
	return cv_sockaddr_format(&sa, next_text());
}

int slowness(void)
{
	const char *text = getenv("CULVERT_TEST_SLOW");
	int factor = text ? atoi(text) : 1;

	return MIN(MAX(factor, 1), 100);
}

bool is_old_kernel(void)
{
	return skel->rodata->cfg.no_cgroup_helpers;
}

int bare_refusal(void)
{
	return is_old_kernel() ? EPERM : ECONNREFUSED;
}

socklen_t native(const char *address, int family, struct sockaddr_storage *ret)
{
	struct cv_sockaddr sa;
	socklen_t len = 0;

	CHECK_OK(cv_sockaddr_parse(address, &sa));
	CHECK_OK(cv_sockaddr_to_native(&sa, family, ret, &len));
	return len;
}

int connect_to(int fd, int family, const char *to)
{
	struct sockaddr_storage ss;
	socklen_t len = native(to, family, &ss);

	return connect(fd, (struct sockaddr *)&ss, len);
}

void bind_to(int fd, int family, const char *to)
{
	struct sockaddr_storage ss;
	socklen_t len = native(to, family, &ss);
	int on = 1;

	CHECK_OK(setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)));
	CHECK_OK(bind(fd, (struct sockaddr *)&ss, len));
}

static void limit_waits(int fd)
{
	struct timeval limit = {.tv_sec = WAIT_MS / 1000};

	CHECK_OK(setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit)));
	CHECK_OK(setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit)));
}

int tcp(int family)
{
	int fd = socket(family, SOCK_STREAM | SOCK_CLOEXEC, 0);

	CHECK_OK(fd);
	limit_waits(fd);
	return fd;
}

int connected(int family, const char *to)
{
	int fd = tcp(family);

	CHECK_OK(connect_to(fd, family, to));
	return fd;
}

int listener(int family, const char *on)
{
	int fd = tcp(family);

	bind_to(fd, family, on);
	CHECK_OK(listen(fd, 64));
	return fd;
}

bool is_readable(int fd, int timeout_ms)
{
	struct pollfd p = {.fd = fd, .events = POLLIN};

	return poll(&p, 1, timeout_ms) == 1;
}

bool is_pending(int listener_fd)
{
	return is_readable(listener_fd, 0);
}

int first_readable(const int *fds, int n)
{
	struct pollfd p[8];

	CHECK(n <= (int)ARRAY_SIZE(p));
	for (int i = 0; i < n; i++)
		p[i] = (struct pollfd){.fd = fds[i], .events = POLLIN};
	CHECK(poll(p, (nfds_t)n, WAIT_MS) > 0);
	for (int i = 0; i < n; i++)
		if (p[i].revents)
			return i;
	return -1;
}

int accepted(int listener_fd, const char **ret_peer)
{
	struct sockaddr_storage ss;
	socklen_t len = sizeof(ss);
	int fd;

	CHECK(is_readable(listener_fd, WAIT_MS));
	fd = accept4(listener_fd, (struct sockaddr *)&ss, &len, SOCK_CLOEXEC);
	CHECK_OK(fd);
	limit_waits(fd);
	if (ret_peer)
		*ret_peer = text_native(&ss, len);
	return fd;
}

const char *peer_name(int fd)
{
	struct sockaddr_storage ss;
	socklen_t len = sizeof(ss);

	CHECK_OK(getpeername(fd, (struct sockaddr *)&ss, &len));
	return text_native(&ss, len);
}

const char *own_name(int fd)
{
	struct sockaddr_storage ss;
	socklen_t len = sizeof(ss);

	CHECK_OK(getsockname(fd, (struct sockaddr *)&ss, &len));
	return text_native(&ss, len);
}

void congestion_choose(int fd, const char *name)
{
	CHECK_OK(setsockopt(fd, IPPROTO_TCP, TCP_CONGESTION, name, (socklen_t)strlen(name)));
}

const char *congestion(int fd)
{
	char *name = next_text();
	socklen_t len = CV_SOCKADDR_STRLEN - 1;

	if (fd < 0)
		fd = tcp(AF_INET);
	CHECK_OK(getsockopt(fd, IPPROTO_TCP, TCP_CONGESTION, name, &len));
	name[len] = '\0';
	return name;
}

uint16_t own_port(int fd)
{
	struct sockaddr_in6 sa = {0};
	socklen_t len = sizeof(sa);

	/* sin_port and sin6_port have the same place. */
	CHECK_OK(getsockname(fd, (struct sockaddr *)&sa, &len));
	return ntohs(sa.sin6_port);
}

void exchange(int a, int b)
{
	char buf[8] = "";

	CHECK_EQ(send(a, "there", 5, MSG_NOSIGNAL), 5);
	CHECK_EQ(recv(b, buf, 5, MSG_WAITALL), 5);
	CHECK_EQ(memcmp(buf, "there", 5), 0);
	CHECK_EQ(send(b, "back", 4, MSG_NOSIGNAL), 4);
	CHECK_EQ(recv(a, buf, 4, MSG_WAITALL), 4);
	CHECK_EQ(memcmp(buf, "back", 4), 0);
}

int set_client(int fd, const char *client)
{
	struct cv_sockaddr sa;

	CHECK_OK(cv_sockaddr_parse(client, &sa));
	return setsockopt(fd, CV_SOL_CULVERT, CV_SO_CLIENT, &sa, sizeof(sa));
}

void set_nonblock(int fd)
{
	CHECK_OK(fcntl(fd, F_SETFL, O_NONBLOCK));
}

void set_kind(int fd, enum cv_socket_kind kind)
{
	struct cv_socket value = {.kind = kind};

	CHECK_OK(bpf_map_update_elem(bpf_map__fd(skel->maps.cv_sockets), &fd, &value, BPF_ANY));
}

int kind_tcp(int family, enum cv_socket_kind kind)
{
	int fd = tcp(family);

	set_kind(fd, kind);
	return fd;
}

void pod_flags(uint32_t flags)
{
	pod.value.flags = flags;
	CHECK_OK(bpf_map_update_elem(bpf_map__fd(skel->maps.cv_pods), &pod.cookie, &pod.value,
				     BPF_ANY));
}

void pod_remove(void)
{
	CHECK_OK(bpf_map_delete_elem(bpf_map__fd(skel->maps.cv_pods), &pod.cookie));
}

int ztunnel_accept(const char **ret_peer)
{
	return accepted(pod.outbound[first_readable(pod.outbound, CV_OUTBOUND_PORTS)], ret_peer);
}

static void steer(const char *address, enum cv_steer_kind kind, int fd)
{
	struct cv_steer_key key = {.kind = kind};
	uint64_t value = (uint64_t)fd;

	CHECK_OK(cv_addr_parse(address, &key.local));
	CHECK_OK(bpf_map_update_elem(bpf_map__fd(skel->maps.cv_steer), &key, &value, BPF_ANY));
}

void steer_all(void)
{
	steer(POD4, CV_STEER_PLAIN, pod.plain);
	steer(POD6, CV_STEER_PLAIN, pod.plain);
	steer(POD4, CV_STEER_HBONE, pod.hbone);
	steer(POD6, CV_STEER_HBONE, pod.hbone);
	pod.lookup = bpf_program__attach_netns(skel->progs.cv_lookup, pod.netns);
	CHECK(pod.lookup != NULL);
}

uint64_t own_cookie(void)
{
	uint64_t cookie;
	socklen_t len = sizeof(cookie);
	int fd = tcp(AF_INET);

	CHECK_OK(getsockopt(fd, SOL_SOCKET, SO_NETNS_COOKIE, &cookie, &len));
	close(fd);
	return cookie;
}

void enter_peer(void)
{
	CHECK_OK(setns(pod.peer_netns, CLONE_NEWNET));
}

void enter_pod(void)
{
	CHECK_OK(setns(pod.netns, CLONE_NEWNET));
}

int enter_new(void)
{
	int fd;

	CHECK_OK(unshare(CLONE_NEWNET));
	fd = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
	CHECK_OK(fd);
	return fd;
}

void shell(const char *format, ...)
{
	char command[512];
	va_list ap;

	va_start(ap, format);
	vsnprintf(command, sizeof(command), format, ap);
	va_end(ap);
	if (system(command) != 0)
		test_fail(__FILE__, __LINE__, "%s: failed", command);
}

unsigned map_size(const struct bpf_map *map)
{
	char key[64], next[64];
	void *at = NULL;
	unsigned n = 0;

	while (bpf_map_get_next_key(bpf_map__fd(map), at, next) == 0) {
		memcpy(key, next, sizeof(key));
		at = key;
		n++;
	}
	return n;
}

void check_emptied(const struct bpf_map *map)
{
	for (int ms = 0; map_size(map) > 0 && ms < WAIT_MS; ms += 10)
		usleep(10 * 1000);
	CHECK_EQ(map_size(map), 0);
}

/* Of tests before this one there may be some. */
void map_fill(const struct bpf_map *map)
{
	char key[64], value[128] = {0};
	uint32_t n, size = bpf_map__key_size(map);

	CHECK(size >= sizeof(n) && size <= sizeof(key) &&
	      bpf_map__value_size(map) <= sizeof(value));
	memset(key, 0xfe, sizeof(key));
	for (n = 0; n <= bpf_map__max_entries(map); n++) {
		memcpy(key + size - sizeof(n), &n, sizeof(n));
		if (bpf_map_update_elem(bpf_map__fd(map), key, value, BPF_ANY) < 0)
			return;
	}
	test_fail(__FILE__, __LINE__, "%s: is never full", bpf_map__name(map));
}

void map_empty(const struct bpf_map *map)
{
	char key[64];

	while (bpf_map_get_next_key(bpf_map__fd(map), NULL, key) == 0)
		CHECK_OK(bpf_map_delete_elem(bpf_map__fd(map), key));
}

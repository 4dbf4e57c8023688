/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/ztunnel/apps.h"

#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/loop.h"
#include "ztunnel/inbound.h"
#include "ztunnel/outbound.h"
#include "ztunnel/pod.h"
#include "ztunnel/relay.h"

struct dial {
	struct message m;
	struct pod *pod;
	int fd;
	bool is_plaintext; /* not captured: it arrives in the clear */
	struct cv_sockaddr to;
};

static void run_dial(void *target, struct message *m)
{
	struct dial *d = container_of(m, struct dial, m);

	if (target && d->is_plaintext)
		inbound_plain_start(target, d->pod, d->fd, &(struct cv_sockaddr){0}, &d->to);
	else if (target)
		outbound_start(target, d->pod, d->fd, &d->to);
	else
		(void)close_fd(d->fd);
	(void)pod_unref(d->pod);
	free(d);
}

/* app_dial() - as if the client pod's application had connected to @to and been captured. Return:
 * its socket, blocking with a time-out. */
int app_dial_as(struct rig *f, struct pod *pod, bool is_plaintext, const char *to)
{
	static unsigned int turn;
	const struct timeval patience = {.tv_sec = WAIT_MS / 1000};
	struct dial *d = calloc(1, sizeof(*d));
	struct sockaddr_in sa = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	int l = rig_listen("127.0.0.1", 0), fd;

	sa.sin_port = htons(rig_port(l));
	fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_int_equal(connect(fd, (struct sockaddr *)&sa, sizeof(sa)), 0);
	(void)setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
	(void)setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof(patience));
	d->m.run = run_dial;
	d->is_plaintext = is_plaintext;
	d->pod = pod_ref(pod);
	d->fd = accept4(l, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
	assert_true(d->fd >= 0);
	/* As accepted sockets inherit it from a pod's listeners. */
	relay_reset_on_close(d->fd, true);
	d->to = mesh_sockaddr(to);
	(void)close(l);
	inbox_post(&f->workers[turn++ % WORKERS].inbox, &d->m);
	return fd;
}

/* app_dial() - as if the client pod's application had connected to @to and been captured. Return:
 * its socket, blocking with a time-out. */
int app_dial(struct rig *f, const char *to)
{
	return app_dial_as(f, f->client, false, to);
}

/* To the listener it looks as if it came from where the application has dialled. */
int app_dial_captured(struct rig *f, const char *to)
{
	const struct timeval patience = {.tv_sec = WAIT_MS / 1000};
	struct cv_sockaddr listener = {.addr = mesh_addr(CLIENT_ADDR),
				       .port = htons(f->outbound_port)};
	struct cv_sockaddr dialled = mesh_sockaddr(to);
	struct sockaddr_storage ss;
	const int one = 1;
	socklen_t len;
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one)), 0);
	assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience)), 0);
	assert_int_equal(cv_sockaddr_to_native(&dialled, AF_INET, &ss, &len), 0);
	assert_int_equal(bind(fd, (struct sockaddr *)&ss, len), 0);
	assert_int_equal(cv_sockaddr_to_native(&listener, AF_INET, &ss, &len), 0);
	assert_int_equal(connect(fd, (struct sockaddr *)&ss, len), 0);
	return fd;
}

/* app_accept() - what arrives at the server's application; the agent works meanwhile. Return: -1
 * nothing in @ms. */
int app_accept(struct rig *f, int ms)
{
	const struct timeval patience = {.tv_sec = WAIT_MS / 1000};

	for (int i = 0; i < ms / 5; i++) {
		int fd = accept4(f->app, NULL, NULL, SOCK_CLOEXEC);

		if (fd >= 0) {
			(void)setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
			(void)setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof(patience));
			return fd;
		}
		(void)loop_run_once(f->loop, 5);
	}
	return -1;
}

struct pair app_connect_pair(struct rig *f)
{
	struct pair p = {.client = app_dial(f, SERVER_ADDR ":8080")};

	p.server = app_accept(f, WAIT_MS);
	assert_true(p.server >= 0);
	return p;
}

void app_pair_close(struct pair *p)
{
	(void)close(p->client);
	(void)close(p->server);
}

void app_all_arrive(struct rig *f, struct pair *pairs, int n)
{
	char text[16];

	for (int i = 0; i < n; i++) {
		pairs[i].server = app_accept(f, WAIT_MS);
		assert_true(pairs[i].server >= 0);
	}
	for (int i = 0; i < n; i++) {
		(void)snprintf(text, sizeof(text), "name %04d", i);
		app_say(pairs[i].client, text);
	}
	for (int i = 0; i < n; i++) {
		assert_int_equal(recv(pairs[i].server, text, 9, MSG_WAITALL), 9);
		text[9] = '\0';
		app_say(pairs[i].server, text);
	}
	for (int i = 0; i < n; i++) {
		(void)snprintf(text, sizeof(text), "name %04d", i);
		app_expect(pairs[i].client, text);
		app_pair_close(&pairs[i]);
	}
}

void app_close_rst(int fd)
{
	const struct linger l = {1, 0};

	(void)setsockopt(fd, SOL_SOCKET, SO_LINGER, &l, sizeof(l));
	(void)close(fd);
}

void app_say(int fd, const char *text)
{
	assert_int_equal(send(fd, text, strlen(text), MSG_NOSIGNAL), (ssize_t)strlen(text));
}

void app_expect(int fd, const char *text)
{
	char buf[64] = {0};
	size_t n = strlen(text);

	assert_int_equal(recv(fd, buf, n, MSG_WAITALL), (ssize_t)n);
	assert_string_equal(buf, text);
}

void app_pass(int from, int to, const char *text)
{
	app_say(from, text);
	app_expect(to, text);
}

/* expect_end() - Return: 0 FIN; -ECONNRESET and kin. */
int app_read_end(int fd)
{
	char c;
	ssize_t n = recv(fd, &c, 1, 0);

	assert_true(n <= 0);
	return n == 0 ? 0 : -errno;
}

/* app_expect_refused() - the connection was taken by ztunnel and is then reset; the application saw
 * nothing. */
void app_expect_refused(struct rig *f, int fd, int ms)
{
	struct pollfd p = {.fd = fd, .events = POLLIN};

	for (int i = 0; i < ms / 5 && poll(&p, 1, 0) == 0; i++)
		(void)loop_run_once(f->loop, 5);
	assert_int_equal(poll(&p, 1, 0), 1);
	assert_int_equal(app_read_end(fd), -ECONNRESET);
	assert_int_equal(accept4(f->app, NULL, NULL, 0), -1);
	(void)close(fd);
}

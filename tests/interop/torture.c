/* SPDX-License-Identifier: Apache-2.0 */
/* torture - connections that do all that an application may do with TCP, at random but the same on
 * both ends: `torture serve PORT`, `torture run HOST PORT COUNT SEED [proxied]`, with the last word
 * where no urgent byte may be. Either end follows the plan of the connection and says what was not
 * as it must be: a byte that differs, an end that was not seen, a call that hangs. The last line of
 * `run` is "N connections, N wrong, N resets lost", and that of `serve`, once it was told to end
 * and each connection has ended, "N served, ...". A kernel that has too much to do drops packets,
 * and no reset is sent again: who waits for one asks after PROBE_S, and one that came for that
 * alone is lost, but not wrong. */
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/macros.h"
#include "torture_io.h"
#include "torture_plan.h"

#define CLIENTS 16
#define PROBE_S 5

static atomic_uint lost;

struct end {
	const struct plan *plan;
	struct head head;
	int fd;
	bool is_client;
	atomic_bool has_read;  /* all of the peer's bytes */
	atomic_bool was_reset; /* a call has said so; the kernel tells one alone */
	pthread_mutex_t lock;
	pthread_cond_t change;
	char error[160];
};

__attribute__((format(printf, 2, 3))) static int wrong(struct end *e, const char *format, ...)
{
	va_list ap;

	pthread_mutex_lock(&e->lock);
	if (!e->error[0]) {
		va_start(ap, format);
		(void)vsnprintf(e->error, sizeof(e->error), format, ap);
		va_end(ap);
	}
	pthread_mutex_unlock(&e->lock);
	return -1;
}

/* ---- what this end is to do ---- */

static const struct stream *own_stream(const struct end *e)
{
	return e->is_client ? &e->plan->up : &e->plan->down;
}

static const struct stream *peers_stream(const struct end *e)
{
	return e->is_client ? &e->plan->down : &e->plan->up;
}

/* Is the ending the client's one (@is_client) or the server's one of these? */
static bool is_ending_of(const struct end *e, bool is_client, enum ending clients,
			 enum ending servers)
{
	return e->plan->ending == (is_client ? clients : servers);
}

static bool is_first(const struct end *e)
{
	return e->plan->ending == END_BOTH ||
	       is_ending_of(e, e->is_client, END_CLIENT_FIRST, END_SERVER_FIRST);
}

static bool is_resetting(const struct end *e)
{
	return is_ending_of(e, e->is_client, END_CLIENT_RESETS, END_SERVER_RESETS);
}

static bool is_reset(const struct end *e)
{
	return is_ending_of(e, !e->is_client, END_CLIENT_RESETS, END_SERVER_RESETS);
}

static bool is_leaving(const struct end *e)
{
	return is_ending_of(e, e->is_client, END_CLIENT_LEAVES, END_SERVER_LEAVES);
}

static bool is_left(const struct end *e)
{
	return is_ending_of(e, !e->is_client, END_CLIENT_LEAVES, END_SERVER_LEAVES);
}

static bool is_aborting(const struct end *e)
{
	return is_ending_of(e, e->is_client, END_CLIENT_ABORTS, END_SERVER_ABORTS);
}

static bool is_aborted(const struct end *e)
{
	return is_ending_of(e, !e->is_client, END_CLIENT_ABORTS, END_SERVER_ABORTS);
}

/* ---- a stream ---- */

/* How much of the stream there is from here to its urgent byte, or behind it to the end. */
static uint32_t piece_of(const struct stream *st, uint32_t done)
{
	return done < st->urgent ? st->urgent - done : st->total - done;
}

static int zerocopy_end(struct end *e, uint32_t sends)
{
	int r = zerocopy_wait(e->fd, sends);

	if (r < 0)
		(void)wrong(e, "MSG_ZEROCOPY: the kernel does not give the pages back");
	return r;
}

/* `limit` bytes of the stream. */
static int stream_write(struct end *e, const struct stream *st, uint32_t limit)
{
	uint32_t state = st->seed ^ 0x5bd1e995u, done = 0, sends = 0;
	uint8_t *b = bytes_of(st);
	int writes = 0, one = 1, r = 0;

	if (!b)
		return wrong(e, "no memory");
	if (st->writing == W_ZEROCOPY &&
	    setsockopt(e->fd, SOL_SOCKET, SO_ZEROCOPY, &one, sizeof(one)) < 0)
		(void)wrong(e, "SO_ZEROCOPY: %s", strerror(errno));
	while (r == 0 && done < limit) {
		size_t n = 1 + random_below(&state, st->chunk);
		ssize_t w;

		n = MIN(n, MIN(piece_of(st, done), limit - done));
		if (done == st->urgent)
			w = send(e->fd, b + done, 1, MSG_OOB);
		else
			w = write_some(e->fd, st->writing, b + done, n);
		if (w < 0 && errno == EINTR) /* io_uring leaves a signal of its own behind */
			continue;
		if (w < 0 && errno == ENOBUFS) { /* too much is still the kernel's */
			r = zerocopy_end(e, sends);
			sends = 0;
			continue;
		}
		sends += st->writing == W_ZEROCOPY && w > 0 && done != st->urgent;
		if (w <= 0)
			r = -errno;
		else
			done += (uint32_t)w;
		if (st->pause_every && ++writes % (int)st->pause_every == 0 && writes < 500)
			usleep(1000);
	}
	(void)zerocopy_end(e, sends);
	free(b);
	return r;
}

/* One read of the stream, which does not go past the urgent byte; of that, itself. */
static ssize_t stream_read_some(const struct end *e, const struct stream *st, uint32_t done,
				uint8_t *got, size_t n)
{
	ssize_t was = -1;

	if (n > piece_of(st, done))
		n = piece_of(st, done);
	if (!st->is_apart || done != st->urgent)
		return read_some(e->fd, st->reading, got, n);
	/* poll(2) would return for what MSG_ZEROCOPY has to say, too */
	for (int tries = 0; was < 0 && tries < HANG_S * 1000; tries++) {
		was = recv(e->fd, got, 1, MSG_OOB);
		if (was < 0 && errno != EINVAL && errno != EAGAIN && errno != EINTR)
			break;
		if (was < 0)
			usleep(1000);
	}
	return was;
}

/* A read has failed, or found an end: as it must be where the peer aborts, and there alone. */
static int stream_read_ended(struct end *e, const struct stream *st, uint32_t done, ssize_t was)
{
	int error = was < 0 ? errno : 0;

	if (!is_aborted(e) || (error && error != ECONNRESET))
		return wrong(e, "byte %u of %u: %s", done, st->total,
			     was ? strerror(error) : "end");
	if (error)
		atomic_store(&e->was_reset, true);
	return -ECONNRESET;
}

/* `limit` bytes of the stream, each compared. Return: 0; -ECONNRESET where an abort came before. */
static int stream_read(struct end *e, const struct stream *st, uint32_t limit)
{
	uint8_t *want = bytes_of(st), *got = malloc(st->chunk + 1u);
	uint32_t done = 0;
	int r = 0;

	if (!want || !got)
		r = wrong(e, "no memory");
	if (st->is_late)
		usleep(20000);
	while (want && got && r == 0 && done < limit) {
		size_t n = limit - done < st->chunk ? limit - done : st->chunk;
		ssize_t was = stream_read_some(e, st, done, got, n);

		if (was < 0 && errno == EINTR)
			continue;
		if (was <= 0)
			r = stream_read_ended(e, st, done, was);
		else if (memcmp(got, want + done, (size_t)was) != 0)
			r = wrong(e, "byte %u of %u or one after it differs", done, st->total);
		else
			done += (uint32_t)was;
	}
	free(want);
	free(got);
	return r;
}

static int low_again(struct end *e)
{
	int one = 1;

	return setsockopt(e->fd, SOL_SOCKET, SO_RCVLOWAT, &one, sizeof(one));
}

static void count_lost(const struct end *e)
{
	struct tcp_info info;
	socklen_t n = sizeof(info);

	if (getsockopt(e->fd, IPPROTO_TCP, TCP_INFO, &info, &n) == 0 && info.tcpi_probes > 0)
		atomic_fetch_add(&lost, 1);
}

static int expect_end(struct end *e, int error)
{
	char c;
	ssize_t r;

	(void)low_again(e);
	do
		r = recv(e->fd, &c, 1, 0);
	while (r < 0 && errno == EINTR);
	if (error && r < 0 && errno == error) {
		count_lost(e);
		return 0;
	}
	if (!error && r == 0)
		return 0;
	return wrong(e, "wanted %s, saw %s", error ? strerror(error) : "end",
		     r < 0 ? strerror(errno) : (r ? "data" : "end"));
}

/* ---- one end ---- */

static void wait_has_read(struct end *e)
{
	pthread_mutex_lock(&e->lock);
	while (!atomic_load(&e->has_read))
		pthread_cond_wait(&e->change, &e->lock);
	pthread_mutex_unlock(&e->lock);
}

static void tell_has_read(struct end *e)
{
	pthread_mutex_lock(&e->lock);
	atomic_store(&e->has_read, true);
	pthread_cond_broadcast(&e->change);
	pthread_mutex_unlock(&e->lock);
}

/* These may have written some of it and lost the error. */
static bool loses_errors(enum writing how)
{
	return how == W_SPLICE || how == W_SENDFILE;
}

/* How a write ended whose peer may be gone. */
static void note_write_error(struct end *e, int r)
{
	bool is_told = r == -ECONNRESET || (r == -EPIPE && loses_errors(own_stream(e)->writing));

	if (is_told)
		atomic_store(&e->was_reset, true);
	else if (r < 0 && r != -EPIPE)
		(void)wrong(e, "write: %s", strerror(-r));
}

/* Who is first writes at once and says so with its FIN; the other's FIN comes when it has read all.
 * Of one that leaves its peer must have had everything before it begins. */
static void *write_main(void *arg)
{
	struct end *e = arg;
	uint32_t total = own_stream(e)->total;
	int r;

	if (is_left(e))
		wait_has_read(e);
	r = stream_write(e, own_stream(e), is_aborting(e) ? total / 2 : total);
	if (is_left(e) || is_aborted(e)) {
		note_write_error(e, r);
		return NULL;
	}
	if (r < 0)
		(void)wrong(e, "write: %s", strerror(-r));
	if (is_leaving(e) || is_aborting(e))
		return NULL;
	if (!is_first(e))
		wait_has_read(e);
	if (!is_resetting(e))
		(void)shutdown(e->fd, SHUT_WR);
	return NULL;
}

static void read_all(struct end *e)
{
	uint32_t total = peers_stream(e)->total;
	bool is_half = is_leaving(e) || is_aborting(e) || is_aborted(e);

	(void)stream_read(e, peers_stream(e), is_half ? total / 2 : total);
	tell_has_read(e);
}

static void linger_none(const struct end *e)
{
	struct linger linger = {.l_onoff = 1};

	(void)setsockopt(e->fd, SOL_SOCKET, SO_LINGER, &linger, sizeof(linger));
}

/* Nothing more comes of a peer that has left; of one that aborts a reset, which one call tells. */
static void expect_gone(struct end *e, pthread_t writer)
{
	ssize_t r;
	char c;

	(void)low_again(e);
	do
		r = recv(e->fd, &c, 1, 0);
	while (r < 0 && errno == EINTR);
	if (r > 0 || (r < 0 && errno == EAGAIN))
		(void)wrong(e, "%s after the peer was gone", r > 0 ? "data" : "no end");
	if (r < 0 && errno == ECONNRESET)
		atomic_store(&e->was_reset, true);
	pthread_join(writer, NULL);
	count_lost(e);
	if (is_aborted(e) && !atomic_load(&e->was_reset))
		(void)wrong(e, "wanted a reset, saw an end");
}

/* What follows the last byte. Who resets has written all of its own before. */
static void finish(struct end *e, pthread_t writer)
{
	if (is_left(e) || is_aborted(e)) {
		expect_gone(e, writer);
		return;
	}
	if (is_leaving(e) || is_resetting(e) || is_aborting(e))
		pthread_join(writer, NULL);
	if (is_leaving(e))
		return;
	if (!is_aborting(e))
		(void)expect_end(e, is_reset(e) ? ECONNRESET : 0);
	if (is_resetting(e) || is_aborting(e))
		linger_none(e);
	else
		pthread_join(writer, NULL);
}

static void end_run(struct end *e)
{
	struct timeval limit = {.tv_sec = HANG_S};
	int one = 1, probe_s = PROBE_S, is_inline = !peers_stream(e)->is_apart;
	pthread_t writer;

	(void)setsockopt(e->fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
	(void)setsockopt(e->fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit));
	(void)setsockopt(e->fd, SOL_SOCKET, SO_KEEPALIVE, &one, sizeof(one));
	(void)setsockopt(e->fd, IPPROTO_TCP, TCP_KEEPIDLE, &probe_s, sizeof(probe_s));
	(void)setsockopt(e->fd, IPPROTO_TCP, TCP_KEEPINTVL, &probe_s, sizeof(probe_s));
	(void)setsockopt(e->fd, SOL_SOCKET, SO_OOBINLINE, &is_inline, sizeof(is_inline));
	if (e->plan->is_nodelay)
		(void)setsockopt(e->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	pthread_mutex_init(&e->lock, NULL);
	pthread_cond_init(&e->change, NULL);
	if (pthread_create(&writer, NULL, write_main, e) != 0) {
		(void)wrong(e, "no thread");
		close(e->fd);
		return;
	}
	read_all(e);
	finish(e, writer);
	close(e->fd);
}

/* ---- server ---- */

static struct {
	pthread_mutex_t lock;
	pthread_cond_t change;
	unsigned int running, served, wrong;
} serving = {PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER, 0, 0, 0};

static void serving_begins(void)
{
	pthread_mutex_lock(&serving.lock);
	serving.running++;
	pthread_mutex_unlock(&serving.lock);
}

static void serving_ends(bool is_wrong)
{
	pthread_mutex_lock(&serving.lock);
	serving.running--;
	serving.served++;
	serving.wrong += is_wrong;
	pthread_cond_signal(&serving.change);
	pthread_mutex_unlock(&serving.lock);
}

/* Each call of a connection ends in time, so each connection does. */
static int serving_wait(void)
{
	pthread_mutex_lock(&serving.lock);
	while (serving.running > 0)
		pthread_cond_wait(&serving.change, &serving.lock);
	pthread_mutex_unlock(&serving.lock);
	printf("%u served, %u wrong, %u resets lost\n", serving.served, serving.wrong,
	       atomic_load(&lost));
	return serving.wrong != 0;
}

static void *serve_one(void *arg)
{
	struct end e = {.fd = (int)(intptr_t)arg};
	struct plan plan;

	if (recv(e.fd, &e.head, sizeof(e.head), MSG_WAITALL) == sizeof(e.head)) {
		plan = plan_of(&e.head);
		e.plan = &plan;
		end_run(&e);
	} else {
		(void)snprintf(e.error, sizeof(e.error), "no head");
		close(e.fd);
	}
	if (e.error[0])
		printf("server: seed %u connection %u: %s\n", e.head.seed, e.head.index, e.error);
	serving_ends(e.error[0]);
	return NULL;
}

static void serve_start(int fd)
{
	pthread_t thread;

	serving_begins();
	if (pthread_create(&thread, NULL, serve_one, (void *)(intptr_t)fd) == 0) {
		pthread_detach(thread);
		return;
	}
	printf("server: no thread\n");
	close(fd);
	serving_ends(true);
}

static void on_term(int signo)
{
	(void)signo;
}

/* SIGTERM interrupts the wait for the next connection and nothing else. */
static void term_prepare(sigset_t *while_waiting)
{
	struct sigaction end = {.sa_handler = on_term};
	sigset_t term;

	sigemptyset(&term);
	sigaddset(&term, SIGTERM);
	(void)sigaction(SIGTERM, &end, NULL);
	(void)pthread_sigmask(SIG_BLOCK, &term, while_waiting);
}

static int serve(const char *port)
{
	struct sockaddr_in6 any = {.sin6_family = AF_INET6,
				   .sin6_port = htons((uint16_t)strtoul(port, NULL, 10))};
	struct pollfd p = {.fd = socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0), .events = POLLIN};
	int one = 1, child;
	sigset_t while_waiting;

	term_prepare(&while_waiting);
	(void)setsockopt(p.fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	if (p.fd < 0 || bind(p.fd, (struct sockaddr *)&any, sizeof(any)) < 0 ||
	    listen(p.fd, 512) < 0)
		return 1;
	printf("ready\n");
	while (ppoll(&p, 1, NULL, &while_waiting) == 1) {
		child = accept(p.fd, NULL, NULL);
		if (child >= 0)
			serve_start(child);
	}
	return serving_wait();
}

/* ---- client ---- */

static struct addrinfo *server;
static uint32_t seed, count;
static bool is_proxied;
static atomic_uint taken, failed;

static void connection(uint32_t index)
{
	struct end e = {.head = {seed, index, !is_proxied}, .is_client = true};
	struct plan plan = plan_of(&e.head);

	e.plan = &plan;
	e.fd = socket(server->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (e.fd < 0 || connect(e.fd, server->ai_addr, server->ai_addrlen) < 0 ||
	    send(e.fd, &e.head, sizeof(e.head), 0) != sizeof(e.head)) {
		(void)snprintf(e.error, sizeof(e.error), "connect: %s", strerror(errno));
		close(e.fd);
	} else {
		end_run(&e);
	}
	if (!e.error[0])
		return;
	atomic_fetch_add(&failed, 1);
	printf("client: seed %u connection %u (write %d read %d end %d): %s\n", seed, index,
	       (int)plan.up.writing, (int)plan.down.reading, (int)plan.ending, e.error);
}

static void *client_main(void *arg)
{
	uint32_t index;

	(void)arg;
	while ((index = atomic_fetch_add(&taken, 1)) < count)
		connection(index);
	return NULL;
}

static int run(char **argv)
{
	struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICHOST};
	pthread_t threads[CLIENTS];

	if (getaddrinfo(argv[0], argv[1], &hints, &server) != 0)
		return 2;
	count = (uint32_t)strtoul(argv[2], NULL, 10);
	seed = (uint32_t)strtoul(argv[3], NULL, 10);
	is_proxied = argv[4];
	for (int i = 0; i < CLIENTS; i++)
		if (pthread_create(&threads[i], NULL, client_main, NULL) != 0)
			return 2;
	for (int i = 0; i < CLIENTS; i++)
		pthread_join(threads[i], NULL);
	printf("%u connections, %u wrong, %u resets lost\n", count, atomic_load(&failed),
	       atomic_load(&lost));
	return atomic_load(&failed) != 0;
}

int main(int argc, char **argv)
{
	(void)signal(SIGPIPE, SIG_IGN);
	setvbuf(stdout, NULL, _IOLBF, 0);
	if (argc == 3 && strcmp(argv[1], "serve") == 0)
		return serve(argv[2]);
	if (argc >= 6 && argc <= 7 && strcmp(argv[1], "run") == 0)
		return run(argv + 2);
	(void)fprintf(stderr,
		      "usage: torture serve PORT | torture run HOST PORT COUNT SEED [proxied]\n");
	return 2;
}

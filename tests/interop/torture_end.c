/* SPDX-License-Identifier: Apache-2.0 */
#include "torture_end.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/sock_diag.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/macros.h"

#define PROBE_S 5

static atomic_uint lost[2];

unsigned int resets_lost(bool is_refused)
{
	return atomic_load(&lost[is_refused]);
}

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

static enum waiting waiting_of(const struct end *e)
{
	return e->is_client ? e->plan->client_waits : e->plan->server_waits;
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
	struct waiter w;
	int writes = 0, one = 1, r = 0;

	if (!b || waiter_open(&w, e->fd, waiting_of(e), true) < 0) {
		free(b);
		return wrong(e, "no memory, or no epoll");
	}
	if (st->writing == W_ZEROCOPY &&
	    setsockopt(e->fd, SOL_SOCKET, SO_ZEROCOPY, &one, sizeof(one)) < 0)
		(void)wrong(e, "SO_ZEROCOPY: %s", strerror(errno));
	while (r == 0 && done < limit) {
		size_t n = 1 + random_below(&state, st->chunk);
		ssize_t sent;

		n = MIN(n, MIN(piece_of(st, done), limit - done));
		if (done == st->urgent)
			sent = send(e->fd, b + done, 1, MSG_OOB);
		else
			sent = write_some(e->fd, st->writing, b + done, n);
		if (sent < 0 && waiter_again(&w))
			continue;
		if (sent < 0 && errno == ENOBUFS) { /* too much is still the kernel's */
			r = zerocopy_end(e, sends);
			sends = 0;
			continue;
		}
		sends += st->writing == W_ZEROCOPY && sent > 0 && done != st->urgent;
		if (sent <= 0)
			r = -errno;
		else
			done += (uint32_t)sent;
		if (st->pause_every && ++writes % (int)st->pause_every == 0 && writes < 500)
			usleep(1000);
	}
	(void)zerocopy_end(e, sends);
	waiter_close(&w);
	io_close();
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

/* Of stream_read(): @want is what is to come, @got has room for what comes at once. */
static int stream_compare(struct end *e, const struct stream *st, uint32_t limit,
			  const uint8_t *want, uint8_t *got)
{
	struct waiter w;
	uint32_t done = 0;
	int r = 0;

	if (waiter_open(&w, e->fd, waiting_of(e), false) < 0)
		r = wrong(e, "no epoll");
	while (r == 0 && done < limit) {
		size_t n = limit - done < st->chunk ? limit - done : st->chunk;
		ssize_t was = stream_read_some(e, st, done, got, n);

		if (was < 0 && waiter_again(&w))
			continue;
		if (was <= 0)
			r = stream_read_ended(e, st, done, was);
		else if (memcmp(got, want + done, (size_t)was) != 0)
			r = wrong(e, "byte %u of %u or one after it differs", done, st->total);
		else
			done += (uint32_t)was;
	}
	waiter_close(&w);
	io_close();
	return r;
}

/* `limit` bytes of the stream, each compared. Return: 0; -ECONNRESET where an abort came before. */
static int stream_read(struct end *e, const struct stream *st, uint32_t limit)
{
	uint8_t *want = bytes_of(st), *got = malloc(st->chunk + 1u);
	int r;

	if (st->is_late)
		usleep(20000);
	if (want && got)
		r = stream_compare(e, st, limit, want, got);
	else
		r = wrong(e, "no memory");
	free(want);
	free(got);
	return r;
}

static int low_again(struct end *e)
{
	int one = 1;

	return setsockopt(e->fd, SOL_SOCKET, SO_RCVLOWAT, &one, sizeof(one));
}

/* Segments that the kernel has refused at this socket: there was no room in a queue of it. */
static uint32_t refused_of(const struct end *e)
{
	uint32_t info[SK_MEMINFO_VARS] = {0};
	socklen_t n = sizeof(info);

	(void)getsockopt(e->fd, SOL_SOCKET, SO_MEMINFO, info, &n);
	return info[SK_MEMINFO_DROPS];
}

/* A reset that has come: at once, or for a probe, after the peer had said nothing for so long? */
static void count_lost(const struct end *e)
{
	struct tcp_info info;
	socklen_t n = sizeof(info);
	uint32_t refused = refused_of(e);

	if (getsockopt(e->fd, IPPROTO_TCP, TCP_INFO, &info, &n) < 0 || info.tcpi_probes == 0 ||
	    info.tcpi_last_ack_recv < PROBE_S * 1000 / 2)
		return;
	atomic_fetch_add(&lost[refused > 0], 1);
	printf("%s: seed %u connection %u (end %d): its reset came for a probe, after %u ms; %u "
	       "segments "
	       "were refused\n",
	       e->is_client ? "client" : "server", e->head.seed, e->head.index,
	       (int)e->plan->ending, info.tcpi_last_ack_recv, refused);
}

/* One byte more, or what there is instead. Return: as recv(2). */
static ssize_t read_end(struct end *e)
{
	struct waiter w;
	ssize_t r;
	char c;

	(void)low_again(e);
	if (waiter_open(&w, e->fd, waiting_of(e), false) < 0)
		(void)wrong(e, "no epoll");
	do
		r = recv(e->fd, &c, 1, 0);
	while (r < 0 && waiter_again(&w));
	waiter_close(&w);
	return r;
}

static void expect_end(struct end *e, int error)
{
	ssize_t r = read_end(e);

	if (error && r < 0 && errno == error)
		count_lost(e);
	else if (error || r != 0)
		(void)wrong(e, "wanted %s, saw %s", error ? strerror(error) : "end",
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
	ssize_t r = read_end(e);

	if (r > 0 || (r < 0 && (errno == EAGAIN || errno == ETIMEDOUT)))
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
		expect_end(e, is_reset(e) ? ECONNRESET : 0);
	if (is_resetting(e) || is_aborting(e))
		linger_none(e);
	else
		pthread_join(writer, NULL);
}

void end_run(struct end *e)
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
	if (waiting_of(e) != WAIT_IN_CALL)
		(void)fcntl(e->fd, F_SETFL, fcntl(e->fd, F_GETFL) | O_NONBLOCK);
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

/* ---- its beginning ---- */

/* Who does not wait in the call waits for room, as for any other byte. */
static int connect_wait(struct end *e)
{
	struct waiter w;
	int error = errno;
	socklen_t n = sizeof(error);

	if (error != EINPROGRESS)
		return -1;
	if (waiter_open(&w, e->fd, waiting_of(e), true) < 0)
		return -1;
	errno = EAGAIN;
	if (!waiter_again(&w))
		error = errno;
	else
		(void)getsockopt(e->fd, SOL_SOCKET, SO_ERROR, &error, &n);
	waiter_close(&w);
	errno = error;
	return error ? -1 : 0;
}

int end_connect(struct end *e, const struct sockaddr *addr, socklen_t n)
{
	int flags = waiting_of(e) == WAIT_IN_CALL ? 0 : SOCK_NONBLOCK;

	e->fd = socket(addr->sa_family, SOCK_STREAM | SOCK_CLOEXEC | flags, 0);
	if (e->fd < 0 || (connect(e->fd, addr, n) < 0 && connect_wait(e) < 0))
		return -1;
	return send(e->fd, &e->head, sizeof(e->head), 0) == sizeof(e->head) ? 0 : -1;
}

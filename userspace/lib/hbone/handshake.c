/* SPDX-License-Identifier: Apache-2.0 */
#include "hbone/handshake.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "base/reserve.h"
#include "tls/identity.h"

/* A flight with the longest chain that is taken (tls/verify.c), and something behind it. */
#define READ_MAX   (64 * 1024)
#define UNSENT_MAX (256 * 1024)

/* Whoever has many handshakes waits for his own: among the shares there are turns. */

static void wait_for_step(struct tunnel_handshake *h)
{
	struct handshake_steps *s = &h->scratch->steps;
	size_t i = (h->share * 0x9E3779B97F4A7C15ULL) >> 32 & (HANDSHAKE_SHARES - 1);

	h->is_waiting = true;
	list_add_tail(&s->shares[i], &h->turn);
	s->waiting |= 1ULL << i;
	loop_task_queue(h->loop, &s->task);
}

static void wait_no_more(struct tunnel_handshake *h)
{
	if (h->is_waiting)
		list_del(&h->turn);
	h->is_waiting = false;
}

/* next_share() - Return: whose turn it is; NULL: nobody waits. */
static struct list *next_share(struct handshake_steps *s)
{
	while (s->waiting != 0) {
		uint64_t later = s->waiting & ~0ULL << s->next;
		unsigned int i = (unsigned int)__builtin_ctzll(later ? later : s->waiting);

		s->next = (i + 1) % HANDSHAKE_SHARES;
		if (!list_is_empty(&s->shares[i]))
			return &s->shares[i];
		s->waiting &= ~(1ULL << i);
	}
	return NULL;
}

static void over(struct tunnel_handshake *h, int error, const char *text)
{
	h->is_over = true;
	h->error = error;
	(void)snprintf(h->text, sizeof(h->text), "%s", text);
	loop_del(&h->watch);
	wait_no_more(h);
	if (h->desk)
		handshaker_return(h);
	else
		tunnel_shaken(h->tunnel, h);
}

/* fill() - what has come goes into cipher_in. Return: 0; -errno: it is over. */
static int fill(struct tunnel_handshake *h)
{
	struct hbone_scratch *s = h->scratch;
	ssize_t n = recv(h->watch.fd, s->cipher_in, READ_MAX, MSG_DONTWAIT);

	if (n == 0)
		return -ECONNRESET;
	if (n < 0 && errno != EAGAIN && errno != EINTR)
		return -errno;
	s->cipher_in_len = n < 0 ? 0 : (size_t)n;
	s->cipher_in_pos = 0;
	return 0;
}

static void failed(struct tunnel_handshake *h)
{
	bool is_revoked = SSL_get_verify_result(h->tls->ssl) == X509_V_ERR_CERT_REVOKED;
	char text[HANDSHAKE_TEXT_MAX];

	(void)tls_error_text(h->tls->ssl, text, sizeof(text));
	/* The alert says to the peer what we do not like. */
	if (scratch_send(h->scratch, h->watch.fd, &h->unsent) < 0)
		h->scratch->cipher_out_len = 0;
	over(h, is_revoked ? -EKEYREVOKED : -EPROTO, text);
}

static void complete(struct tunnel_handshake *h)
{
	struct hbone_scratch *s = h->scratch;
	size_t n = s->cipher_in_len - s->cipher_in_pos;
	int r = n > 0 ? buf_append(&h->behind, s->cipher_in + s->cipher_in_pos, n) : 0;

	over(h, r, "");
}

static void arm(struct tunnel_handshake *h)
{
	(void)loop_set(&h->watch, EPOLLIN | (buf_len(&h->unsent) > 0 ? EPOLLOUT : 0));
}

static void work(struct tunnel_handshake *h)
{
	int r, err;

	/* It takes the most of all that is new. */
	if (!reserve_is_whole() && !(h->desk && reserve_fill())) {
		over(h, -ENOMEM, "");
		return;
	}
	scratch_forget_errors();
	r = scratch_handshake(h->tls);
	err = SSL_get_error(h->tls->ssl, r);
	if (r != 1 && err != SSL_ERROR_WANT_READ && err != SSL_ERROR_WANT_WRITE)
		failed(h);
	else if (scratch_send(h->scratch, h->watch.fd, &h->unsent) < 0)
		over(h, -EIO, "write failed in the handshake");
	else if (r == 1)
		complete(h);
	else
		arm(h);
}

static void step(struct tunnel_handshake *h)
{
	struct hbone_scratch *s = h->scratch;
	int r = fill(h);

	if (r < 0)
		over(h, r, r == -ECONNRESET ? "the peer closed the connection" : strerror(-r));
	else
		work(h);
	/* Nothing of ours may be left for another tunnel. */
	s->cipher_in_len = s->cipher_in_pos = s->cipher_out_len = 0;
}

/* on_steps() - one per turn of the loop, when what came for open tunnels has been looked at. */
static void on_steps(struct loop_task *task)
{
	struct handshake_steps *s = container_of(task, struct handshake_steps, task);
	struct list *share = next_share(s);
	struct tunnel_handshake *h;

	if (!share)
		return;
	h = list_entry(share->next, struct tunnel_handshake, turn);
	loop_task_queue(h->loop, task);
	wait_no_more(h);
	step(h);
}

void handshake_steps_init(struct handshake_steps *s)
{
	for (size_t i = 0; i < HANDSHAKE_SHARES; i++)
		list_init(&s->shares[i]);
	s->task.on_task = on_steps;
}

static void on_event(struct loop_fd *w, uint32_t events)
{
	struct tunnel_handshake *h = container_of(w, struct tunnel_handshake, watch);

	if (events & EPOLLOUT) {
		int r = scratch_send_kept(h->scratch, w->fd, &h->unsent);

		if (r < 0) {
			over(h, r, strerror(-r));
			return;
		}
		arm(h);
	}
	if (!(events & (EPOLLIN | EPOLLHUP | EPOLLERR)))
		return;
	if (h->is_waiting)
		(void)loop_set(w, 0); /* it is said each time */
	else
		wait_for_step(h);
}

static int start(struct tunnel_handshake *h)
{
	int r = loop_add(h->loop, &h->watch, EPOLLIN);

	if (r < 0)
		return r;
	scratch_use(h->scratch, h->tls);
	if (!SSL_is_server(h->tls->ssl))
		wait_for_step(h);
	return 0;
}

void handshake_start(struct tunnel_handshake *h)
{
	int r = start(h);

	if (r < 0)
		over(h, r, strerror(-r));
}

void handshake_release(struct tunnel_handshake *h)
{
	loop_del(&h->watch);
	wait_no_more(h);
	if (h->desk)
		buf_reset(&h->unsent);
	else
		scratch_drop_kept(h->scratch, &h->unsent);
	buf_reset(&h->behind);
	scratch_tls_free(h->tls);
	(void)close_fd(h->watch.fd);
	free(h);
}

int handshake_new(const struct handshake_config *config, struct tunnel_handshake **ret)
{
	struct tunnel_handshake *h = calloc(1, sizeof(*h));
	int r;

	if (!h)
		return -ENOMEM;
	h->tunnel = config->tunnel;
	h->desk = config->desk;
	h->share = config->share;
	h->loop = config->loop;
	h->scratch = config->scratch;
	h->tls = config->tls;
	h->unsent.limit = UNSENT_MAX;
	h->behind.limit = READ_MAX;
	h->watch.fd = config->fd;
	h->watch.on_event = on_event;
	r = h->desk ? handshaker_send(h) : start(h);
	if (r < 0) {
		free(h);
		return r;
	}
	*ret = h;
	return 0;
}

struct tunnel_handshake *handshake_free(struct tunnel_handshake *h)
{
	if (h && (!h->desk || handshaker_recall(h)))
		handshake_release(h);
	return NULL;
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "hbone/scratch.h"

#include <errno.h>
#include <openssl/err.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "hbone/handshake.h"
#include "hbone/tunnel.h"

int hbone_scratch_new(struct hbone_scratch **ret)
{
	_cleanup_(hbone_scratch_freep) struct hbone_scratch *s = NULL;

	s = calloc(1, sizeof(*s));
	if (!s)
		return -ENOMEM;
	handshake_steps_init(&s->steps);
	s->plain_out = malloc(SCRATCH_WRITE_MAX + 1); /* for what tls_records_seal() puts there */
	s->plain_in = malloc(SCRATCH_PLAIN_MAX);
	s->cipher_out = malloc(SCRATCH_CIPHER_MAX);
	s->cipher_in = malloc(SCRATCH_READ_MAX);
	if (!s->plain_out || !s->plain_in || !s->cipher_out || !s->cipher_in)
		return -ENOMEM;
	*ret = TAKE_PTR(s);
	return 0;
}

struct hbone_scratch *hbone_scratch_free(struct hbone_scratch *s)
{
	if (!s)
		return NULL;
	loop_task_del(&s->steps.task);
	free(s->plain_out);
	free(s->plain_in);
	free(s->cipher_out);
	free(s->cipher_in);
	free(s->spare);
	free(s);
	return NULL;
}

/* The BIO under OpenSSL only moves bytes between the shared buffers and the record layer: one
 * read(2) and one write(2) for many records, and no buffer per connection. It holds nothing between
 * two calls into the tunnel. */
static int bio_write(BIO *bio, const char *p, int n)
{
	struct hbone_scratch *s = BIO_get_data(bio);

	BIO_clear_retry_flags(bio);
	if (n <= 0)
		return 0;
	if (SCRATCH_CIPHER_MAX - s->cipher_out_len < (size_t)n) {
		BIO_set_retry_write(bio);
		return -1;
	}
	memcpy(s->cipher_out + s->cipher_out_len, p, (size_t)n);
	s->cipher_out_len += (size_t)n;
	return n;
}

static int bio_read(BIO *bio, char *p, int n)
{
	struct hbone_scratch *s = BIO_get_data(bio);
	size_t len = s->cipher_in_len - s->cipher_in_pos;

	BIO_clear_retry_flags(bio);
	if (n <= 0)
		return 0;
	if (len == 0) {
		BIO_set_retry_read(bio);
		return -1;
	}
	len = MIN(len, (size_t)n);
	memcpy(p, s->cipher_in + s->cipher_in_pos, len);
	s->cipher_in_pos += len;
	return (int)len;
}

static long bio_ctrl(BIO *bio, int cmd, long num, void *p)
{
	return cmd == BIO_CTRL_FLUSH ? 1 : 0;
}

static BIO_METHOD *bio_method;

static void bio_method_make(void)
{
	BIO_METHOD *m = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "hbone");

	if (!m)
		return;
	(void)BIO_meth_set_write(m, bio_write);
	(void)BIO_meth_set_read(m, bio_read);
	(void)BIO_meth_set_ctrl(m, bio_ctrl);
	bio_method = m;
}

/* on_message() - OpenSSL reads on until there are data for us: all that stops it before is that no
 * more bytes are there. OpenSSL's signature. */
/* NOLINTNEXTLINE(readability-function-size): OpenSSL's signature */
static void on_message(int is_write, int version, int type, const void *p, size_t n, SSL *ssl,
		       void *arg)
{
	struct hbone_scratch *s = BIO_get_data(SSL_get_rbio(ssl));
	struct scratch_tls *tls = arg;

	if (is_write || type != SSL3_RT_HANDSHAKE || ++tls->messages <= SCRATCH_MESSAGES_MAX)
		return;
	s->cipher_in_pos = s->cipher_in_len;
}

int scratch_handshake(struct scratch_tls *tls)
{
	int r;

	tls_records_bind(&tls->records);
	r = SSL_do_handshake(tls->ssl);
	tls_records_bind(NULL);
	return r;
}

int scratch_attach(struct hbone_scratch *s, struct scratch_tls *tls)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;
	BIO *bio;

	(void)pthread_once(&once, bio_method_make);
	bio = bio_method ? BIO_new(bio_method) : NULL;
	if (!bio)
		return -ENOMEM;
	BIO_set_data(bio, s);
	BIO_set_init(bio, 1);
	SSL_set_bio(tls->ssl, bio, bio);
	SSL_set_msg_callback(tls->ssl, on_message);
	SSL_set_msg_callback_arg(tls->ssl, tls);
	return 0;
}

int scratch_tls_new(struct hbone_scratch *s, SSL *ssl, struct scratch_tls **ret)
{
	struct scratch_tls *tls = calloc(1, sizeof(*tls));
	int r;

	if (!tls)
		return -ENOMEM;
	tls->ssl = ssl;
	r = scratch_attach(s, tls);
	if (r < 0)
		free(tls);
	else
		*ret = tls;
	return r;
}

void scratch_tls_free(struct scratch_tls *tls)
{
	if (!tls)
		return;
	SSL_free(tls->ssl);
	free(tls);
}

void scratch_use(struct hbone_scratch *s, struct scratch_tls *tls)
{
	BIO_set_data(SSL_get_rbio(tls->ssl), s);
}

void scratch_forget_errors(void)
{
	/* Mostly there are none, and to look is much cheaper. */
	if (ERR_peek_error() != 0)
		ERR_clear_error();
}

bool scratch_can_keep(struct hbone_scratch *s)
{
	if (!s->spare)
		s->spare = malloc(SCRATCH_CIPHER_MAX);
	return s->spare != NULL;
}

/* send_some() - Return: bytes that the socket took, 0 when it is full; -errno. */
static ssize_t send_some(int fd, const uint8_t *p, size_t n)
{
	ssize_t r = send(fd, p, n, MSG_NOSIGNAL | MSG_DONTWAIT);

	if (r >= 0)
		return r;
	return errno == EAGAIN || errno == EINTR ? 0 : -errno;
}

/* keep() - at the end of what is kept. */
static int keep(struct hbone_scratch *s, struct buf *unsent, const uint8_t *p, size_t n)
{
	int r = buf_append(unsent, p, n);

	if (r != -ENOMEM || buf_len(unsent) > 0 || !s->spare)
		return r;
	buf_reset(unsent);
	unsent->data = TAKE_PTR(s->spare);
	unsent->cap = SCRATCH_CIPHER_MAX;
	return buf_append(unsent, p, n);
}

int scratch_send(struct hbone_scratch *s, int fd, struct buf *unsent)
{
	size_t len = s->cipher_out_len;
	ssize_t n = 0;

	s->cipher_out_len = 0;
	if (len == 0)
		return 0;
	if (buf_len(unsent) == 0)
		n = send_some(fd, s->cipher_out, len);
	if (n < 0)
		return (int)n;
	return (size_t)n < len ? keep(s, unsent, s->cipher_out + n, len - (size_t)n) : 0;
}

void scratch_drop_kept(struct hbone_scratch *s, struct buf *unsent)
{
	/* its size says whether it can be one: no buffer that grows by itself has this, and a spare
	 * one that has grown has it no more */
	if (!s->spare && unsent->cap == SCRATCH_CIPHER_MAX)
		s->spare = TAKE_PTR(unsent->data);
	buf_reset(unsent);
}

int scratch_send_kept(struct hbone_scratch *s, int fd, struct buf *unsent)
{
	ssize_t n;

	if (buf_len(unsent) == 0)
		return 0;
	n = send_some(fd, buf_head(unsent), buf_len(unsent));
	if (n < 0)
		return (int)n;
	buf_consume(unsent, (size_t)n);
	if (buf_len(unsent) == 0)
		scratch_drop_kept(s, unsent);
	return 0;
}

/* seal_record() - Return: bytes that went into one record; 0: OpenSSL has to make it. */
static size_t seal_record(struct hbone_scratch *s, struct scratch_tls *tls, uint8_t *p, size_t n)
{
	size_t len = 0;

	n = MIN(n, (size_t)TLS_RECORD_MAX);
	if (SCRATCH_CIPHER_MAX - s->cipher_out_len >= n + TLS_RECORD_OVERHEAD)
		len = tls_records_seal(&tls->records, tls->ssl, p, n,
				       s->cipher_out + s->cipher_out_len);
	s->cipher_out_len += len;
	return len > 0 ? n : 0;
}

/* count_record() - one more is about to be made; the peer hears of a new key first where it is time
 * for one. A refusal of OpenSSL's is no reason to end a tunnel: it is asked again. */
static void count_record(struct scratch_tls *tls)
{
	if (tls->sealed >= SCRATCH_KEY_RECORDS &&
	    SSL_key_update(tls->ssl, SSL_KEY_UPDATE_NOT_REQUESTED) == 1)
		tls->sealed = 0;
	tls->sealed++;
}

int scratch_encrypt(struct hbone_scratch *s, struct scratch_tls *tls, uint8_t *p, size_t n)
{
	while (n > 0) {
		size_t done;
		int ok = 1;

		count_record(tls);
		done = seal_record(s, tls, p, n);
		if (done == 0) {
			tls_records_bind(&tls->records);
			ok = SSL_write_ex(tls->ssl, p, MIN(n, (size_t)TLS_RECORD_MAX), &done);
			tls_records_bind(NULL);
		}
		if (ok != 1)
			return -EIO;
		p += done;
		n -= done;
	}
	return 0;
}

/* is_used_up() - to ask OpenSSL once more would cost half of a record's price to hear no. */
static bool is_used_up(const struct hbone_scratch *s, const SSL *ssl)
{
	return s->cipher_in_pos == s->cipher_in_len && SSL_has_pending(ssl) == 0;
}

/* open_record() - Return: bytes of one record; 0: OpenSSL has to read it. */
static size_t open_record(struct hbone_scratch *s, struct scratch_tls *tls, size_t len)
{
	const struct tls_sealed in = {
		.p = s->cipher_in + s->cipher_in_pos,
		.n = s->cipher_in_len - s->cipher_in_pos,
		.room = SCRATCH_PLAIN_MAX - len,
	};
	size_t used = 0;
	size_t n = tls_records_open(&tls->records, tls->ssl, &in, s->plain_in + len, &used);

	s->cipher_in_pos += used;
	return n;
}

int scratch_decrypt(struct hbone_scratch *s, struct scratch_tls *tls, size_t *ret_len,
		    bool *ret_is_end)
{
	SSL *ssl = tls->ssl;
	size_t len = 0, n;

	while (len < SCRATCH_PLAIN_MAX && !is_used_up(s, ssl)) {
		int ok, err;

		n = tls->is_mid ? 0 : open_record(s, tls, len);
		len += n;
		if (n > 0)
			continue;
		tls_records_bind(&tls->records);
		ok = SSL_read_ex(ssl, s->plain_in + len, SCRATCH_PLAIN_MAX - len, &n);
		tls_records_bind(NULL);
		tls->is_mid = ok != 1;
		if (ok == 1) {
			len += n;
			continue;
		}
		*ret_len = len;
		err = SSL_get_error(ssl, 0);
		if (tls->messages > SCRATCH_MESSAGES_MAX)
			return -EDQUOT;
		if (err == SSL_ERROR_WANT_READ)
			return 0;
		if (err != SSL_ERROR_ZERO_RETURN)
			return -EPROTO;
		*ret_is_end = true;
		return 0;
	}
	*ret_len = len;
	return is_used_up(s, ssl) ? 0 : 1;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* fuzz-records - our own records of application data beside OpenSSL's. Each end of a connection is
 * there twice: `fast` by hbone/scratch and the ciphers of libipsec-mb, `plain` by OpenSSL alone,
 * and what is random is the same for both, so that they have the same keys. The input says what is
 * written, cut, changed, read, when there are new keys and when an end says goodbye: both have to
 * write the same bytes, read the same, and refuse the same. */
#define OPENSSL_SUPPRESS_DEPRECATED /* OpenSSL's numbers by chance can be had no other way */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <openssl/rand.h>

#include "hbone/scratch.h"
#include "hbone/tunnel.h"
#include "tests/fuzz/fuzz.h"
#include "tls/gcm.h"

#define CHUNK_MAX 40000
#define WIRE_MAX  (256 * 1024)
#define OPS_MAX   200

enum { CLIENT, SERVER, SIDES };

struct side {
	struct scratch_tls fast;
	SSL *plain;
	BIO *in, *out;          /* of plain */
	uint8_t wire[WIRE_MAX]; /* what the other side has not read yet */
	size_t wire_len;
	bool is_other;  /* fast has sent what plain cannot: they are alike no more */
	bool is_padded; /* plain pads, fast need not */
	bool is_over;   /* has said goodbye */
	bool is_deaf;   /* has heard one */
};

static SSL_CTX *fast_ctx, *plain_ctx;
static struct hbone_scratch *scratch;
static struct side sides[SIDES];
static uint8_t plain_buf[SCRATCH_PLAIN_MAX], plain_wire[WIRE_MAX];

static void check(bool is_so)
{
	if (!is_so)
		abort();
}

/* Chance. */

static uint64_t chance;

static int chance_bytes(unsigned char *p, int n)
{
	for (int i = 0; i < n; i++) {
		chance = chance * 6364136223846793005ULL + 1442695040888963407ULL;
		p[i] = (uint8_t)(chance >> 56);
	}
	return 1;
}

static int chance_status(void)
{
	return 1;
}

static const RAND_METHOD chance_method = {
	.bytes = chance_bytes, .pseudorand = chance_bytes, .status = chance_status};

/* A key that both have from the start. OpenSSL's signatures. */

/* How long the key is that both have, and what the suite is called, in OpenSSL and on the wire. */
static const struct suite {
	size_t key_len;
	const char *name;
	unsigned char id[2];
} suites[] = {{32, "TLS_AES_128_GCM_SHA256", {0x13, 1}}, {48, "TLS_AES_256_GCM_SHA384", {0x13, 2}}};
static const struct suite *suite;

static SSL_SESSION *session_make(SSL *ssl)
{
	static const unsigned char key[48] = {1};
	SSL_SESSION *s = SSL_SESSION_new();
	const SSL_CIPHER *c = SSL_CIPHER_find(ssl, suite->id);

	check(s && c && SSL_SESSION_set_cipher(s, c) == 1 &&
	      SSL_SESSION_set1_master_key(s, key, suite->key_len) == 1 &&
	      SSL_SESSION_set_protocol_version(s, TLS1_3_VERSION) == 1);
	return s;
}

static int on_psk_use(SSL *ssl, const EVP_MD *md, const unsigned char **ret_id, size_t *ret_len,
		      SSL_SESSION **ret)
{
	*ret = session_make(ssl);
	*ret_id = (const unsigned char *)"k";
	*ret_len = 1;
	return 1;
}

static int on_psk_find(SSL *ssl, const unsigned char *id, size_t len, SSL_SESSION **ret)
{
	*ret = session_make(ssl);
	return 1;
}

static SSL_CTX *ctx_make(const char *query)
{
	SSL_CTX *ctx = SSL_CTX_new_ex(NULL, query, TLS_method());

	check(ctx && SSL_CTX_set_min_proto_version(ctx, TLS1_3_VERSION) == 1);
	SSL_CTX_set_psk_use_session_callback(ctx, on_psk_use);
	SSL_CTX_set_psk_find_session_callback(ctx, on_psk_find);
	check(SSL_CTX_set_num_tickets(ctx, 0) == 1);
	return ctx;
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	const char *why;

	/* Without it there is nothing to compare, and all goes well. */
	if (tls_gcm_load(&why) < 0)
		(void)fprintf(stderr, "%s\n", why);
	plain_ctx = ctx_make(NULL);
	fast_ctx = ctx_make(tls_gcm_query());
	check(hbone_scratch_new(&scratch) == 0 && RAND_set_rand_method(&chance_method) == 1);
	return 0;
}

/* The input. */

struct input {
	const uint8_t *p;
	size_t n;
};

static uint8_t take(struct input *in)
{
	if (in->n == 0)
		return 0;
	in->n--;
	return *in->p++;
}

static size_t take_size(struct input *in)
{
	size_t high = take(in);

	return high << 8 | take(in);
}

/* What a side writes. */

/* written() - both have written: the same, or what differs may. The other side is to read it. */
static void written(struct side *s)
{
	size_t fast_len = scratch->cipher_out_len;
	int n = BIO_read(s->out, plain_wire, sizeof(plain_wire));
	size_t plain_len = n > 0 ? (size_t)n : 0;
	const uint8_t *p = s->is_other ? scratch->cipher_out : plain_wire;
	size_t len = s->is_other ? fast_len : plain_len;

	if (!s->is_other && !s->is_padded)
		check(fast_len == plain_len && memcmp(scratch->cipher_out, p, len) == 0);
	check(len <= WIRE_MAX - s->wire_len);
	memcpy(s->wire + s->wire_len, p, len);
	s->wire_len += len;
	scratch->cipher_out_len = 0;
}

static bool write_plain(struct side *s, const uint8_t *p, size_t n)
{
	size_t done;

	for (; n > 0; p += done, n -= done)
		if (SSL_write_ex(s->plain, p, MIN(n, (size_t)TLS_RECORD_MAX), &done) != 1)
			return false;
	return true;
}

/* room() - so much may come in between; what OpenSSL has to say always fits. */
static size_t room(const struct side *s)
{
	return s->wire_len < WIRE_MAX / 2 ? WIRE_MAX / 2 - s->wire_len : 0;
}

static void op_write(struct side *s, struct input *in)
{
	size_t n = take_size(in) % CHUNK_MAX + 1;
	uint8_t with = take(in), *p = scratch->plain_out;
	int r;

	if (room(s) == 0)
		return;
	for (size_t i = 0; i < n; i++)
		p[i] = (uint8_t)(with + i * 7);
	check(s->is_other || write_plain(s, p, n) == !s->is_over);
	r = scratch_encrypt(scratch, &s->fast, p, n);
	check((r == 0) == !s->is_over);
	written(s);
}

static void op_key(struct side *s, struct input *in)
{
	int type = take(in) & 1 ? SSL_KEY_UPDATE_REQUESTED : SSL_KEY_UPDATE_NOT_REQUESTED;
	int r = SSL_key_update(s->fast.ssl, type);

	check(s->is_other || SSL_key_update(s->plain, type) == r);
}

static void op_pad(struct side *s, struct input *in)
{
	size_t block = take(in) % 2 ? 1 : 512;

	if (s->is_other)
		return;
	check(SSL_set_block_padding(s->plain, block) == 1);
	s->is_padded |= block > 1;
}

/* op_nothing() - a record without a byte in it, which OpenSSL does not write. */
static void op_nothing(struct side *s, struct input *in)
{
	size_t n;

	n = tls_records_seal(&s->fast.records, s->fast.ssl, scratch->plain_out, 0,
			     scratch->cipher_out);
	if (n == 0)
		return;
	scratch->cipher_out_len = n;
	s->is_other = true;
	written(s);
}

static void op_goodbye(struct side *s, struct input *in)
{
	int r;

	if (s->is_over)
		return;
	tls_records_bind(&s->fast.records);
	r = SSL_shutdown(s->fast.ssl);
	tls_records_bind(NULL);
	check(s->is_other || SSL_shutdown(s->plain) == r);
	s->is_over |= r >= 0;
	written(s);
}

/* What becomes of it on the way. */

static void op_flip(struct side *s, struct input *in)
{
	size_t at = take_size(in);

	if (s->wire_len > 0)
		s->wire[at % s->wire_len] ^= (uint8_t)(take(in) | 1);
}

static void op_lose(struct side *s, struct input *in)
{
	size_t at = take_size(in), n = take_size(in);

	if (s->wire_len == 0)
		return;
	at %= s->wire_len;
	n = MIN(n, s->wire_len - at);
	s->wire_len -= n;
	memmove(s->wire + at, s->wire + at + n, s->wire_len - at);
}

static void op_put_in(struct side *s, struct input *in)
{
	size_t at = take_size(in) % (s->wire_len + 1), n = take(in);

	n = MIN(MIN(n, in->n), room(s));
	memmove(s->wire + at + n, s->wire + at, s->wire_len - at);
	memcpy(s->wire + at, in->p, n);
	s->wire_len += n;
	in->p += n;
	in->n -= n;
}

static void op_again(struct side *s, struct input *in)
{
	size_t n = take_size(in);

	n = MIN(MIN(n, s->wire_len), room(s));
	memmove(s->wire + n, s->wire, s->wire_len);
	s->wire_len += n;
}

/* What the other side reads. */

/* read_plain() - into plain_buf. Return: as scratch_decrypt(). */
static int read_plain(struct side *s, size_t *ret_len, bool *ret_is_end)
{
	size_t n;
	int err;

	for (*ret_len = 0;; *ret_len += n)
		if (SSL_read_ex(s->plain, plain_buf + *ret_len, sizeof(plain_buf) - *ret_len, &n) !=
		    1)
			break;
	err = SSL_get_error(s->plain, 0);
	if (err == SSL_ERROR_WANT_READ)
		return 0;
	*ret_is_end = err == SSL_ERROR_ZERO_RETURN;
	return *ret_is_end ? 0 : -EPROTO;
}

/* read_fast() - what @s->plain has read to the same end. Return: of scratch_decrypt(). */
static int read_fast(struct side *s, const uint8_t *expected, size_t expected_len, bool *ret_is_end)
{
	size_t all = 0, len;
	int r = 1;

	while (r == 1) {
		r = scratch_decrypt(scratch, &s->fast, &len, ret_is_end);
		check(len <= expected_len - all &&
		      memcmp(scratch->plain_in, expected + all, len) == 0);
		all += len;
	}
	check(all == expected_len);
	scratch_forget_errors();
	return r;
}

/* deliver() - up to @n bytes that @from has written. Return: whether it goes on. */
static bool deliver(struct side *from, struct side *to, size_t n)
{
	bool is_end = false, is_fast_end = false;
	size_t len;
	int r;

	n = MIN(n, from->wire_len);
	if (n == 0)
		return true;
	memcpy(scratch->cipher_in, from->wire, n);
	scratch->cipher_in_len = n;
	scratch->cipher_in_pos = 0;
	check(BIO_write(to->in, from->wire, (int)n) == (int)n);
	from->wire_len -= n;
	memmove(from->wire, from->wire + n, from->wire_len);
	scratch_forget_errors();
	r = read_plain(to, &len, &is_end);
	scratch_forget_errors();
	check(read_fast(to, plain_buf, len, &is_fast_end) == r && is_fast_end == is_end);
	/* as a tunnel does */
	scratch->cipher_in_len = scratch->cipher_in_pos = 0;
	written(to);
	to->is_deaf = is_end;
	return r == 0;
}

/* The whole. */

static void side_make(struct side *s, bool is_server)
{
	memset(s, 0, offsetof(struct side, wire));
	s->wire_len = 0;
	s->is_other = s->is_padded = s->is_over = s->is_deaf = false;
	s->fast.ssl = SSL_new(fast_ctx);
	s->plain = SSL_new(plain_ctx);
	s->in = BIO_new(BIO_s_mem());
	s->out = BIO_new(BIO_s_mem());
	check(s->fast.ssl && s->plain && s->in && s->out);
	check(SSL_set_ciphersuites(s->fast.ssl, suite->name) == 1 &&
	      SSL_set_ciphersuites(s->plain, suite->name) == 1);
	check(scratch_attach(scratch, &s->fast) == 0);
	BIO_set_mem_eof_return(s->in, -1);
	SSL_set_bio(s->plain, s->in, s->out);
	if (is_server) {
		SSL_set_accept_state(s->fast.ssl);
		SSL_set_accept_state(s->plain);
	} else {
		SSL_set_connect_state(s->fast.ssl);
		SSL_set_connect_state(s->plain);
	}
}

static void side_free(struct side *s)
{
	SSL_free(s->fast.ssl);
	SSL_free(s->plain);
	check(!s->fast.records._sealing && !s->fast.records._opening);
}

/* shake() - one step of @to's handshake, with all that @from has written. */
static void shake(struct side *from, struct side *to)
{
	const uint64_t now = chance;

	memcpy(scratch->cipher_in, from->wire, from->wire_len);
	scratch->cipher_in_len = from->wire_len;
	scratch->cipher_in_pos = 0;
	(void)BIO_write(to->in, from->wire, (int)from->wire_len);
	from->wire_len = 0;
	(void)SSL_do_handshake(to->plain);
	chance = now;
	(void)scratch_handshake(&to->fast);
	check(scratch->cipher_in_pos == scratch->cipher_in_len);
	scratch_forget_errors();
	written(to);
}

static void begin(uint8_t how)
{
	suite = &suites[how % ARRAY_SIZE(suites)];
	chance = 1;
	scratch->cipher_out_len = 0;
	side_make(&sides[CLIENT], false);
	side_make(&sides[SERVER], true);
	for (int i = 0; i < 2; i++) {
		shake(&sides[SERVER], &sides[CLIENT]);
		shake(&sides[CLIENT], &sides[SERVER]);
	}
	for (int i = 0; i < SIDES; i++)
		check(SSL_is_init_finished(sides[i].fast.ssl) &&
		      SSL_is_init_finished(sides[i].plain));
}

static void (*const ops[])(struct side *s, struct input *in) = {
	op_write, op_write, op_write,  op_write, op_key,     op_pad,
	op_flip,  op_lose,  op_put_in, op_again, op_nothing, op_goodbye};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct input in = {data, size};
	bool goes_on = true;

	begin(take(&in));
	for (int i = 0; i < OPS_MAX && in.n > 0 && goes_on; i++) {
		uint8_t what = take(&in);
		struct side *s = &sides[what & 1], *peer = &sides[!(what & 1)];

		what >>= 1;
		/* Half of all that happens is that something is read. */
		if (what % 2 == 0)
			ops[what / 2 % ARRAY_SIZE(ops)](s, &in);
		else if (!peer->is_deaf)
			goes_on = deliver(s, peer, what % 4 == 1 ? WIRE_MAX : take_size(&in));
	}
	for (int i = 0; i < SIDES; i++)
		side_free(&sides[i]);
	return 0;
}

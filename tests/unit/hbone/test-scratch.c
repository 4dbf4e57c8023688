/* SPDX-License-Identifier: Apache-2.0 */
/* scratch - records between ends that make them beside OpenSSL and ends that leave all to it:
 * random lengths, cuts, new keys, padding, the end, and streams that somebody has changed. Figure
 * wanted: bytes that differ = 0. Where libipsec-mb cannot be used all ends are OpenSSL's. */
#include "hbone/scratch.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/buf.h"
#include "hbone/tunnel.h"
#include "tests/unit/hbone/certs.h"
#include "tls/gcm.h"
#include "tls/identity.h"

#define CLIENT    "spiffe://cluster.local/ns/a/sa/client"
#define SERVER    "spiffe://cluster.local/ns/b/sa/server"
#define WIRE_MAX  (4 * 1024 * 1024)
#define WRITE_MAX 70000
#define STEPS     3000

DEFINE_CLEANUP(SSL *, SSL_free);

static struct {
	struct certs_root *root;
	const struct tls_identity *clients[2],
		*servers[2]; /* [1]: with libipsec-mb, if it can be */
	bool is_loaded;
} world;

/* Calls into OpenSSL's record layer since the last look. */
static unsigned int writes, reads;

int __real_SSL_write_ex(SSL *ssl, const void *p, size_t n, size_t *ret);
int __wrap_SSL_write_ex(SSL *ssl, const void *p, size_t n, size_t *ret);
int __real_SSL_read_ex(SSL *ssl, void *p, size_t n, size_t *ret);
int __wrap_SSL_read_ex(SSL *ssl, void *p, size_t n, size_t *ret);

int __wrap_SSL_write_ex(SSL *ssl, const void *p, size_t n, size_t *ret)
{
	writes++;
	return __real_SSL_write_ex(ssl, p, n, ret);
}

int __wrap_SSL_read_ex(SSL *ssl, void *p, size_t n, size_t *ret)
{
	reads++;
	return __real_SSL_read_ex(ssl, p, n, ret);
}

static uint64_t rand_state = 0x2545f4914f6cdd1dULL;

static uint32_t rand32(void)
{
	rand_state ^= rand_state << 13;
	rand_state ^= rand_state >> 7;
	rand_state ^= rand_state << 17;
	return (uint32_t)(rand_state >> 32);
}

struct end {
	struct hbone_scratch *s;
	struct scratch_tls tls;
	struct buf wire; /* sent, not yet delivered */
	uint8_t next_out, next_in;
	size_t sent, received;
	bool is_end;
};

struct pair {
	struct end client, server;
};

/* Bytes that tell where in the stream they are, as far as eight bits can. */
static uint8_t step(uint8_t *b)
{
	*b = (uint8_t)(*b * 5 + 1);
	return *b;
}

static void put_on_wire(struct end *e)
{
	assert_int_equal(buf_append(&e->wire, e->s->cipher_out, e->s->cipher_out_len), 0);
	e->s->cipher_out_len = 0;
}

/* give() - up to @n bytes of @from's wire are what @to has read from its socket. */
static size_t give(struct end *from, struct end *to, size_t n)
{
	n = MIN(MIN(n, buf_len(&from->wire)), (size_t)SCRATCH_READ_MAX);
	if (n > 0)
		memcpy(to->s->cipher_in, buf_head(&from->wire), n);
	to->s->cipher_in_pos = 0;
	to->s->cipher_in_len = n;
	return n;
}

/* send_() - @n bytes, at most WRITE_MAX; the buffer is as before. */
static void send_(struct end *e, size_t n)
{
	uint8_t *p = e->s->plain_out, after = (uint8_t)rand32(), b = e->next_out;

	p[n] = after;
	for (size_t i = 0; i < n; i++)
		p[i] = step(&e->next_out);
	assert_int_equal(scratch_encrypt(e->s, &e->tls, p, n), 0);
	for (size_t i = 0; i < n; i++)
		assert_int_equal(p[i], step(&b));
	assert_int_equal(p[n], after);
	e->sent += n;
	put_on_wire(e);
}

/* deliver() - Return: of scratch_decrypt(). */
static int deliver(struct end *from, struct end *to, size_t n)
{
	int r = 1;

	n = give(from, to, n);
	buf_consume(&from->wire, n);
	while (r == 1) {
		size_t len = 0;

		r = scratch_decrypt(to->s, &to->tls, &len, &to->is_end);
		for (size_t i = 0; i < len; i++)
			assert_int_equal(to->s->plain_in[i], step(&to->next_in));
		to->received += len;
	}
	put_on_wire(to);
	return r;
}

static void shake_step(struct end *from, struct end *to)
{
	size_t n = give(from, to, SCRATCH_READ_MAX);

	(void)scratch_handshake(&to->tls);
	buf_consume(&from->wire, to->s->cipher_in_pos);
	assert_true(to->s->cipher_in_pos <= n);
	put_on_wire(to);
}

static void end_make(struct end *e, SSL_CTX *ctx)
{
	e->wire.limit = WIRE_MAX;
	assert_int_equal(hbone_scratch_new(&e->s), 0);
	e->tls.ssl = SSL_new(ctx);
	assert_non_null(e->tls.ssl);
	assert_int_equal(scratch_attach(e->s, &e->tls), 0);
}

static void end_free(struct end *e)
{
	SSL_free(e->tls.ssl);
	assert_null(e->tls.records._sealing);
	assert_null(e->tls.records._opening);
	(void)hbone_scratch_free(e->s);
	buf_reset(&e->wire);
}

static void pair_begin(struct pair *p, bool is_client_fast, bool is_server_fast)
{
	const char *expected = SERVER;

	memset(p, 0, sizeof(*p));
	end_make(&p->client, world.clients[is_client_fast]->client_ctx);
	end_make(&p->server, world.servers[is_server_fast]->server_ctx);
	assert_int_equal(tls_expect_identities(p->client.tls.ssl, &expected, 1), 0);
	SSL_set_connect_state(p->client.tls.ssl);
	SSL_set_accept_state(p->server.tls.ssl);
}

static void pair_shake(struct pair *p)
{
	for (int i = 0; i < 10 && !(SSL_is_init_finished(p->client.tls.ssl) &&
				    SSL_is_init_finished(p->server.tls.ssl));
	     i++) {
		shake_step(&p->server, &p->client);
		shake_step(&p->client, &p->server);
	}
	assert_true(SSL_is_init_finished(p->client.tls.ssl));
	assert_true(SSL_is_init_finished(p->server.tls.ssl));
}

static void pair_make(struct pair *p, bool is_client_fast, bool is_server_fast)
{
	pair_begin(p, is_client_fast, is_server_fast);
	pair_shake(p);
}

static void pair_free(struct pair *p)
{
	end_free(&p->client);
	end_free(&p->server);
}

static size_t some_length(void)
{
	static const uint32_t lengths[] = {1,    2,     15,    16,    17,    255,
					   4096, 16383, 16384, 16385, 32768, WRITE_MAX};

	return rand32() % 2 ? lengths[rand32() % ARRAY_SIZE(lengths)] : 1 + rand32() % 5000;
}

/* act() - one thing that an end may do. */
static void act(struct end *me, struct end *peer, bool has_new_keys)
{
	switch (rand32() % 40) {
	case 0:
		if (has_new_keys)
			(void)SSL_key_update(me->tls.ssl, rand32() % 2
								  ? SSL_KEY_UPDATE_REQUESTED
								  : SSL_KEY_UPDATE_NOT_REQUESTED);
		break;
	case 1:
		(void)SSL_set_block_padding(me->tls.ssl, rand32() % 2 ? 512 : 1);
		break;
	case 2 ... 20:
		if (buf_len(&me->wire) < WIRE_MAX / 4)
			send_(me, some_length());
		break;
	default:
		assert_int_equal(deliver(peer, me, rand32() % 3 ? 1 + rand32() % 40000 : WIRE_MAX),
				 0);
		break;
	}
}

static void drain(struct pair *p)
{
	while (buf_len(&p->client.wire) > 0 || buf_len(&p->server.wire) > 0) {
		assert_int_equal(deliver(&p->client, &p->server, WIRE_MAX), 0);
		assert_int_equal(deliver(&p->server, &p->client, WIRE_MAX), 0);
	}
	assert_int_equal(p->client.sent, p->server.received);
	assert_int_equal(p->server.sent, p->client.received);
}

static void every_byte_arrives_whatever_happens(void **state)
{
	for (int i = 0; i < 8; i++) {
		struct pair p;

		pair_make(&p, i & 1, i & 2);
		for (int k = 0; k < STEPS; k++)
			act(k % 2 ? &p.client : &p.server, k % 2 ? &p.server : &p.client, i & 4);
		drain(&p);
		assert_true(p.client.sent > 1000000 && p.server.sent > 1000000);
		/* and the end is heard, after the last byte */
		send_(&p.client, 100);
		assert_true(SSL_shutdown(p.client.tls.ssl) >= 0);
		assert_int_equal(
			scratch_encrypt(p.client.s, &p.client.tls, p.client.s->plain_out, 1), -EIO);
		scratch_forget_errors();
		put_on_wire(&p.client);
		assert_false(p.server.is_end);
		assert_int_equal(deliver(&p.client, &p.server, WIRE_MAX), 0);
		assert_true(p.server.is_end);
		assert_int_equal(p.client.sent, p.server.received);
		pair_free(&p);
	}
}

static void openssl_has_the_first_record_of_a_key_and_no_more(void **state)
{
	struct pair p;

	if (!world.is_loaded)
		skip();
	pair_make(&p, true, true);
	for (int i = 0; i < 3; i++) {
		writes = reads = 0;
		for (int k = 0; k < 100; k++) {
			send_(&p.client, 40000);
			assert_int_equal(deliver(&p.client, &p.server, WIRE_MAX), 0);
		}
		/* not each of 300 */
		assert_int_equal(writes, 1);
		assert_int_equal(reads, 1);
		/* what the other end asks for comes before its next byte */
		assert_int_equal(SSL_key_update(p.server.tls.ssl, SSL_KEY_UPDATE_REQUESTED), 1);
		send_(&p.server, 40000);
		assert_int_equal(deliver(&p.server, &p.client, WIRE_MAX), 0);
		assert_int_equal(SSL_get_key_update_type(p.client.tls.ssl),
				 SSL_KEY_UPDATE_NOT_REQUESTED);
	}
	drain(&p);
	pair_free(&p);
}

/* OpenSSL's signature */
static void on_message(int is_write, int version, int type, const void *p, size_t n, SSL *ssl,
		       void *arg)
{
	if (!is_write && type == SSL3_RT_HANDSHAKE && n > 0 &&
	    *(const uint8_t *)p == SSL3_MT_KEY_UPDATE)
		++*(unsigned int *)arg;
}

static void a_key_is_not_used_for_more_records_than_it_is_good_for(void **state)
{
	for (int i = 0; i < 4; i++) {
		unsigned int new_keys = 0;
		struct pair p;

		pair_make(&p, i & 1, i & 2);
		SSL_set_msg_callback(p.server.tls.ssl, on_message);
		SSL_set_msg_callback_arg(p.server.tls.ssl, &new_keys);
		p.client.tls.sealed = SCRATCH_KEY_RECORDS - 6;
		for (unsigned int k = 0; k < 4; k++) {
			send_(&p.client, 2 * TLS_RECORD_MAX);
			assert_int_equal(deliver(&p.client, &p.server, WIRE_MAX), 0);
			assert_int_equal(new_keys, k / 3);
		}
		assert_int_equal(p.client.tls.sealed, 2);
		drain(&p);
		pair_free(&p);
	}
}

/* change() - one, in two records of 1000 bytes, mostly in the second. */
static void change(uint8_t *p, int how)
{
	const size_t first = 1000 + TLS_RECORD_OVERHEAD, second = 1000 + TLS_RECORD_OVERHEAD;
	uint8_t copy[1000 + TLS_RECORD_OVERHEAD];

	switch (how) {
	case 0: /* the other way round */
		memcpy(copy, p, first);
		memmove(p, p + first, second);
		memcpy(p + second, copy, first);
		break;
	case 1: /* the second is the first again */
		memcpy(p + first, p, first);
		break;
	case 2: /* of another type */
		p[first] = SSL3_RT_HANDSHAKE;
		break;
	case 3: /* shorter, longer */
	case 4:
		p[first + 4] ^= how == 3 ? 1 : 0x10;
		break;
	default:
		p[first + TLS_RECORD_HEAD + rand32() % (second - TLS_RECORD_HEAD)] ^=
			(uint8_t)(1U << rand32() % 8);
		break;
	}
}

static void a_changed_stream_ends_there_and_then(void **state)
{
	for (int how = 0; how < 60; how++) {
		struct pair p;
		size_t len = 0, good = how == 0 ? 0 : 1000;
		int r = 1;

		pair_make(&p, how % 2, how / 2 % 2);
		send_(&p.client, 10);
		assert_int_equal(deliver(&p.client, &p.server, WIRE_MAX), 0);
		send_(&p.client, 1000);
		send_(&p.client, 1000);
		send_(&p.client, 1000);
		change((uint8_t *)(uintptr_t)buf_head(&p.client.wire), how);
		(void)give(&p.client, &p.server, WIRE_MAX);
		memset(p.server.s->plain_in, 0, SCRATCH_PLAIN_MAX);
		while (r == 1)
			r = scratch_decrypt(p.server.s, &p.server.tls, &len, &p.server.is_end);
		assert_int_equal(r, -EPROTO);
		assert_int_equal(len, good);
		assert_false(p.server.is_end);
		/* nothing of it is there; a good one has its type behind it */
		assert_true(p.server.s->plain_in[len] == 0 ||
			    p.server.s->plain_in[len] == SSL3_RT_APPLICATION_DATA);
		for (size_t i = len + 1; i < SCRATCH_PLAIN_MAX; i++)
			assert_int_equal(p.server.s->plain_in[i], 0);
		/* the peer is told */
		assert_true(p.server.s->cipher_out_len > 0);
		scratch_forget_errors();
		pair_free(&p);
	}
}

static void a_head_put_in_between_ends_the_stream(void **state)
{
	static const uint8_t head[] = {SSL3_RT_APPLICATION_DATA, 3, 3, 0x40, 0x11};

	for (int i = 0; i < 4; i++) {
		struct pair p;
		int r = 0;

		pair_make(&p, i & 1, i & 2);
		send_(&p.client, 10);
		assert_int_equal(deliver(&p.client, &p.server, WIRE_MAX), 0);
		/* in a read of its own: OpenSSL takes it, and has a body to come */
		assert_int_equal(buf_append(&p.client.wire, head, sizeof(head)), 0);
		assert_int_equal(deliver(&p.client, &p.server, sizeof(head)), 0);
		for (int k = 0; k < 40 && r == 0; k++) {
			send_(&p.client, 1000);
			r = deliver(&p.client, &p.server, WIRE_MAX);
			assert_int_equal(p.server.received, 10);
		}
		assert_int_equal(r, -EPROTO);
		scratch_forget_errors();
		pair_free(&p);
	}
}

static void a_record_may_be_cut_anywhere_in_its_head(void **state)
{
	for (int i = 0; i < 4; i++) {
		struct pair p;

		pair_make(&p, i & 1, i & 2);
		for (size_t cut = 0; cut <= TLS_RECORD_HEAD; cut++) {
			send_(&p.client, 1000);
			send_(&p.client, 1000);
			assert_int_equal(deliver(&p.client, &p.server, cut), 0);
			assert_int_equal(deliver(&p.client, &p.server, 1000 + TLS_RECORD_OVERHEAD),
					 0);
			assert_int_equal(deliver(&p.client, &p.server, WIRE_MAX), 0);
			assert_int_equal(p.client.sent, p.server.received);
		}
		pair_free(&p);
	}
}

/* OpenSSL allows 32 in a row. */
static void records_of_nothing_are_not_added_up(void **state)
{
	if (!world.is_loaded)
		skip();
	for (int i = 0; i < 2; i++) {
		struct pair p;
		uint8_t nothing[1] = {0};

		pair_make(&p, true, i);
		for (int k = 0; k < 40; k++) {
			struct end *e = &p.client;

			send_(e, 50);
			assert_int_equal(deliver(e, &p.server, WIRE_MAX), 0);
			e->s->cipher_out_len = tls_records_seal(&e->tls.records, e->tls.ssl,
								nothing, 0, e->s->cipher_out);
			assert_int_equal(e->s->cipher_out_len, TLS_RECORD_OVERHEAD);
			put_on_wire(e);
			assert_int_equal(deliver(e, &p.server, WIRE_MAX), 0);
		}
		drain(&p);
		pair_free(&p);
	}
}

/* on_psk() - a ticket of another server's, which takes early data. OpenSSL's signature. */
static int on_psk(SSL *ssl, const EVP_MD *md, const unsigned char **ret_id, size_t *ret_len,
		  SSL_SESSION **ret)
{
	static const unsigned char key[32] = {1}, suite[] = {0x13, 0x01};

	*ret = SSL_SESSION_new();
	assert_int_equal(SSL_SESSION_set1_master_key(*ret, key, sizeof(key)), 1);
	assert_int_equal(SSL_SESSION_set_cipher(*ret, SSL_CIPHER_find(ssl, suite)), 1);
	assert_int_equal(SSL_SESSION_set_protocol_version(*ret, TLS1_3_VERSION), 1);
	assert_int_equal(SSL_SESSION_set_max_early_data(*ret, TLS_RECORD_MAX), 1);
	assert_int_equal(SSL_SESSION_set1_alpn_selected(*ret, (const unsigned char *)"h2", 2), 1);
	*ret_id = (const unsigned char *)"other";
	*ret_len = 5;
	return 1;
}

static void early_data_is_passed_over(void **state)
{
	for (int i = 0; i < 4; i++) {
		struct pair p;
		size_t n;

		pair_begin(&p, i & 1, i & 2);
		SSL_set_psk_use_session_callback(p.client.tls.ssl, on_psk);
		for (int k = 0; k < 3; k++)
			assert_int_equal(SSL_write_early_data(p.client.tls.ssl, "early", 5, &n), 1);
		put_on_wire(&p.client);
		pair_shake(&p);
		assert_int_equal(SSL_get_early_data_status(p.client.tls.ssl),
				 SSL_EARLY_DATA_REJECTED);
		for (int k = 0; k < 3; k++) {
			send_(&p.client, 1000);
			send_(&p.server, 1000);
			drain(&p);
		}
		pair_free(&p);
	}
}

/* The client of OpenSSL's refuses a longer record. */
static void records_are_no_longer_than_the_client_wants(void **state)
{
	for (int i = 0; i < 4; i++) {
		struct pair p;

		pair_begin(&p, i & 1, i & 2);
		assert_int_equal(SSL_set_tlsext_max_fragment_length(p.client.tls.ssl,
								    TLSEXT_max_fragment_length_512),
				 1);
		pair_shake(&p);
		for (int k = 0; k < 3; k++) {
			send_(&p.server, 4000);
			send_(&p.client, 4000);
			drain(&p);
		}
		pair_free(&p);
	}
}

static int world_make(void **state)
{
	const char *why;

	world.root = certs_root_new();
	world.clients[0] = certs_identity(world.root, CLIENT);
	world.servers[0] = certs_identity(world.root, SERVER);
	world.is_loaded = tls_gcm_load(&why) == 0;
	world.clients[1] = certs_identity(world.root, CLIENT);
	world.servers[1] = certs_identity(world.root, SERVER);
	return 0;
}

static int world_end(void **state)
{
	for (int i = 0; i < 2; i++) {
		(void)tls_identity_unref(world.clients[i]);
		(void)tls_identity_unref(world.servers[i]);
	}
	certs_root_free(world.root);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_byte_arrives_whatever_happens),
		cmocka_unit_test(openssl_has_the_first_record_of_a_key_and_no_more),
		cmocka_unit_test(a_key_is_not_used_for_more_records_than_it_is_good_for),
		cmocka_unit_test(a_changed_stream_ends_there_and_then),
		cmocka_unit_test(a_head_put_in_between_ends_the_stream),
		cmocka_unit_test(a_record_may_be_cut_anywhere_in_its_head),
		cmocka_unit_test(records_of_nothing_are_not_added_up),
		cmocka_unit_test(early_data_is_passed_over),
		cmocka_unit_test(records_are_no_longer_than_the_client_wants),
	};

	return cmocka_run_group_tests(tests, world_make, world_end);
}

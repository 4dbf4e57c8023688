/* SPDX-License-Identifier: Apache-2.0 */
/* gcm_cipher - the vectors of the GCM specification, random messages compared with OpenSSL's own
 * cipher, and what must fail. Figure wanted: differences from OpenSSL = 0. Skipped where the
 * processor lacks the instructions. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>
#include <openssl/evp.h>

#include "base/cleanup.h"
#include "base/macros.h"
#include "tests/unit/tls/gcm.h"
#include "tls/gcm.h"
#include "tls/records.h"

#define IV_LEN   12
#define TAG_LEN  16
#define AAD_MAX  64
#define TEXT_MAX 16401
#define ROUNDS   12000

DEFINE_CLEANUP(EVP_CIPHER *, EVP_CIPHER_free);
DEFINE_CLEANUP(EVP_CIPHER_CTX *, EVP_CIPHER_CTX_free);

static const char *why;
static int load;

static void need(void)
{
	if (load == 0)
		return;
	print_message("%s\n", why);
	skip();
}

static EVP_CIPHER *cipher_of(size_t key_len, const char *provider)
{
	char query[64];
	EVP_CIPHER *c;

	(void)snprintf(query, sizeof(query), "provider=%s", provider);
	c = EVP_CIPHER_fetch(NULL, key_len == 16 ? "AES-128-GCM" : "AES-256-GCM", query);
	assert_non_null(c);
	return c;
}

struct message {
	uint8_t key[32], iv[IV_LEN], aad[AAD_MAX], tag[TAG_LEN];
	size_t key_len, aad_len, len;
	unsigned int pieces; /* of text and AAD at most; 0: as they are */
	uint8_t *text;       /* len bytes */
};

/* feed() - the text, or what goes beside it where @out is NULL, in pieces of random lengths. */
static bool feed(EVP_CIPHER_CTX *ctx, const struct message *m, uint8_t *out, const uint8_t *in)
{
	size_t len = out ? m->len : m->aad_len;
	unsigned int pieces = m->pieces;

	for (size_t done = 0; done < len;) {
		size_t n = pieces > 1 ? rand32() % (len - done + 1) : len - done;
		int r;

		pieces -= pieces > 0;
		if (EVP_CipherUpdate(ctx, out ? out + done : NULL, &r, in + done, (int)n) != 1 ||
		    (size_t)r != n)
			return false;
		done += n;
	}
	return true;
}

/* seal() - Return: the tag is in m->tag. */
static bool seal(EVP_CIPHER *cipher, struct message *m, uint8_t *out)
{
	_cleanup_(EVP_CIPHER_CTX_freep) EVP_CIPHER_CTX *ctx = EVP_CIPHER_CTX_new();
	uint8_t none[1];
	int n;

	return EVP_EncryptInit_ex(ctx, cipher, NULL, m->key, m->iv) == 1 &&
	       feed(ctx, m, NULL, m->aad) && feed(ctx, m, out, m->text) &&
	       EVP_EncryptFinal_ex(ctx, none, &n) == 1 && n == 0 &&
	       EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_AEAD_GET_TAG, TAG_LEN, m->tag) == 1;
}

/* open_() - by the calls of OpenSSL's record layer: the tag first. */
static bool open_(EVP_CIPHER *cipher, const struct message *m, uint8_t *out)
{
	_cleanup_(EVP_CIPHER_CTX_freep) EVP_CIPHER_CTX *ctx = EVP_CIPHER_CTX_new();
	uint8_t none[1];
	int n;

	return EVP_DecryptInit_ex(ctx, cipher, NULL, m->key, NULL) == 1 &&
	       EVP_CipherInit_ex(ctx, NULL, NULL, NULL, m->iv, 0) == 1 &&
	       EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_AEAD_SET_TAG, TAG_LEN,
				   (void *)(uintptr_t)m->tag) == 1 &&
	       feed(ctx, m, NULL, m->aad) && feed(ctx, m, out, m->text) &&
	       EVP_DecryptFinal_ex(ctx, none, &n) == 1 && n == 0;
}

static size_t unhex(const char *text, uint8_t *ret)
{
	size_t n = strlen(text) / 2;

	for (size_t i = 0; i < n; i++) {
		const char pair[3] = {text[2 * i], text[2 * i + 1]};

		ret[i] = (uint8_t)strtoul(pair, NULL, 16);
	}
	return n;
}

#define P60                                                                                        \
	"d9313225f88406e5a55909c5aff5269a86a7a9531534f7da2e4c303d8a318a721c3c0c95956809532fcf0e24" \
	"49a6b525b16aedf5aa0de657ba637b39"
#define AAD20 "feedfacedeadbeeffeedfacedeadbeefabaddad2"
#define ZERO  "000000000000000000000000"
#define CAFE  "cafebabefacedbaddecaf888"
#define K128  "feffe9928665731c6d6a8f9467308308"

/* McGrew and Viega, "The Galois/Counter Mode of Operation", test cases 1 to 4 and 13 to 16: those
 * with an IV of 12 bytes. */
static const struct vector {
	const char *key, *iv, *aad, *text, *sealed, *tag;
} vectors[] = {
	{"00000000000000000000000000000000", ZERO, "", "", "", "58e2fccefa7e3061367f1d57a4e7455a"},
	{"00000000000000000000000000000000", ZERO, "", "00000000000000000000000000000000",
	 "0388dace60b6a392f328c2b971b2fe78", "ab6e47d42cec13bdf53a67b21257bddf"},
	{K128, CAFE, "", P60 "1aafd255",
	 "42831ec2217774244b7221b784d0d49ce3aa212f2c02a4e035c17e2329aca12e21d514b25466931c7d8f6a5aa"
	 "c84aa051ba30b396a0aac973d58e091473f5985",
	 "4d5c2af327cd64a62cf35abd2ba6fab4"},
	{K128, CAFE, AAD20, P60,
	 "42831ec2217774244b7221b784d0d49ce3aa212f2c02a4e035c17e2329aca12e21d514b25466931c7d8f6a5aa"
	 "c84aa051ba30b396a0aac973d58e091",
	 "5bc94fbc3221a5db94fae95ae7121a47"},
	{"0000000000000000000000000000000000000000000000000000000000000000", ZERO, "", "", "",
	 "530f8afbc74536b9a963b4f1c4cb738b"},
	{"0000000000000000000000000000000000000000000000000000000000000000", ZERO, "",
	 "00000000000000000000000000000000", "cea7403d4d606b6e074ec5d3baf39d18",
	 "d0d1c8a799996bf0265b98b5d48ab919"},
	{K128 K128, CAFE, "", P60 "1aafd255",
	 "522dc1f099567d07f47f37a32a84427d643a8cdcbfe5c0c97598a2bd2555d1aa8cb08e48590dbb3da7b08b105"
	 "6828838c5f61e6393ba7a0abcc9f662898015ad",
	 "b094dac5d93471bdec1a502270e3cc6c"},
	{K128 K128, CAFE, AAD20, P60,
	 "522dc1f099567d07f47f37a32a84427d643a8cdcbfe5c0c97598a2bd2555d1aa8cb08e48590dbb3da7b08b105"
	 "6828838c5f61e6393ba7a0abcc9f662",
	 "76fc6ece0f4e1768cddf8853bb2d551b"},
};

static void seals_and_opens_the_known_vectors(void **state)
{
	need();
	for (size_t i = 0; i < ARRAY_SIZE(vectors); i++) {
		const struct vector *v = &vectors[i];
		uint8_t text[64], sealed[64], tag[TAG_LEN], out[64];
		struct message m = {.text = text};
		_cleanup_(EVP_CIPHER_freep) EVP_CIPHER *c = NULL;

		m.key_len = unhex(v->key, m.key);
		(void)unhex(v->iv, m.iv);
		m.aad_len = unhex(v->aad, m.aad);
		m.len = unhex(v->text, text);
		assert_int_equal(unhex(v->sealed, sealed), m.len);
		assert_int_equal(unhex(v->tag, tag), TAG_LEN);
		c = cipher_of(m.key_len, "culvert-gcm");
		assert_true(seal(c, &m, out));
		assert_memory_equal(out, sealed, m.len);
		assert_memory_equal(m.tag, tag, TAG_LEN);
		m.text = sealed;
		assert_true(open_(c, &m, out));
		assert_memory_equal(out, text, m.len);
	}
}

/* message_make() - random; of lengths mostly those where something begins or ends. */
static void message_make(struct message *m, unsigned int round)
{
	static const uint16_t lengths[] = {0,    1,    15,   16,   17,    31,    32,    33,   47,
					   48,   63,   64,   65,   127,   128,   129,   255,  256,
					   257,  511,  512,  767,  768,   769,   1023,  1024, 4095,
					   4096, 4097, 8192, 9216, 16383, 16384, 16385, 16401};

	m->key_len = rand32() % 2 ? 16 : 32;
	rand_fill(m->key, sizeof(m->key));
	rand_fill(m->iv, sizeof(m->iv));
	m->aad_len = rand32() % 2 ? 5 : rand32() % (AAD_MAX + 1);
	rand_fill(m->aad, sizeof(m->aad));
	m->len = round % 3 ? lengths[rand32() % ARRAY_SIZE(lengths)] : rand32() % 2000;
	m->pieces = round % 2 ? 1 + rand32() % 6 : 0;
}

static void differs_in_nothing_from_openssl(void **state)
{
	static uint8_t text[TEXT_MAX], theirs[TEXT_MAX], ours[TEXT_MAX + 64];
	EVP_CIPHER *ciphers[2][2]; /* [256 bits?][ours?] */

	need();
	for (int i = 0; i < 4; i++)
		ciphers[i / 2][i % 2] =
			cipher_of(i / 2 ? 32 : 16, i % 2 ? "culvert-gcm" : "default");
	rand_fill(text, sizeof(text));
	for (unsigned int round = 0; round < ROUNDS; round++) {
		struct message a = {.text = text}, b;
		EVP_CIPHER **c;
		uint8_t *from = ours + rand32() % 64; /* aligned or not */

		message_make(&a, round);
		c = ciphers[a.key_len == 32];
		b = a;
		assert_true(seal(c[0], &a, theirs));
		if (rand32() % 2) { /* in place */
			memcpy(from, text, b.len);
			b.text = from;
		}
		assert_true(seal(c[1], &b, from));
		assert_memory_equal(from, theirs, a.len);
		assert_memory_equal(a.tag, b.tag, TAG_LEN);
		b.text = rand32() % 2 ? from : theirs;
		assert_true(open_(c[1], &b, from));
		assert_memory_equal(from, text, a.len);
		text[rand32() % sizeof(text)] ^= (uint8_t)rand32();
	}
	for (int i = 0; i < 4; i++)
		EVP_CIPHER_free(ciphers[i / 2][i % 2]);
}

static void a_changed_bit_anywhere_is_noticed(void **state)
{
	static const size_t lengths[] = {1, 16, 100, 1000};

	need();
	for (int i = 0; i < 2000; i++) {
		uint8_t text[1000], sealed[1000], out[1000];
		struct message m = {.text = text, .key_len = i % 2 ? 16 : 32, .aad_len = 5};
		_cleanup_(EVP_CIPHER_freep) EVP_CIPHER *c = cipher_of(m.key_len, "culvert-gcm");
		uint8_t *where[] = {m.tag, sealed, m.aad, m.iv, m.key};
		size_t len[] = {TAG_LEN, 0, m.aad_len, IV_LEN, m.key_len};
		size_t what = (size_t)i % ARRAY_SIZE(where), bit;

		m.len = len[1] = lengths[rand32() % ARRAY_SIZE(lengths)];
		m.pieces = rand32() % 4;
		rand_fill(m.key, sizeof(m.key));
		rand_fill(text, m.len);
		assert_true(seal(c, &m, sealed));
		m.text = sealed;
		assert_true(open_(c, &m, out));
		bit = rand32() % (len[what] * 8);
		where[what][bit / 8] ^= (uint8_t)(1U << bit % 8);
		assert_false(open_(c, &m, out));
	}
}

static void a_shorter_or_longer_message_is_noticed(void **state)
{
	uint8_t text[64], out[64];
	struct message m = {.text = text, .key_len = 16, .aad_len = 5, .len = 48};
	_cleanup_(EVP_CIPHER_freep) EVP_CIPHER *c = NULL;

	need();
	c = cipher_of(16, "culvert-gcm");
	rand_fill(text, sizeof(text));
	assert_true(seal(c, &m, text));
	for (m.len = 0; m.len <= 64; m.len++)
		assert_int_equal(open_(c, &m, out), m.len == 48);
	m.len = 48;
	for (m.aad_len = 0; m.aad_len <= 16; m.aad_len++)
		assert_int_equal(open_(c, &m, out), m.aad_len == 5);
}

static void refuses_what_would_be_no_gcm(void **state)
{
	_cleanup_(EVP_CIPHER_CTX_freep) EVP_CIPHER_CTX *ctx = EVP_CIPHER_CTX_new();
	_cleanup_(EVP_CIPHER_freep) EVP_CIPHER *c = NULL;
	uint8_t key[32] = {1}, iv[16] = {2}, p[AAD_MAX + 1] = {3}, tag[TAG_LEN];
	int n;

	need();
	c = cipher_of(16, "culvert-gcm");
	/* no key; no IV */
	assert_int_equal(EVP_EncryptInit_ex(ctx, c, NULL, NULL, iv), 1);
	assert_int_equal(EVP_EncryptUpdate(ctx, p, &n, p, 16), 0);
	assert_int_equal(EVP_EncryptFinal_ex(ctx, p, &n), 0);
	assert_int_equal(EVP_EncryptInit_ex(ctx, NULL, NULL, key, NULL), 1);
	assert_int_equal(EVP_EncryptUpdate(ctx, NULL, &n, p, 5), 0);
	assert_int_equal(EVP_EncryptUpdate(ctx, p, &n, p, 16), 0);
	assert_int_equal(EVP_EncryptFinal_ex(ctx, p, &n), 0);
	/* the tag before the end; what goes beside after the text has begun; too much of it */
	assert_int_equal(EVP_EncryptInit_ex(ctx, NULL, NULL, NULL, iv), 1);
	assert_int_equal(EVP_EncryptUpdate(ctx, NULL, &n, p, AAD_MAX + 1), 0);
	assert_int_equal(EVP_EncryptUpdate(ctx, NULL, &n, p, AAD_MAX), 1);
	assert_int_equal(EVP_EncryptUpdate(ctx, NULL, &n, p, 1), 0);
	assert_int_equal(EVP_EncryptUpdate(ctx, p, &n, p, 0), 1);
	assert_int_equal(EVP_EncryptUpdate(ctx, p, &n, p, 16), 1);
	assert_int_equal(EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_AEAD_GET_TAG, TAG_LEN, tag), 0);
	assert_int_equal(EVP_EncryptUpdate(ctx, NULL, &n, p, 5), 0);
	/* a second message with the IV of the first */
	assert_int_equal(EVP_EncryptFinal_ex(ctx, p, &n), 1);
	assert_int_equal(EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_AEAD_GET_TAG, TAG_LEN, tag), 1);
	assert_int_equal(EVP_EncryptUpdate(ctx, p, &n, p, 16), 0);
	assert_int_equal(EVP_EncryptFinal_ex(ctx, p, &n), 0);
	/* other lengths */
	assert_int_equal(EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_AEAD_SET_IVLEN, 12, NULL), 1);
	assert_int_equal(EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_AEAD_SET_IVLEN, 16, NULL), 0);
	assert_int_equal(EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_AEAD_SET_IVLEN, 8, NULL), 0);
	assert_int_equal(EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_AEAD_GET_TAG, 12, tag), 0);
	assert_true(EVP_CIPHER_CTX_set_key_length(ctx, 32) <= 0);
	/* to say what the tag is when it is to be made; to look at one that was to be compared */
	assert_int_equal(EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_AEAD_SET_TAG, TAG_LEN, tag), 0);
	assert_int_equal(EVP_DecryptInit_ex(ctx, NULL, NULL, NULL, iv), 1);
	assert_int_equal(EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_AEAD_SET_TAG, 12, tag), 0);
	assert_int_equal(EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_AEAD_SET_TAG, TAG_LEN, tag), 1);
	assert_int_equal(EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_AEAD_GET_TAG, TAG_LEN, tag), 0);
	/* the end without a tag: also where it was made just now, and would be the right one */
	assert_int_equal(EVP_EncryptInit_ex(ctx, NULL, NULL, NULL, iv), 1);
	assert_int_equal(EVP_EncryptUpdate(ctx, p, &n, p, 16), 1);
	assert_int_equal(EVP_EncryptFinal_ex(ctx, p, &n), 1);
	assert_int_equal(EVP_DecryptInit_ex(ctx, NULL, NULL, NULL, iv), 1);
	assert_int_equal(EVP_DecryptUpdate(ctx, p, &n, p, 16), 1);
	assert_int_equal(EVP_DecryptFinal_ex(ctx, p, &n), 0);
}

static void a_wrong_tag_stays_wrong(void **state)
{
	_cleanup_(EVP_CIPHER_CTX_freep) EVP_CIPHER_CTX *ctx = EVP_CIPHER_CTX_new();
	_cleanup_(EVP_CIPHER_freep) EVP_CIPHER *c = NULL;
	uint8_t text[32] = {7}, out[32];
	struct message m = {.text = text, .key_len = 32, .len = 32};
	int n;

	need();
	c = cipher_of(32, "culvert-gcm");
	assert_true(seal(c, &m, text));
	m.tag[3] ^= 1;
	assert_int_equal(EVP_DecryptInit_ex(ctx, c, NULL, m.key, m.iv), 1);
	assert_int_equal(EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_AEAD_SET_TAG, TAG_LEN, m.tag), 1);
	assert_int_equal(EVP_DecryptUpdate(ctx, out, &n, text, 32), 1);
	assert_int_equal(EVP_DecryptFinal_ex(ctx, out, &n), 0);
	m.tag[3] ^= 1;
	(void)EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_AEAD_SET_TAG, TAG_LEN, m.tag);
	assert_int_equal(EVP_DecryptFinal_ex(ctx, out, &n), 0);
	/* begun anew, with the right one, it is right */
	assert_true(open_(c, &m, out));
	assert_int_equal(out[0], 7);
}

static void a_copy_goes_its_own_way(void **state)
{
	_cleanup_(EVP_CIPHER_CTX_freep) EVP_CIPHER_CTX *a = EVP_CIPHER_CTX_new();
	_cleanup_(EVP_CIPHER_CTX_freep) EVP_CIPHER_CTX *b = EVP_CIPHER_CTX_new();
	_cleanup_(EVP_CIPHER_freep) EVP_CIPHER *c = NULL;
	uint8_t text[48] = {9}, key[16] = {1}, iv[IV_LEN] = {2}, x[48], y[48], tags[2][TAG_LEN];
	int n;

	need();
	c = cipher_of(16, "culvert-gcm");
	assert_int_equal(EVP_EncryptInit_ex(a, c, NULL, key, iv), 1);
	assert_int_equal(EVP_EncryptUpdate(a, x, &n, text, 21), 1);
	assert_int_equal(EVP_CIPHER_CTX_copy(b, a), 1);
	assert_int_equal(EVP_EncryptUpdate(a, x, &n, text + 21, 27), 1);
	assert_int_equal(EVP_EncryptUpdate(b, y, &n, text + 21, 27), 1);
	assert_memory_equal(x, y, 27);
	assert_int_equal(EVP_EncryptFinal_ex(a, x, &n), 1);
	assert_int_equal(EVP_EncryptFinal_ex(b, y, &n), 1);
	assert_int_equal(EVP_CIPHER_CTX_ctrl(a, EVP_CTRL_AEAD_GET_TAG, TAG_LEN, tags[0]), 1);
	assert_int_equal(EVP_CIPHER_CTX_ctrl(b, EVP_CTRL_AEAD_GET_TAG, TAG_LEN, tags[1]), 1);
	assert_memory_equal(tags[0], tags[1], TAG_LEN);
}

/* bound_init() - a cipher of a connection, as OpenSSL's record layer makes it. */
static EVP_CIPHER_CTX *bound_init(struct tls_records *r, int is_encrypting)
{
	_cleanup_(EVP_CIPHER_freep) EVP_CIPHER *c = cipher_of(16, "culvert-gcm");
	EVP_CIPHER_CTX *ctx = EVP_CIPHER_CTX_new();
	const uint8_t key[16] = {1};

	tls_records_bind(r);
	assert_int_equal(EVP_CipherInit_ex(ctx, c, NULL, key, NULL, is_encrypting), 1);
	tls_records_bind(NULL);
	return ctx;
}

static void a_connections_cipher_takes_no_number_out_of_order(void **state)
{
	static const uint8_t last_bytes[] = {7, 7 ^ 1, 7 ^ 2}; /* of the IVs of records 0, 1, 2 */

	need();
	for (int i = 0; i < 2; i++) {
		struct tls_records r = {0};
		_cleanup_(EVP_CIPHER_CTX_freep) EVP_CIPHER_CTX *ctx = bound_init(&r, i);
		_cleanup_(EVP_CIPHER_CTX_freep) EVP_CIPHER_CTX *copy = EVP_CIPHER_CTX_new();
		uint8_t iv[IV_LEN] = {2};

		assert_non_null(i ? r._sealing : r._opening);
		for (size_t k = 0; k < ARRAY_SIZE(last_bytes); k++) {
			iv[IV_LEN - 1] = last_bytes[k];
			assert_int_equal(EVP_CipherInit_ex(ctx, NULL, NULL, NULL, iv, i), 1);
		}
		/* OpenSSL may open from 0 again, as after early data; never seal */
		iv[IV_LEN - 1] = 7;
		assert_int_equal(EVP_CipherInit_ex(ctx, NULL, NULL, NULL, iv, i), !i);
		for (size_t k = 1; k < ARRAY_SIZE(last_bytes) && !i; k++) {
			iv[IV_LEN - 1] = last_bytes[k];
			assert_int_equal(EVP_CipherInit_ex(ctx, NULL, NULL, NULL, iv, i), 1);
		}
		/* nor a second one that counts, nor the same for the other direction */
		assert_int_equal(EVP_CIPHER_CTX_copy(copy, ctx), 0);
		iv[IV_LEN - 1] = 7 ^ 3;
		assert_int_equal(EVP_CipherInit_ex(ctx, NULL, NULL, NULL, iv, !i), 0);
		iv[IV_LEN - 1] = 7 ^ 1;
		assert_int_equal(EVP_CipherInit_ex(ctx, NULL, NULL, NULL, iv, i), 0);
		EVP_CIPHER_CTX_reset(ctx);
		assert_null(i ? r._sealing : r._opening);
	}
}

static void keys_are_wiped(void **state)
{
	uint8_t key[32], iv[IV_LEN] = {2}, p[16] = {3};
	int n;

	need();
	rand_fill(key, sizeof(key));
	for (int i = 0; i < 2; i++) {
		_cleanup_(EVP_CIPHER_freep) EVP_CIPHER *c = cipher_of(i ? 32 : 16, "culvert-gcm");
		EVP_CIPHER_CTX *ctx = EVP_CIPHER_CTX_new();
		unsigned int wiped = contexts.wiped;

		assert_int_equal(EVP_EncryptInit_ex(ctx, c, NULL, key, iv), 1);
		assert_int_equal(EVP_EncryptUpdate(ctx, p, &n, p, 16), 1);
		assert_non_null(memmem(contexts.last, contexts.size, key, 16));
		EVP_CIPHER_CTX_free(ctx);
		assert_int_equal(contexts.wiped, wiped + 1);
		assert_int_equal(contexts.left, 0);
	}
}

static void describes_itself_as_openssl_does(void **state)
{
	need();
	for (size_t len = 16; len <= 32; len += 16) {
		_cleanup_(EVP_CIPHER_freep) EVP_CIPHER *a = cipher_of(len, "culvert-gcm");
		_cleanup_(EVP_CIPHER_freep) EVP_CIPHER *b = cipher_of(len, "default");

		assert_int_equal(EVP_CIPHER_get_nid(a), EVP_CIPHER_get_nid(b));
		assert_int_equal(EVP_CIPHER_get_mode(a), EVP_CIPH_GCM_MODE);
		assert_int_equal(EVP_CIPHER_get_key_length(a), len);
		assert_int_equal(EVP_CIPHER_get_iv_length(a), EVP_CIPHER_get_iv_length(b));
		assert_int_equal(EVP_CIPHER_get_block_size(a), EVP_CIPHER_get_block_size(b));
		assert_int_equal(EVP_CIPHER_get_flags(a) & EVP_CIPH_FLAG_AEAD_CIPHER,
				 EVP_CIPH_FLAG_AEAD_CIPHER);
		assert_non_null(EVP_CIPHER_gettable_params(a));
		assert_non_null(EVP_CIPHER_gettable_ctx_params(a));
		assert_non_null(EVP_CIPHER_settable_ctx_params(a));
	}
}

static int load_it(void **state)
{
	load = tls_gcm_load(&why);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(seals_and_opens_the_known_vectors),
		cmocka_unit_test(differs_in_nothing_from_openssl),
		cmocka_unit_test(a_changed_bit_anywhere_is_noticed),
		cmocka_unit_test(a_shorter_or_longer_message_is_noticed),
		cmocka_unit_test(refuses_what_would_be_no_gcm),
		cmocka_unit_test(a_wrong_tag_stays_wrong),
		cmocka_unit_test(a_copy_goes_its_own_way),
		cmocka_unit_test(a_connections_cipher_takes_no_number_out_of_order),
		cmocka_unit_test(keys_are_wiped),
		cmocka_unit_test(describes_itself_as_openssl_does),
	};

	return cmocka_run_group_tests(tests, load_it, NULL);
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "websocket.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include <openssl/evp.h>

#include "base/str.h"

#define FIN         0x80
#define MASK        0x80
#define OPCODE      0x0f
#define RESERVED    0x70
#define SHORT_MAX   125
#define LENGTH_16   126
#define LENGTH_64   127
#define MASK_BYTES  4
#define NONCE_BYTES 16

/** struct frame - one that is whole. */
struct frame {
	unsigned int opcode;
	bool is_last;
	const uint8_t *data;
	size_t len;
	size_t whole; /* with its head */
};

static uint64_t big_endian(const uint8_t *p, size_t n)
{
	uint64_t v = 0;

	for (size_t i = 0; i < n; i++)
		v = v << 8 | p[i];
	return v;
}

/* frame_read() - RFC 6455, 5.2: "A server MUST NOT mask any frames". Return: 1; 0: not whole yet;
 * -errno. */
static int frame_read(const struct buf *b, struct frame *f)
{
	const uint8_t *p = buf_head(b);
	size_t have = buf_len(b), head = 2, extra;
	uint64_t len;

	if (have < head)
		return 0;
	if ((p[0] & RESERVED) || (p[1] & MASK))
		return -EBADMSG;
	len = p[1];
	extra = len == LENGTH_16 ? 2 : len == LENGTH_64 ? 8 : 0;
	head += extra;
	if (have < head)
		return 0;
	if (extra > 0)
		len = big_endian(p + 2, extra);
	if (len > WEBSOCKET_MESSAGE_MAX)
		return -EMSGSIZE;
	if (have < head + len)
		return 0;
	*f = (struct frame){.opcode = p[0] & OPCODE,
			    .is_last = p[0] & FIN,
			    .data = p + head,
			    .len = (size_t)len,
			    .whole = head + (size_t)len};
	return 1;
}

static int on_data(struct websocket *w, const struct frame *f, const struct websocket_ops *ops,
		   void *arg)
{
	int r;

	if (f->is_last && buf_len(&w->message) == 0)
		return ops->on_message(arg, f->data, f->len);
	if (buf_len(&w->message) + f->len > WEBSOCKET_MESSAGE_MAX)
		return -EMSGSIZE;
	r = buf_append(&w->message, f->data, f->len);
	if (r < 0 || !f->is_last)
		return r;
	r = ops->on_message(arg, buf_head(&w->message), buf_len(&w->message));
	buf_reset(&w->message);
	return r;
}

static int on_frame(struct websocket *w, const struct frame *f, const struct websocket_ops *ops,
		    void *arg)
{
	switch (f->opcode) {
	case 0: /* goes on */
	case WEBSOCKET_TEXT:
	case WEBSOCKET_BINARY:
		return on_data(w, f, ops, arg);
	case WEBSOCKET_CLOSE:
		return ops->on_close(arg);
	case WEBSOCKET_PING:
		return f->is_last && f->len <= SHORT_MAX ? ops->on_ping(arg, f->data, f->len)
							 : -EBADMSG;
	case WEBSOCKET_PONG:
		return 0;
	default:
		return -EBADMSG;
	}
}

int websocket_feed(struct websocket *w, const void *data, size_t len,
		   const struct websocket_ops *ops, void *arg)
{
	struct frame f;
	int r = buf_append(&w->in, data, len);

	while (r == 0) {
		r = buf_len(&w->in) > 0 ? frame_read(&w->in, &f) : 0;
		if (r <= 0)
			return r;
		r = on_frame(w, &f, ops, arg);
		buf_consume(&w->in, f.whole);
	}
	return r;
}

void websocket_reset(struct websocket *w)
{
	buf_reset(&w->in);
	buf_reset(&w->message);
}

int websocket_frame(struct buf *out, unsigned int opcode, const void *data, size_t len)
{
	uint8_t head[2 + MASK_BYTES] = {(uint8_t)(FIN | opcode), (uint8_t)(MASK | len)};
	const uint8_t *p = data;
	int r;

	if (len > SHORT_MAX)
		return -EMSGSIZE;
	random_bytes(head + 2, MASK_BYTES);
	r = buf_append(out, head, sizeof(head));
	if (r == 0)
		r = buf_reserve(out, len);
	for (size_t i = 0; r == 0 && i < len; i++)
		buf_tail(out)[i] = p[i] ^ head[2 + i % MASK_BYTES];
	if (r == 0)
		buf_produce(out, len);
	return r;
}

void websocket_key(char key[WEBSOCKET_KEY_MAX])
{
	uint8_t nonce[NONCE_BYTES];

	random_bytes(nonce, sizeof(nonce));
	(void)EVP_EncodeBlock((unsigned char *)key, nonce, sizeof(nonce));
}

int websocket_accept(const char *key, char ret[WEBSOCKET_KEY_MAX])
{
	unsigned char digest[EVP_MAX_MD_SIZE];
	char text[WEBSOCKET_KEY_MAX + 64];
	unsigned int n = 0;

	(void)snprintf(text, sizeof(text), "%s258EAFA5-E914-47DA-95CA-C5AB0DC85B11", key);
	if (EVP_Digest(text, strlen(text), digest, &n, EVP_sha1(), NULL) != 1)
		return -ENOMEM;
	(void)EVP_EncodeBlock((unsigned char *)ret, digest, (int)n);
	return 0;
}

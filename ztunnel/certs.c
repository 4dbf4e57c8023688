/* SPDX-License-Identifier: Apache-2.0 */
#include "ztunnel/certs.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/list.h"
#include "base/log.h"
#include "base/loop.h"
#include "base/map.h"
#include "base/str.h"
#include "tls/trust.h"
#include "tls/identity.h"
#include "tls/key.h"
#include "tls/spiffe.h"
#include "xds/ca_client.h"
#include "ztunnel/certs_json.h"

#define TARGET    "certs"
#define CERTS_MAX 16384
/* As many as ca_client takes: the CA lets an identity that it does not know yet wait for seconds,
 * and that must not hold up the others. */
#define IN_FLIGHT_MAX  64
#define BACKOFF_MIN_US (100 * 1000)
#define BACKOFF_MAX_US (150 * 1000 * 1000)
#define RENEW_MIN_US   (1000 * 1000)
/* All of a node are asked for again within this time. */
#define RENEW_SPREAD_US (1000 * 1000)
#define US_PER_S        1000000

enum cert_state {
	CERT_QUEUED,  /* waits for one of the places to ask */
	CERT_ASKED,   /* request is out, with `key` */
	CERT_WAITING, /* timer runs: until half life, or a new try */
};

struct cert {
	struct certs *certs;
	struct list queue; /* in certs.queue while CERT_QUEUED */
	struct loop_timer timer;
	enum cert_state state;
	bool is_stale; /* the CA changed while the request is out */
	unsigned int wants;
	EVP_PKEY *key;
	const struct tls_identity *tls; /* in force; NULL before the first */
	uint64_t backoff_us;
	char error[160]; /* of the last try; "" after a success */
	char identity[];
};

struct certs {
	struct loop *loop;
	struct ca_client *ca;
	struct map *by_identity;
	struct list queue;
	struct tls_trust *trust;
	unsigned int in_flight;
	void (*on_identity)(void *arg, const char *identity, const struct tls_identity *t);
	void *arg;
};

static void certs_pump(struct certs *c);

static void cert_forget_key(struct cert *t)
{
	EVP_PKEY_free(t->key);
	t->key = NULL;
}

static void cert_queue(struct cert *t)
{
	t->state = CERT_QUEUED;
	if (list_is_empty(&t->queue))
		list_add_tail(&t->certs->queue, &t->queue);
}

/* A fifth up or down, so that a thousand pods do not ask in step. */
static uint64_t jitter(uint64_t us)
{
	uint32_t random;

	random_bytes(&random, sizeof(random));
	return us - us / 5 + (uint64_t)random % (us / 5 * 2 + 1);
}

static void cert_wait(struct cert *t, uint64_t delay_us)
{
	t->state = CERT_WAITING;
	/* without memory for a timer: in the queue at once, which asks again when a place is free
	 */
	if (loop_timer_set(t->certs->loop, &t->timer, delay_us) < 0)
		cert_queue(t);
}

static void cert_drop_expired(struct cert *t)
{
	if (!t->tls || (uint64_t)t->tls->not_after * US_PER_S > now_realtime_us())
		return;
	log_error(TARGET, "certificate expired identity=\"%s\"", t->identity);
	t->tls = tls_identity_unref(t->tls);
	t->certs->on_identity(t->certs->arg, t->identity, NULL);
}

static void cert_fail(struct cert *t, const char *message, int error)
{
	bool is_first = t->error[0] == '\0';

	cert_forget_key(t);
	(void)snprintf(t->error, sizeof(t->error), "%s%s%s", message, *message ? ": " : "",
		       strerrordesc_np(error < 0 ? -error : error));
	if (is_first)
		log_warn(TARGET, "cannot get a certificate, trying on identity=\"%s\" error=\"%s\"",
			 t->identity, t->error);
	cert_drop_expired(t);
	t->backoff_us =
		t->backoff_us ? MIN(t->backoff_us * 2, (uint64_t)BACKOFF_MAX_US) : BACKOFF_MIN_US;
	cert_wait(t, jitter(t->backoff_us));
}

/* When half of its life is over, by CLOCK_REALTIME. */
static uint64_t half_life_us(const struct tls_identity *t)
{
	uint64_t begin = (uint64_t)t->not_before * US_PER_S;
	uint64_t end = (uint64_t)t->not_after * US_PER_S;

	return begin + (end > begin ? (end - begin) / 2 : 0);
}

/* Until half of its life is over. A CA whose clock is hours behind ours gives what is older than
 * that from the first: then half of what is left, or each would be asked for every second. */
static uint64_t renew_delay_us(const struct tls_identity *t)
{
	uint64_t end = (uint64_t)t->not_after * US_PER_S;
	uint64_t at = half_life_us(t);
	uint64_t now = now_realtime_us();

	if (at > now)
		return MAX(at - now, (uint64_t)RENEW_MIN_US);
	return MAX(end > now ? (end - now) / 2 : 0, (uint64_t)RENEW_MIN_US);
}

static void cert_accept(struct cert *t, const struct tls_identity *tls)
{
	cert_forget_key(t);
	tls_identity_unref(t->tls);
	t->tls = tls;
	t->backoff_us = 0;
	t->error[0] = '\0';
	log_debug(TARGET, "certificate received identity=\"%s\" serial=%s", t->identity,
		  tls->serial);
	cert_wait(t, t->is_stale ? RENEW_MIN_US : renew_delay_us(tls));
	t->is_stale = false;
	t->certs->on_identity(t->certs->arg, t->identity, tls);
}

static void on_signed(void *arg, int error, const char *message, const char *const *chain, size_t n)
{
	struct cert *t = arg;
	struct certs *c = t->certs;
	const struct tls_identity *tls = NULL;
	int r = error;

	c->in_flight--;
	if (r == 0)
		r = tls_identity_new(t->identity, t->key, chain, n, &tls);
	if (r == 0 && c->trust)
		r = tls_trust_use(c->trust, tls);
	if (r < 0)
		tls = tls_identity_unref(tls);
	if (r < 0 || !tls)
		cert_fail(t, error ? message : "the CA's answer was refused", r);
	else
		cert_accept(t, tls);
	certs_pump(c);
}

static int cert_ask(struct cert *t)
{
	_cleanup_(freep) char *csr = NULL;
	int r;

	cert_forget_key(t);
	r = tls_key_new(&t->key);
	if (r == 0)
		r = tls_csr_new(t->key, t->identity, &csr);
	if (r == 0)
		r = ca_client_sign(t->certs->ca, t->identity, csr, on_signed, t);
	return r;
}

/* Ask for the next ones in the queue, a few at a time. */
static void certs_pump(struct certs *c)
{
	while (c->in_flight < IN_FLIGHT_MAX && !list_is_empty(&c->queue)) {
		struct cert *t = list_entry(c->queue.next, struct cert, queue);
		int r;

		list_del(&t->queue);
		t->state = CERT_ASKED;
		c->in_flight++;
		r = cert_ask(t);
		if (r < 0) {
			c->in_flight--;
			cert_fail(t, "request", r);
		}
	}
}

static void on_timer(struct loop_timer *timer)
{
	struct cert *t = container_of(timer, struct cert, timer);

	cert_drop_expired(t);
	cert_queue(t);
	certs_pump(t->certs);
}

static void cert_free(struct cert *t)
{
	struct certs *c = t->certs;

	loop_timer_del(&t->timer);
	list_del(&t->queue);
	if (t->state == CERT_ASKED) {
		ca_client_cancel(c->ca, t);
		c->in_flight--;
	}
	cert_forget_key(t);
	tls_identity_unref(t->tls);
	free(t);
}

static int cert_new(struct certs *c, const char *identity, struct cert **ret)
{
	size_t len = strlen(identity);
	struct cert *t = calloc(1, sizeof(*t) + len + 1);

	if (!t)
		return -ENOMEM;
	memcpy(t->identity, identity, len + 1);
	t->certs = c;
	t->timer.on_timer = on_timer;
	list_init(&t->queue);
	if (map_put_str(c->by_identity, identity, t) < 0) {
		free(t);
		return -ENOMEM;
	}
	*ret = t;
	return 0;
}

int certs_new(const struct certs_config *config, struct certs **ret)
{
	_cleanup_(certs_freep) struct certs *c = calloc(1, sizeof(*c));
	int r;

	if (!c)
		return -ENOMEM;
	c->loop = config->loop;
	c->on_identity = config->on_identity;
	c->arg = config->arg;
	c->trust = config->trust;
	list_init(&c->queue);
	r = map_new(&c->by_identity);
	if (r == 0)
		r = ca_client_new(config->loop, &config->target, &c->ca);
	if (r < 0)
		return r;
	*ret = TAKE_PTR(c);
	return 0;
}

struct certs *certs_free(struct certs *c)
{
	if (!c)
		return NULL;
	if (c->by_identity)
		map_for_each (c->by_identity, it)
			cert_free(it.value);
	map_free(c->by_identity);
	ca_client_free(c->ca);
	free(c);
	return NULL;
}

int certs_want(struct certs *c, const char *identity)
{
	struct cert *t = map_get_str(c->by_identity, identity);
	struct spiffe_id id;
	int r;

	if (t) {
		t->wants++;
		return 0;
	}
	if (spiffe_parse(identity, &id) < 0)
		return -EINVAL;
	if (map_count(c->by_identity) >= CERTS_MAX)
		return -ENOSPC;
	r = cert_new(c, identity, &t);
	if (r < 0)
		return r;
	t->wants = 1;
	cert_queue(t);
	certs_pump(c);
	return 0;
}

void certs_unwant(struct certs *c, const char *identity)
{
	struct cert *t = map_get_str(c->by_identity, identity);

	if (!t || --t->wants > 0)
		return;
	map_del_str(c->by_identity, identity);
	if (t->tls)
		c->on_identity(c->arg, t->identity, NULL);
	cert_free(t);
	certs_pump(c);
}

static uint64_t spread_us(void)
{
	uint32_t random;

	random_bytes(&random, sizeof(random));
	return random % RENEW_SPREAD_US;
}

void certs_renew(struct certs *c)
{
	map_for_each (c->by_identity, it) {
		struct cert *t = it.value;

		if (t->state == CERT_WAITING)
			cert_wait(t, spread_us());
		t->is_stale = t->state == CERT_ASKED;
	}
}

void certs_retry(struct certs *c)
{
	map_for_each (c->by_identity, it) {
		struct cert *t = it.value;

		if (t->state != CERT_WAITING || !t->error[0])
			continue;
		t->backoff_us = 0;
		cert_wait(t, spread_us());
	}
}

void certs_clock_stepped(struct certs *c)
{
	uint64_t now = now_realtime_us();

	map_for_each (c->by_identity, it) {
		struct cert *t = it.value;
		bool is_due = !t->tls || half_life_us(t->tls) <= now ||
			      (uint64_t)t->tls->not_before * US_PER_S > now;

		cert_drop_expired(t);
		/* while the CA fails, its back-off goes on */
		if (t->state != CERT_WAITING || t->error[0])
			continue;
		cert_wait(t, is_due ? spread_us() : renew_delay_us(t->tls));
	}
}

json_t *certs_to_json(const struct certs *c)
{
	json_t *list = json_array();

	map_for_each (c->by_identity, it) {
		const struct cert *t = it.value;
		json_t *one = cert_to_json(t->identity, t->tls, t->error);

		if (!one || json_array_append_new(list, one) < 0) {
			json_decref(list);
			return NULL;
		}
	}
	return list;
}

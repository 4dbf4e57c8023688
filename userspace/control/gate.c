/* SPDX-License-Identifier: Apache-2.0 */
#include "gate.h"

#include <errno.h>
#include <openssl/evp.h>
#include <openssl/sha.h>
#include <stdlib.h>
#include <string.h>

#include <jansson.h>

#include "base/list.h"
#include "base/log.h"
#include "base/map.h"
#include "base/json.h"
#include "base/str.h"
#include "net/shares.h"
#include "source/kube_json.h"

#define REVIEW_PATH   "/apis/authentication.k8s.io/v1/tokenreviews"
#define REVIEW_US     5000000ULL
#define KNOWN_US      60000000ULL /* how long an answer holds at most: a pod may go meanwhile */
#define KNOWN_MAX     8192
#define WAITING_MAX   1024
#define CLAIMS_MAX    65536
#define EXP_MAX       1e12 /* seconds: all that is later fits no clock of ours */
#define BEARER        "Bearer "
#define ACCOUNT_START "system:serviceaccount:"

struct guarded {
	struct gate *gate;
	struct grpc_method inner;
	bool is_xds;
};

/** struct known - a token that was let through, by its hash. */
struct known {
	struct caller caller;
	uint64_t until_us;
	uint64_t ends_us; /* the token itself, of now_realtime_us() */
};

/** struct review - a token that is being looked at, for all calls that have come with it: a node
 * that starts makes many at once. */
struct review {
	struct gate *gate;
	struct list calls; /* empty: it goes, unless it is being answered */
	struct kube_request *request;
	uint64_t ends_us; /* as of struct known */
	unsigned char hash[SHA256_DIGEST_LENGTH];
};

/** struct waiting - a call whose token is being looked at. */
struct waiting {
	const struct guarded *method;
	struct share *share; /* of its address */
	struct review *review;
	struct list link;
	struct list mates; /* in review->calls */
	struct grpc_call *call;
	struct grpc_peer peer;
};

struct gate {
	struct gate_config config;
	struct guarded methods[GATE_METHODS_MAX];
	size_t n_methods;
	struct map *known;   /* hash -> struct known */
	struct map *reviews; /* hash -> struct review */
	struct list waiting; /* the newest last */
	struct shares *shares;
	size_t n_waiting;
	size_t n_strangers[2]; /* of methods other than xDS, of xDS */
};

static void review_free(struct review *v)
{
	(void)kube_request_cancel(v->request);
	(void)map_del(v->gate->reviews, v->hash, sizeof(v->hash));
	free(v);
}

static void waiting_free(struct waiting *w)
{
	struct gate *g = w->method->gate;
	struct review *v = w->review;

	list_del(&w->mates);
	if (v && v->request && list_is_empty(&v->calls))
		review_free(v);
	list_del(&w->link);
	g->n_waiting--;
	shares_give_back(g->shares, w->share);
	free(w);
}

static struct waiting *newest_of(const struct gate *g, const struct share *share)
{
	struct waiting *w = list_entry(g->waiting.prev, struct waiting, link);

	while (w->share != share)
		w = list_entry(w->link.prev, struct waiting, link);
	return w;
}

static void turn_away(struct grpc_call *call)
{
	grpc_call_finish(call, GRPC_RESOURCE_EXHAUSTED, "too many calls are waiting");
}

/* Whoever has most gives way to @addr, the last to come first: tokens that lead nowhere cost
 * nothing to make, and nobody keeps others out by them. */
static bool room_make(struct gate *g, const struct cv_addr *addr)
{
	const struct share *most;
	struct grpc_call *call;
	struct waiting *w;

	if (g->n_waiting < WAITING_MAX)
		return true;
	most = shares_most(g->shares);
	if (!shares_must_yield(most, shares_of(g->shares, addr)))
		return false;
	w = newest_of(g, most);
	call = w->call;
	waiting_free(w);
	turn_away(call);
	return true;
}

static void refuse(const struct guarded *m, struct grpc_call *call)
{
	m->gate->n_strangers[m->is_xds]++;
	grpc_call_finish(call, GRPC_UNAUTHENTICATED, "authentication failure");
}

/* The last step: @call belongs to the inner method from here on. */
static void let_in(const struct guarded *m, struct grpc_call *call, const struct grpc_peer *peer,
		   const struct caller *caller)
{
	const struct gate *g = m->gate;
	struct grpc_peer with = *peer;

	if (m->is_xds && !g->config.is_xds_allowed(g->config.arg, caller)) {
		log_warn("control", "call refused path=%s namespace=%s account=%s", m->inner.path,
			 caller->namespace_, caller->account);
		refuse(m, call);
		return;
	}
	with.caller = caller;
	m->inner.on_open(call, &with, m->inner.arg);
}

static void known_forget_old(struct gate *g, uint64_t now, bool is_all)
{
	map_for_each (g->known, it) {
		struct known *k = it.value;

		if (is_all || k->until_us <= now)
			free(map_del(g->known, it.key, it.key_len));
	}
}

static void known_add(struct gate *g, const struct review *v, const struct caller *caller)
{
	const unsigned char *hash = v->hash;
	uint64_t now = loop_now_us(g->config.loop);
	struct known *k;

	if (map_count(g->known) >= KNOWN_MAX)
		known_forget_old(g, now, false);
	if (map_count(g->known) >= KNOWN_MAX)
		return;
	free(map_del(g->known, hash, SHA256_DIGEST_LENGTH));
	k = calloc(1, sizeof(*k));
	if (!k)
		return;
	*k = (struct known){.caller = *caller, .until_us = now + KNOWN_US, .ends_us = v->ends_us};
	if (map_put(g->known, hash, SHA256_DIGEST_LENGTH, k) < 0)
		free(k);
}

static const struct caller *known_find(const struct gate *g, const unsigned char *hash)
{
	const struct known *k = map_get(g->known, hash, SHA256_DIGEST_LENGTH);

	if (!k || k->until_us <= loop_now_us(g->config.loop) || k->ends_us <= now_realtime_us())
		return NULL;
	return &k->caller;
}

/* The middle of "HEAD.CLAIMS.SIGNATURE", base64 for URLs and without padding. Return: a new
 * reference; NULL: it is no such thing. */
static json_t *claims_read(const char *token)
{
	const char *claims = strchr(token, '.'), *end = claims ? strchr(claims + 1, '.') : NULL;
	size_t len = end ? (size_t)(end - claims - 1) : 0, whole = (len + 3) / 4 * 4;
	_cleanup_(freep) char *text = len > 0 && len <= CLAIMS_MAX ? malloc(2 * whole) : NULL;
	int n;

	if (!text)
		return NULL;
	for (size_t i = 0; i < whole; i++)
		text[i] = i >= len               ? 'A'
			  : claims[i + 1] == '-' ? '+'
			  : claims[i + 1] == '_' ? '/'
						 : claims[i + 1];
	n = EVP_DecodeBlock((unsigned char *)text + whole, (const unsigned char *)text, (int)whole);
	n -= (int)(whole - len);
	return n > 0 ? kube_json_load(text + whole, (size_t)n) : NULL;
}

/* token_ends_us() - when a token says that it ends; to be believed once its signature was found to
 * be good. UINT64_MAX: it does not say. */
static uint64_t token_ends_us(const char *token)
{
	json_t *claims = claims_read(token);
	double exp = json_number_value(json_object_get(claims, "exp"));

	json_decref(claims);
	return exp > 0 && exp < EXP_MAX ? (uint64_t)exp * 1000000 : UINT64_MAX;
}

static int copy(const json_t *v, char *dst, size_t size)
{
	const char *s = json_string_value(v);

	return s && str_copy(dst, size, s) == 0 ? 0 : -EACCES;
}

/* "system:serviceaccount:NAMESPACE:NAME" */
static int account_read(const char *user, struct caller *c)
{
	const char *name, *colon;

	if (!user || !str_has_prefix(user, ACCOUNT_START))
		return -EACCES;
	user += strlen(ACCOUNT_START);
	colon = strchr(user, ':');
	if (!colon || colon == user || (size_t)(colon - user) >= sizeof(c->namespace_))
		return -EACCES;
	name = colon + 1;
	memcpy(c->namespace_, user, (size_t)(colon - user));
	return *name && str_copy(c->account, sizeof(c->account), name) == 0 ? 0 : -EACCES;
}

static int status_read(const json_t *status, struct caller *ret)
{
	const json_t *user = json_object_get(status, "user"), *extra;
	struct caller c = {0};
	int r;

	if (!json_is_true(json_object_get(status, "authenticated")) ||
	    !json_has_text(json_object_get(status, "audiences"), GATE_AUDIENCE))
		return -EACCES;
	r = account_read(json_string_value(json_object_get(user, "username")), &c);
	if (r < 0)
		return r;
	extra = json_object_get(user, "extra");
	if (copy(json_array_get(json_object_get(extra, "authentication.kubernetes.io/pod-name"), 0),
		 c.pod, sizeof(c.pod)) < 0 ||
	    copy(json_array_get(json_object_get(extra, "authentication.kubernetes.io/pod-uid"), 0),
		 c.pod_uid, sizeof(c.pod_uid)) < 0)
		c.pod[0] = c.pod_uid[0] = '\0';
	*ret = c;
	return 0;
}

int gate_caller_read(const char *body, size_t len, struct caller *ret)
{
	json_t *answer = kube_json_load(body, len);
	int r = status_read(json_object_get(answer, "status"), ret);

	json_decref(answer);
	return r;
}

/* @r: 0: @caller's it is; -EACCES nobody's; -EAGAIN not known, @a says why. */
static void call_answer(struct waiting *w, int r, const struct caller *caller,
			const struct kube_answer *a)
{
	const struct guarded *m = w->method;
	struct grpc_call *call = w->call;
	struct grpc_peer peer = w->peer;

	waiting_free(w);
	if (r < 0) {
		log_warn("control", "call refused path=%s because=\"%s\"", m->inner.path,
			 r != -EAGAIN ? "its token is not valid"
			 : a->error   ? a->message
				      : "the API server reviews no tokens (RBAC?)");
		if (r == -EAGAIN)
			grpc_call_finish(call, GRPC_UNAVAILABLE,
					 "the API server does not say whose token it is");
		else
			refuse(m, call);
		return;
	}
	let_in(m, call, &peer, caller);
	grpc_call_go_on(call);
}

static void on_reviewed(void *arg, const struct kube_answer *a)
{
	struct review *v = arg;
	struct caller caller;
	int r = a->error || a->status / 100 != 2 ? -EAGAIN
						 : gate_caller_read(a->body, a->len, &caller);

	v->request = NULL;
	if (r == 0)
		known_add(v->gate, v, &caller);
	/* who comes meanwhile asks anew */
	(void)map_del(v->gate->reviews, v->hash, sizeof(v->hash));
	while (!list_is_empty(&v->calls))
		call_answer(list_entry(v->calls.next, struct waiting, mates), r, &caller, a);
	free(v);
}

static void on_end(struct grpc_call *c, void *arg, int status, const char *message)
{
	waiting_free(arg);
}

static const struct grpc_call_ops waiting_ops = {.on_end = on_end};

static int review_start(struct review *v, const char *token)
{
	json_t *body = json_pack("{s:s,s:s,s:{s:s,s:[s]}}", "apiVersion",
				 "authentication.k8s.io/v1", "kind", "TokenReview", "spec", "token",
				 token, "audiences", GATE_AUDIENCE);
	char *text = body ? json_dumps(body, JSON_COMPACT) : NULL;
	const struct kube_request_config config = {
		.method = "POST",
		.path = REVIEW_PATH,
		.body = text,
		.timeout_us = REVIEW_US,
		.on_done = on_reviewed,
		.arg = v,
	};
	int r = text ? kube_request_new(v->gate->config.kube, &config, &v->request) : -ENOMEM;

	json_decref(body);
	free(text);
	return r;
}

/* The one that goes on, or a new one. Return: NULL: none can be had. */
static struct review *review_of(struct gate *g, const char *token, const unsigned char *hash)
{
	struct review *v = map_get(g->reviews, hash, SHA256_DIGEST_LENGTH);

	if (v)
		return v;
	v = calloc(1, sizeof(*v));
	if (!v)
		return NULL;
	v->gate = g;
	v->ends_us = token_ends_us(token);
	list_init(&v->calls);
	memcpy(v->hash, hash, sizeof(v->hash));
	if (map_put(g->reviews, hash, SHA256_DIGEST_LENGTH, v) < 0 || review_start(v, token) < 0) {
		review_free(v);
		return NULL;
	}
	return v;
}

static int wait_for(const struct guarded *m, struct grpc_call *call, const struct grpc_peer *peer,
		    const char *token, const unsigned char *hash)
{
	struct gate *g = m->gate;
	struct waiting *w = room_make(g, &peer->addr) ? calloc(1, sizeof(*w)) : NULL;

	if (!w)
		return -ENOBUFS;
	w->method = m;
	w->share = shares_take(g->shares, &peer->addr);
	if (!w->share) {
		free(w);
		return -ENOMEM;
	}
	w->call = call;
	w->peer = *peer;
	list_init(&w->mates);
	list_add_tail(&g->waiting, &w->link);
	g->n_waiting++;
	w->review = review_of(g, token, hash);
	if (!w->review) {
		waiting_free(w);
		return -ENOMEM;
	}
	list_add_tail(&w->review->calls, &w->mates);
	grpc_call_hold(call);
	grpc_call_set_ops(call, &waiting_ops, w);
	return 0;
}

/* Return: what stands behind "Bearer "; NULL: nothing does. The API server does not say of an empty
 * token whose it is, and that would be no answer about the caller. */
static const char *token_of(const char *header)
{
	const char *token = str_has_prefix(header, BEARER) ? header + strlen(BEARER) : "";

	return token[strspn(token, " ")] ? token : NULL;
}

static void on_open(struct grpc_call *call, const struct grpc_peer *peer, void *arg)
{
	const struct guarded *m = arg;
	const char *header = grpc_call_metadata(call, "authorization");
	const struct caller *known;
	unsigned char hash[SHA256_DIGEST_LENGTH];
	const char *shut = m->is_xds ? m->gate->config.xds_shut(m->gate->config.arg) : NULL;
	struct caller caller;

	if (shut) {
		grpc_call_finish(call, GRPC_UNAVAILABLE, shut);
		return;
	}
	header = header ? token_of(header) : NULL;
	if (!header) {
		refuse(m, call);
		return;
	}
	(void)SHA256((const unsigned char *)header, strlen(header), hash);
	known = known_find(m->gate, hash);
	if (known) {
		caller = *known;
		let_in(m, call, peer, &caller);
	} else if (wait_for(m, call, peer, header, hash) < 0) {
		turn_away(call);
	}
}

struct grpc_method gate_method(struct gate *g, const struct grpc_method *inner, bool is_xds)
{
	struct guarded *m = &g->methods[g->n_methods++];

	*m = (struct guarded){.gate = g, .inner = *inner, .is_xds = is_xds};
	return (struct grpc_method){
		.path = inner->path,
		.max_message = inner->max_message,
		.on_open = on_open,
		.arg = m,
	};
}

size_t gate_strangers(const struct gate *g, bool is_xds)
{
	return g->n_strangers[is_xds];
}

int gate_new(const struct gate_config *config, struct gate **ret)
{
	_cleanup_(gate_freep) struct gate *g = calloc(1, sizeof(*g));
	int r;

	if (!g)
		return -ENOMEM;
	g->config = *config;
	list_init(&g->waiting);
	r = map_new(&g->known);
	if (r == 0)
		r = map_new(&g->reviews);
	if (r == 0)
		r = shares_new(&g->shares);
	if (r < 0)
		return r;
	*ret = TAKE_PTR(g);
	return 0;
}

struct gate *gate_free(struct gate *g)
{
	struct waiting *w, *tmp;

	if (!g)
		return NULL;
	list_for_each_entry_safe (w, tmp, &g->waiting, link)
		waiting_free(w);
	(void)shares_free(g->shares);
	if (g->known)
		known_forget_old(g, 0, true);
	(void)map_free(g->known);
	(void)map_free(g->reviews);
	free(g);
	return NULL;
}

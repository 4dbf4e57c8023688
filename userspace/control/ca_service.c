/* SPDX-License-Identifier: Apache-2.0 */
#include "ca_service.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/list.h"
#include "base/log.h"
#include "base/str.h"
#include "tls/spiffe.h"
#include "userspace/lib/xds/ca.pb-c.h"
#include "xds/message.h"
#include "xds/metadata.h"

#define CREATE_PATH "/istio.v1.auth.IstioCertificateService/CreateCertificate"
#define REQUEST_MAX (64 * 1024)
#define WAITING_MAX 256
#define OF_ONE_MAX  64 /* that wait of one node's, and of all who ask for themselves */
#define WAIT_US     2000000ULL
#define READY_MAX   16384    /* that are to be signed */
#define TURN_US     20000ULL /* of signing, before others have their turn */

typedef Istio__V1__Auth__IstioCertificateRequest certificate_request;

struct pending {
	struct ca_service *service;
	struct list link;
	struct grpc_call *call;
	struct loop_timer give_up;
	certificate_request *request;  /* NULL until it has arrived */
	const char *spiffe;            /* in @request, or @own */
	struct csr_request *elsewhere; /* another signs it just now */
	bool is_ready;                 /* it waits for its turn to be signed */
	struct caller caller;
	bool has_caller; /* else it is on the node's own socket */
	char own[SPIFFE_ID_SIZE];
};

struct ca_service {
	struct ca_service_config config;
	struct list pendings;
	size_t n_pendings;
	struct list ready; /* the rest, which wait for nothing but us */
	size_t n_ready;
	struct loop_task sign_task;
	struct ca_service_counts counts;
};

static void pending_free(struct pending *p)
{
	loop_timer_del(&p->give_up);
	p->elsewhere = csr_request_cancel(p->elsewhere);
	list_del(&p->link);
	p->service->n_pendings -= !p->is_ready;
	p->service->n_ready -= p->is_ready;
	if (p->request)
		istio__v1__auth__istio_certificate_request__free_unpacked(p->request, NULL);
	free(p);
}

static void refuse(struct pending *p, enum grpc_status status, const char *message)
{
	struct ca_service_counts *n = &p->service->counts;

	n->strangers += status == GRPC_PERMISSION_DENIED;
	n->malformed += status == GRPC_INVALID_ARGUMENT;
	n->failed += status != GRPC_PERMISSION_DENIED && status != GRPC_INVALID_ARGUMENT;
	log_warn("ca", "request refused identity=%s reason=\"%s\"", p->spiffe ? p->spiffe : "-",
		 message);
	grpc_call_finish(p->call, status, message);
	pending_free(p);
}

static int64_t ttl_of(const struct pending *p)
{
	const struct ca_settings *t = &p->service->config.settings;
	int64_t wanted = p->request->validity_duration;

	if (wanted <= 0)
		wanted = t->ttl_s ? t->ttl_s : CA_TTL_S;
	return MIN(wanted, t->ttl_max_s ? t->ttl_max_s : CA_TTL_MAX_S);
}

static void answer(struct pending *p, char **chain, size_t n)
{
	Istio__V1__Auth__IstioCertificateResponse m =
		ISTIO__V1__AUTH__ISTIO_CERTIFICATE_RESPONSE__INIT;
	int r;

	m.cert_chain = chain;
	m.n_cert_chain = n;
	r = message_send(p->call, &m.base);
	if (r < 0) {
		refuse(p, GRPC_RESOURCE_EXHAUSTED, strerror(-r));
		return;
	}
	p->service->counts.granted++;
	log_info("ca", "certificate issued identity=%s", p->spiffe);
	grpc_call_finish(p->call, GRPC_OK, NULL);
	pending_free(p);
}

static void on_signed(void *arg, int error, const char *message, char **chain, size_t n)
{
	struct pending *p = arg;

	p->elsewhere = NULL;
	if (error < 0)
		refuse(p, GRPC_UNAVAILABLE, message);
	else
		answer(p, chain, n);
}

/* Somebody else's CA takes the names from the request: they must be those that are meant. */
static void sign_elsewhere(struct pending *p)
{
	const struct csr_wanted wanted = {
		.csr_pem = p->request->csr, .ttl_s = ttl_of(p), .on_signed = on_signed, .arg = p};
	int r;

	if (!ca_request_is_for(p->request->csr, p->spiffe)) {
		refuse(p, GRPC_INVALID_ARGUMENT,
		       "the certificate request says more, or other, than the identity");
		return;
	}
	loop_timer_del(&p->give_up);
	r = csr_signer_sign(p->service->config.signer, &wanted, &p->elsewhere);
	if (r < 0)
		refuse(p, GRPC_RESOURCE_EXHAUSTED, strerror(-r));
}

static void sign_now(struct pending *p)
{
	struct ca_chain chain = {0};
	int r;

	r = ca_sign(p->service->config.ca, p->request->csr, p->spiffe, ttl_of(p), &chain);
	if (r < 0) {
		refuse(p, r == -EBADMSG ? GRPC_INVALID_ARGUMENT : GRPC_INTERNAL,
		       r == -EBADMSG
			       ? "the certificate request is malformed, or of a wrong kind of key"
			       : strerror(-r));
		return;
	}
	answer(p, chain.pem, chain.n);
	ca_chain_clear(&chain);
}

/* A signature of a long RSA key takes milliseconds, and all nodes ask for all that they have when
 * the root changes: Lease, probes and pushes do not wait for them all, and who has given up
 * meanwhile costs nothing. */
static void on_sign_task(struct loop_task *t)
{
	struct ca_service *s = container_of(t, struct ca_service, sign_task);
	uint64_t end = now_monotonic_us() + TURN_US;

	while (!list_is_empty(&s->ready) && now_monotonic_us() < end)
		sign_now(list_entry(s->ready.next, struct pending, link));
	if (!list_is_empty(&s->ready))
		loop_task_queue(s->config.loop, &s->sign_task);
}

static void sign(struct pending *p)
{
	struct ca_service *s = p->service;

	if (s->config.signer) {
		sign_elsewhere(p);
		return;
	}
	if (s->n_ready >= READY_MAX) {
		refuse(p, GRPC_RESOURCE_EXHAUSTED, "too many certificates are to be signed");
		return;
	}
	loop_timer_del(&p->give_up);
	list_del(&p->link);
	list_add_tail(&s->ready, &p->link);
	p->is_ready = true;
	s->n_pendings--;
	s->n_ready++;
	loop_task_queue(s->config.loop, &s->sign_task);
}

static void on_give_up(struct loop_timer *t)
{
	struct pending *p = container_of(t, struct pending, give_up);

	refuse(p, GRPC_PERMISSION_DENIED,
	       p->request ? "no pod on this node has this identity" : "no request arrived");
}

static bool is_known(const struct pending *p)
{
	const struct ca_service_config *config = &p->service->config;

	return config->is_known(config->arg, p->has_caller ? &p->caller : NULL, p->spiffe);
}

/* Does it ask for itself, as any pod may? */
static bool is_own(const struct pending *p)
{
	return p->spiffe == p->own;
}

static size_t alike_in(const struct list *list, const struct pending *p)
{
	const struct pending *other;
	size_t n = 0;

	list_for_each_entry (other, list, link)
		n += other->request && other->has_caller && is_own(other) == is_own(p) &&
		     (is_own(p) || streq(other->caller.pod_uid, p->caller.pod_uid));
	return n;
}

/* How many are before and with this one, of its node or of those who ask for themselves: for a pod,
 * for somebody else's CA, or to be signed. Nobody must take the places of others. */
static bool is_crowded(const struct pending *p)
{
	const struct ca_service *s = p->service;

	return p->has_caller &&
	       alike_in(&s->pendings, p) + (is_own(p) ? alike_in(&s->ready, p) : 0) > OF_ONE_MAX;
}

static bool may_ask(const struct pending *p)
{
	const struct ca_service_config *config = &p->service->config;

	return !p->has_caller || config->may_ask(config->arg, &p->caller);
}

/* Its token says who it is: that is all it takes. */
static void sign_own(struct pending *p)
{
	(void)snprintf(p->own, sizeof(p->own), "spiffe://%s/ns/%s/sa/%s",
		       p->service->config.trust_domain, p->caller.namespace_, p->caller.account);
	p->spiffe = p->own;
	if (is_crowded(p))
		refuse(p, GRPC_RESOURCE_EXHAUSTED,
		       "too many who ask for themselves are waiting for the signer");
	else
		sign(p);
}

static void on_message(struct grpc_call *c, void *arg, const void *data, size_t len)
{
	struct pending *p = arg;
	struct spiffe_id id;
	const char *spiffe;
	bool must_wait;

	if (p->request) {
		refuse(p, GRPC_INVALID_ARGUMENT, "more than one message");
		return;
	}
	p->service->counts.asked++;
	p->request = istio__v1__auth__istio_certificate_request__unpack(NULL, len, data);
	spiffe = p->request ? metadata_text(p->request->metadata, METADATA_IDENTITY) : NULL;
	if (p->request && !spiffe && p->has_caller) {
		sign_own(p);
		return;
	}
	if (!spiffe || spiffe_parse(spiffe, &id) < 0) {
		refuse(p, GRPC_INVALID_ARGUMENT, "ImpersonatedIdentity must be a SPIFFE ID");
		return;
	}
	p->spiffe = spiffe;
	must_wait = !is_known(p);
	if (!may_ask(p))
		refuse(p, GRPC_PERMISSION_DENIED, "it may ask for its own identity only");
	else if ((must_wait || p->service->config.signer) && is_crowded(p))
		refuse(p, GRPC_RESOURCE_EXHAUSTED, "too many of this node's requests are waiting");
	else if (!must_wait)
		sign(p);
}

static void on_end(struct grpc_call *c, void *arg, int status, const char *message)
{
	pending_free(arg);
}

static const struct grpc_call_ops call_ops = {
	.on_message = on_message,
	.on_end = on_end,
};

/* Whose request has not come gives its place up, the oldest first: any pod may open calls. */
static void room_make(struct ca_service *s)
{
	struct pending *p, *tmp;

	list_for_each_entry_safe (p, tmp, &s->pendings, link)
		if (s->n_pendings >= WAITING_MAX && !p->request) {
			s->counts.failed++;
			grpc_call_finish(p->call, GRPC_RESOURCE_EXHAUSTED, "no request arrived");
			pending_free(p);
		}
}

static void on_open(struct grpc_call *c, const struct grpc_peer *peer, void *arg)
{
	struct ca_service *s = arg;
	struct pending *p;

	room_make(s);
	p = s->n_pendings < WAITING_MAX ? calloc(1, sizeof(*p)) : NULL;

	if (!p) {
		grpc_call_finish(c, GRPC_RESOURCE_EXHAUSTED, "too many requests are waiting");
		return;
	}
	p->service = s;
	p->call = c;
	if (peer->caller)
		p->caller = *(const struct caller *)peer->caller;
	p->has_caller = peer->caller;
	p->give_up.on_timer = on_give_up;
	list_add_tail(&s->pendings, &p->link);
	s->n_pendings++;
	grpc_call_set_ops(c, &call_ops, p);
	if (loop_timer_set(s->config.loop, &p->give_up, WAIT_US) < 0)
		refuse(p, GRPC_RESOURCE_EXHAUSTED, "out of memory");
}

int ca_service_new(const struct ca_service_config *config, struct ca_service **ret)
{
	struct ca_service *s = calloc(1, sizeof(*s));

	if (!s)
		return -ENOMEM;
	s->config = *config;
	s->sign_task.on_task = on_sign_task;
	list_init(&s->pendings);
	list_init(&s->ready);
	*ret = s;
	return 0;
}

struct ca_service *ca_service_free(struct ca_service *s)
{
	struct pending *p, *tmp;

	if (!s)
		return NULL;
	loop_task_del(&s->sign_task);
	list_for_each_entry_safe (p, tmp, &s->pendings, link)
		pending_free(p);
	list_for_each_entry_safe (p, tmp, &s->ready, link)
		pending_free(p);
	free(s);
	return NULL;
}

struct grpc_method ca_service_method(struct ca_service *s)
{
	return (struct grpc_method){
		.path = CREATE_PATH,
		.max_message = REQUEST_MAX,
		.on_open = on_open,
		.arg = s,
	};
}

void ca_service_set_ca(struct ca_service *s, struct ca *ca)
{
	s->config.ca = ca;
}

void ca_service_retry(struct ca_service *s)
{
	struct pending *p, *tmp;

	list_for_each_entry_safe (p, tmp, &s->pendings, link)
		if (p->request && !p->elsewhere && is_known(p))
			sign(p);
}

struct ca_service_counts ca_service_counts(const struct ca_service *s)
{
	return s->counts;
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "leader.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/log.h"
#include "base/str.h"
#include "election.h"
#include "source/kube_call.h"
#include "source/kube_json.h"

#define REQUEST_US 5000000ULL
#define RELEASE_US 1000000ULL
#define HOST_SIZE  200

struct leader {
	struct leader_config config;
	struct election election;
	struct loop_timer again, deadline;
	struct kube_request *request;
	char *path; /* of all Leases of the namespace */
	uint64_t sent_us;
	bool is_leader; /* told */
	bool is_troubled;
};

/* Goes on while the machine sleeps: others wait on. */
static uint64_t now_us(void)
{
	struct timespec t;

	(void)clock_gettime(CLOCK_BOOTTIME, &t);
	return (uint64_t)t.tv_sec * 1000000 + (uint64_t)t.tv_nsec / 1000;
}

static void wall_now(char ret[40])
{
	uint64_t us = now_realtime_us();
	time_t s = (time_t)(us / 1000000);
	struct tm tm;
	size_t n;

	(void)gmtime_r(&s, &tm);
	n = strftime(ret, 40, "%Y-%m-%dT%H:%M:%S", &tm);
	(void)snprintf(ret + n, 40 - n, ".%06uZ", (unsigned int)(us % 1000000));
}

static void told(struct leader *l)
{
	bool is_leader = election_is_leader(&l->election, now_us());

	if (is_leader)
		(void)loop_timer_set(l->config.loop, &l->deadline,
				     l->election.renewed_us + ELECTION_DEADLINE_US - now_us());
	else
		loop_timer_del(&l->deadline);
	if (is_leader == l->is_leader)
		return;
	l->is_leader = is_leader;
	log_info("control", "%s lease=%s holder=%s",
		 is_leader ? "we are the leader" : "we are not the leader any more",
		 l->config.lease, l->election.holder);
	l->config.on_change(l->config.arg, is_leader);
}

static void on_deadline(struct loop_timer *t)
{
	told(container_of(t, struct leader, deadline));
}

static void again_after(struct leader *l, uint64_t delay_us)
{
	uint32_t noise;

	random_bytes(&noise, sizeof(noise));
	(void)loop_timer_set(l->config.loop, &l->again, delay_us + delay_us * (noise % 256) / 1024);
}

/* Each trouble once, until it works again. */
static void trouble(struct leader *l, const struct kube_answer *a)
{
	if (!l->is_troubled)
		log_warn("control", "Lease %s status=%d: %.200s", l->config.lease, a->status,
			 a->error ? a->message : a->body);
	l->is_troubled = true;
}

static int request(struct leader *l, const char *method, const char *path, const char *body,
		   void (*on_done)(void *arg, const struct kube_answer *a))
{
	const struct kube_request_config config = {
		.method = method,
		.path = path,
		.body = body,
		.timeout_us = REQUEST_US,
		.on_done = on_done,
		.arg = l,
	};

	l->sent_us = now_us();
	return kube_request_new(l->config.kube, &config, &l->request);
}

static void on_written(void *arg, const struct kube_answer *a)
{
	struct leader *l = arg;
	json_t *lease;

	l->request = NULL;
	if (a->error == 0 && a->status / 100 == 2) {
		lease = kube_json_load(a->body, a->len);
		election_won(&l->election, lease, l->sent_us);
		json_decref(lease);
		l->is_troubled = false;
		again_after(l, l->config.retry_us);
	} else if (a->error == 0 && a->status == 409) {
		/* another was first: look who */
		l->election.version[0] = '\0';
		again_after(l, 0);
	} else {
		trouble(l, a);
		l->election.version[0] = '\0';
		again_after(l, l->config.retry_us);
	}
	told(l);
}

static char *lease_text(const struct leader *l, bool is_release)
{
	char wall[40];
	json_t *lease;
	char *text;

	wall_now(wall);
	lease = election_lease(&l->election, l->config.namespace_, l->config.lease, wall,
			       is_release);
	text = lease ? json_dumps(lease, JSON_COMPACT) : NULL;
	json_decref(lease);
	return text;
}

static int lease_write(struct leader *l, enum election_action action)
{
	_cleanup_(freep) char *text = lease_text(l, false);
	_cleanup_(freep) char *path = str_format("%s/%s", l->path, l->config.lease);

	if (!text || !path)
		return -ENOMEM;
	return action == ELECTION_CREATE ? request(l, "POST", l->path, text, on_written)
					 : request(l, "PUT", path, text, on_written);
}

static void on_seen(void *arg, const struct kube_answer *a)
{
	enum election_action action = ELECTION_WAIT;
	struct leader *l = arg;
	json_t *lease;

	l->request = NULL;
	if (a->error || (a->status != 200 && a->status != 404)) {
		trouble(l, a);
	} else {
		lease = a->status == 200 ? kube_json_load(a->body, a->len) : NULL;
		action = election_see(&l->election, lease, now_us());
		json_decref(lease);
		told(l);
	}
	if (action == ELECTION_WAIT || lease_write(l, action) < 0)
		again_after(l, l->config.retry_us);
}

static void on_again(struct loop_timer *t)
{
	struct leader *l = container_of(t, struct leader, again);
	_cleanup_(freep) char *path = str_format("%s/%s", l->path, l->config.lease);
	int r = -ENOMEM;

	if (l->request)
		return;
	/* a leader need not look: what it wrote last is what there is, or the write is refused */
	if (l->is_leader && *l->election.version)
		r = lease_write(l, ELECTION_UPDATE);
	else if (path)
		r = request(l, "GET", path, NULL, on_seen);
	if (r < 0)
		again_after(l, l->config.retry_us);
}

static int identity_set(struct leader *l, const char *identity)
{
	char host[HOST_SIZE] = "", own[HOST_SIZE + 24];

	if (!identity)
		identity = getenv("POD_NAME");
	if (!identity || !*identity) {
		(void)gethostname(host, sizeof(host) - 1);
		(void)snprintf(own, sizeof(own), "%s_%d", host, (int)getpid());
		identity = own;
	}
	return str_copy(l->election.self, sizeof(l->election.self), identity);
}

int leader_new(const struct leader_config *config, struct leader **ret)
{
	_cleanup_(leader_freep) struct leader *l = calloc(1, sizeof(*l));
	int r;

	if (!l)
		return -ENOMEM;
	l->config = *config;
	l->config.lease = config->lease ? config->lease : LEADER_LEASE;
	l->config.retry_us = config->retry_us ? config->retry_us : ELECTION_RETRY_US;
	l->again.on_timer = on_again;
	l->deadline.on_timer = on_deadline;
	l->path =
		str_format("/apis/coordination.k8s.io/v1/namespaces/%s/leases", config->namespace_);
	r = l->path ? identity_set(l, config->identity) : -ENOMEM;
	if (r == 0)
		r = loop_timer_set(config->loop, &l->again, 0);
	if (r < 0)
		return r;
	*ret = TAKE_PTR(l);
	return 0;
}

void leader_release(struct leader *l)
{
	_cleanup_(freep) char *path = str_format("%s/%s", l->path, l->config.lease);
	_cleanup_(freep) char *text = NULL;
	struct kube_reply reply = {0};
	int r;

	if (!l->is_leader)
		return;
	loop_timer_del(&l->again);
	l->request = kube_request_cancel(l->request);
	election_lost(&l->election);
	told(l);
	text = lease_text(l, true);
	if (!text || !path)
		return;
	r = kube_call(
		l->config.loop, l->config.kube,
		&(struct kube_request_config){
			.method = "PUT", .path = path, .body = text, .timeout_us = RELEASE_US},
		&reply);
	if (r < 0 || !kube_reply_is_ok(&reply))
		log_info("control", "Lease %s not released: %s", l->config.lease, reply.message);
	kube_reply_clear(&reply);
}

struct leader *leader_free(struct leader *l)
{
	if (!l)
		return NULL;
	(void)kube_request_cancel(l->request);
	loop_timer_del(&l->again);
	loop_timer_del(&l->deadline);
	free(l->path);
	free(l);
	return NULL;
}

bool leader_is_leader(const struct leader *l)
{
	return l->is_leader;
}

const char *leader_holder(const struct leader *l)
{
	return l->election.holder;
}

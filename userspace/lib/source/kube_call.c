/* SPDX-License-Identifier: Apache-2.0 */
#include "source/kube_call.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/macros.h"
#include "base/str.h"
#include "source/kube_json.h"

#define CALL_US 10000000ULL
#define DONE    1

/** struct call - one request that is waited for. */
struct call {
	struct loop *loop;
	struct kube_reply *reply;
	int error;
};

struct pause {
	struct loop *loop;
	struct loop_timer timer;
};

/* What the server's Status says. */
static void refusal_read(struct kube_reply *r)
{
	const char *text = json_string_value(json_object_get(r->body, "message"));

	if (text)
		(void)snprintf(r->message, sizeof(r->message), "%s", text);
	else
		(void)snprintf(r->message, sizeof(r->message), "status %d", r->status);
}

static void on_done(void *arg, const struct kube_answer *a)
{
	struct call *c = arg;

	c->error = a->error;
	c->reply->status = a->status;
	if (a->error) {
		(void)snprintf(c->reply->message, sizeof(c->reply->message), "%s", a->message);
	} else {
		c->reply->body = kube_json_load(a->body, a->len);
		if (!kube_reply_is_ok(c->reply))
			refusal_read(c->reply);
	}
	loop_stop(c->loop, DONE);
}

int kube_call(struct loop *loop, struct kube_client *client,
	      const struct kube_request_config *config, struct kube_reply *ret)
{
	struct call c = {.loop = loop, .reply = ret};
	struct kube_request_config mine = *config;
	struct kube_request *q;
	int r;

	kube_reply_clear(ret);
	mine.timeout_us = config->timeout_us ? config->timeout_us : CALL_US;
	mine.on_data = NULL;
	mine.on_done = on_done;
	mine.arg = &c;
	r = kube_request_new(client, &mine, &q);
	if (r < 0) {
		(void)snprintf(ret->message, sizeof(ret->message), "%s", strerror(-r));
		return r;
	}
	r = loop_run(loop);
	if (r == DONE)
		return c.error;
	(void)kube_request_cancel(q);
	return r < 0 ? r : -EINTR;
}

bool kube_reply_is_ok(const struct kube_reply *r)
{
	return r->status / 100 == 2;
}

void kube_reply_clear(struct kube_reply *r)
{
	json_decref(r->body);
	*r = (struct kube_reply){0};
}

static void on_pause_end(struct loop_timer *t)
{
	loop_stop(container_of(t, struct pause, timer)->loop, DONE);
}

int kube_pause(struct loop *loop, uint64_t pause_us)
{
	struct pause p = {.loop = loop, .timer = {.on_timer = on_pause_end}};
	int r = loop_timer_set(loop, &p.timer, pause_us);

	if (r == 0)
		r = loop_run(loop);
	loop_timer_del(&p.timer);
	return r == DONE ? 0 : r < 0 ? r : -EINTR;
}

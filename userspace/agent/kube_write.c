/* SPDX-License-Identifier: Apache-2.0 */
#include "kube_write.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/list.h"
#include "base/log.h"

#define IN_FLIGHT_MAX 8
#define TIMEOUT_US    (10ULL * 1000 * 1000)
#define AGAIN_US      (60ULL * 1000 * 1000) /* a right may be given meanwhile */
#define KNOWN_US      (2 * AGAIN_US)        /* without another try: nothing is left to write */
#define RIGHTS_MAX    4

struct write {
	struct kube_write *owner;
	struct list link;
	struct kube_request *request;
	struct kube_write_request what; /* right, on_done, arg */
};

struct kube_write {
	struct loop *loop;
	struct kube_client *client;
	struct list writes;
	unsigned int in_flight;
	struct {
		const char *right;
		uint64_t at_us; /* when it was refused last */
		bool is_missing;
		char text[256];
	} rights[RIGHTS_MAX];
};

static size_t right_find(struct kube_write *w, const char *right)
{
	size_t i = 0;

	while (i < RIGHTS_MAX - 1 && w->rights[i].right && !streq(w->rights[i].right, right))
		i++;
	w->rights[i].right = right;
	return i;
}

/* Told when it begins, and when it ends. */
static void right_note(struct kube_write *w, const char *right, bool is_missing)
{
	size_t i = right_find(w, right);

	if (is_missing && !w->rights[i].is_missing)
		log_warn("agent",
			 "the API server does not let the agent %s: give its ServiceAccount that "
			 "right, as the chart does",
			 right);
	else if (!is_missing && w->rights[i].is_missing)
		log_info("agent", "the API server lets the agent %s again", right);
	w->rights[i].is_missing = is_missing;
	w->rights[i].at_us = loop_now_us(w->loop);
}

static void write_end(struct write *one)
{
	list_del(&one->link);
	one->owner->in_flight--;
	free(one);
}

/* In a namespace that goes nothing is made, whoever asks. */
static bool is_going(const struct kube_answer *answer)
{
	return answer->status == 403 && strstr(answer->body, "NamespaceTerminating");
}

static void on_done(void *arg, const struct kube_answer *answer)
{
	struct write *one = arg;
	struct kube_write_request what = one->what;
	struct kube_write *w = one->owner;

	write_end(one);
	if (answer->error == 0 && is_going(answer))
		log_debug("agent", "cannot %s: its namespace goes", what.right);
	else if (answer->error == 0 && (answer->status == 401 || answer->status == 403))
		right_note(w, what.right, true);
	else if (answer->error == 0 && answer->status / 100 == 2)
		right_note(w, what.right, false);
	else
		log_debug("agent", "cannot %s: %s", what.right, answer->message);
	if (what.on_done)
		what.on_done(what.arg, answer->error ? 0 : answer->status);
}

int kube_write_send(struct kube_write *w, const struct kube_write_request *request)
{
	struct kube_request_config config = {
		.method = request->method,
		.path = request->path,
		.content_type = request->content_type,
		.body = request->body,
		.timeout_us = TIMEOUT_US,
		.on_done = on_done,
	};
	size_t i = right_find(w, request->right);
	struct write *one;
	int r;

	if (w->rights[i].is_missing && loop_now_us(w->loop) - w->rights[i].at_us < AGAIN_US)
		return -EACCES;
	if (w->in_flight == IN_FLIGHT_MAX)
		return -EBUSY;
	one = calloc(1, sizeof(*one));
	if (!one)
		return -ENOMEM;
	one->owner = w;
	one->what = (struct kube_write_request){
		.right = request->right, .on_done = request->on_done, .arg = request->arg};
	config.arg = one;
	r = kube_request_new(w->client, &config, &one->request);
	if (r < 0) {
		free(one);
		return r;
	}
	list_add_tail(&w->writes, &one->link);
	w->in_flight++;
	return 0;
}

const char *kube_write_missing(struct kube_write *w, size_t i)
{
	for (size_t at = 0; w && at < RIGHTS_MAX; at++) {
		uint64_t ago_us = loop_now_us(w->loop) - w->rights[at].at_us;

		if (!w->rights[at].is_missing || ago_us >= KNOWN_US || i-- > 0)
			continue;
		(void)snprintf(w->rights[at].text, sizeof(w->rights[at].text),
			       "the API server does not let the agent %s: give its ServiceAccount "
			       "that right, as the chart does (refused %" PRIu64 " s ago)",
			       w->rights[at].right, ago_us / 1000000);
		return w->rights[at].text;
	}
	return NULL;
}

int kube_write_new(struct loop *loop, struct kube_client *client, struct kube_write **ret)
{
	struct kube_write *w = calloc(1, sizeof(*w));

	if (!w)
		return -ENOMEM;
	w->loop = loop;
	w->client = client;
	list_init(&w->writes);
	*ret = w;
	return 0;
}

struct kube_write *kube_write_free(struct kube_write *w)
{
	struct write *one, *tmp;

	if (!w)
		return NULL;
	list_for_each_entry_safe (one, tmp, &w->writes, link) {
		kube_request_cancel(one->request);
		write_end(one);
	}
	free(w);
	return NULL;
}

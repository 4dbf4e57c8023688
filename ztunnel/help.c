/* SPDX-License-Identifier: Apache-2.0 */
#include "ztunnel/help.h"

#include <stdlib.h>

#include "ztunnel/worker.h"
#include "ztunnel/worker_pod.h"

/* A loop that has waited for less than an eighth of this time has no time left. Longer than a
 * thread is without a processor because of others, which is no reason to wake another one. */
#define SPAN_US  (10 * 1000ULL)
#define IDLE_MIN 8
/* Help is wanted for so long after it was needed last. */
#define HELP_US (200 * 1000ULL)

struct help_message {
	struct message m;
	unsigned int home;
};

static unsigned int home_of(const struct worker_pod *wp)
{
	return (unsigned int)(wp->pod->netns_cookie % wp->worker->count);
}

bool help_accepts(const struct worker_pod *wp)
{
	unsigned int home = home_of(wp);

	return home == wp->worker->index || atomic_load(&wp->worker->all[home].help.is_asked);
}

static void run_help(void *target, struct message *m)
{
	struct help_message *h = container_of(m, struct help_message, m);
	struct worker *w = target;
	struct worker_pod *wp;

	if (w)
		list_for_each_entry (wp, &w->pod_list, link) {
			if (home_of(wp) == h->home)
				worker_pod_watch(wp);
		}
	free(h);
}

/* ask() - the others begin to accept, or end it. Who does not hear of it goes on as before. */
static void ask(struct worker *w, bool is_asked)
{
	atomic_store(&w->help.is_asked, is_asked);
	for (unsigned int i = 0; i < w->count; i++) {
		struct help_message *h = i == w->index ? NULL : calloc(1, sizeof(*h));

		if (!h)
			continue;
		h->m.run = run_help;
		h->home = w->index;
		inbox_post(&w->all[i].inbox, &h->m);
	}
}

static void on_turn(void *arg)
{
	struct worker *w = arg;
	struct help *h = &w->help;
	uint64_t now = loop_now_us(w->loop), span = now - h->since_us, waited;
	bool is_asked = atomic_load_explicit(&h->is_asked, memory_order_relaxed);

	if (span < SPAN_US)
		return;
	waited = loop_waited_us(w->loop);
	if ((waited - h->waited_us) * IDLE_MIN < span)
		h->busy_us = now;
	h->since_us = now;
	h->waited_us = waited;
	if (is_asked != (h->busy_us > 0 && now - h->busy_us < HELP_US))
		ask(w, !is_asked);
}

void help_init(struct worker *w)
{
	w->help.since_us = loop_now_us(w->loop);
	if (w->count > 1)
		loop_set_turn(w->loop, on_turn, w);
}

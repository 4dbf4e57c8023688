/* SPDX-License-Identifier: Apache-2.0 */
/* connections_why - open connections, each with what decides about it: the ztunnel of its
 * destination is asked to judge it as it is (who the client has proven to be, the pod's own port),
 * and explain's words make a sentence of that. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "admin.h"
#include "base/cleanup.h"
#include "base/str.h"
#include "connections.h"
#include "explain.h"
#include "json.h"
#include "net/addr.h"
#include "term.h"

#define GONE                                                                                       \
	"its pod is no workload of the mesh any more, and what was open then is left to it until " \
	"it ends"

struct why {
	struct admin_node *nodes;
	size_t count;
	json_t *asked; /* "node target" -> {inbound, by}: what is alike is asked once a round */
};

static bool is_inbound(const json_t *c)
{
	return streq(json_text(c, "direction", ""), "inbound");
}

static bool is_plain(const json_t *c)
{
	return streq(json_text(c, "protocol", ""), "TCP");
}

static const struct admin_node *find_node(struct why *w, const char *name)
{
	for (size_t i = 0; i < w->count; i++)
		if (streq(w->nodes[i].name, name))
			return &w->nodes[i];
	if (w->count == 0 || w->count >= ADMIN_NODES_MAX ||
	    !admin_find_beside(&w->nodes[0], name, &w->nodes[w->count]))
		return NULL;
	return &w->nodes[w->count++];
}

/* question_of() - for the ztunnel of the destination; caller frees. NULL: out of memory. */
static char *question_of(const json_t *c)
{
	_cleanup_(freep) char *uid =
		admin_escape(json_text(c, is_inbound(c) ? "uid" : "peerUid", ""));
	_cleanup_(freep) char *identity = admin_escape(json_text(c, "clientIdentity", ""));
	_cleanup_(freep) char *dst = admin_escape(json_text(c, "target", ""));
	char src[CV_ADDR_STRLEN] = "";
	struct cv_sockaddr sa;

	if (!uid || !identity || !dst)
		return NULL;
	if (cv_sockaddr_parse(json_text(c, "src", ""), &sa) == 0)
		(void)cv_addr_format(&sa.addr, src);
	return str_format("/explain/inbound?to=%s&dst=%s&src=%s&identity=%s", uid, dst, src,
			  identity);
}

/* ask_one() - Return: what it says; {unknown: why}; NULL: it does not answer. New reference. */
static json_t *ask_one(const struct admin_node *n, const char *question)
{
	json_t *answer = NULL;
	int r = n ? admin_ask_json(n, "ztunnel", question, &answer) : -ENOENT;

	if (r < 0 || r == 200)
		return r < 0 ? NULL : answer;
	json_decref(answer);
	return r == 404 ? json_pack("{s:s}", "unknown", GONE) : NULL;
}

/* ask() - the node that decides, else the one that tells of the connection: it has all policies,
 * too. Return: {inbound, by}, new reference; NULL: out of memory. */
static json_t *ask(struct why *w, const json_t *c, const char *question)
{
	const char *teller = json_text(c, "node", "");
	const char *home = is_inbound(c) ? teller : json_text(c, "peerNode", "");
	json_t *inbound = ask_one(find_node(w, home), question);
	const char *by = home;

	if (!inbound && !streq(home, teller)) {
		inbound = ask_one(find_node(w, teller), question);
		by = teller;
	}
	if (!inbound)
		inbound = json_pack("{s:s}", "unknown", "no ztunnel has answered that");
	return json_pack("{s:o, s:s}", "inbound", inbound, "by", by);
}

static int judge(struct why *w, json_t *record)
{
	_cleanup_(freep) char *question = question_of(record), *key = NULL;
	json_t *known;

	if (!is_inbound(record) && !json_is_true(json_object_get(record, "peerIsEnrolled")) &&
	    is_plain(record))
		return connections_conclude(record, NULL, "");
	key = str_format("%s %s %s", json_text(record, "node", ""),
			 json_text(record, "peerNode", ""), question ? question : "");
	if (!question || !key)
		return -ENOMEM;
	known = json_object_get(w->asked, key);
	if (!known) {
		known = ask(w, record, question);
		if (json_object_set_new(w->asked, key, known) < 0)
			return -ENOMEM;
	}
	return connections_conclude(record, json_object_get(known, "inbound"),
				    json_text(known, "by", ""));
}

int connections_why(json_t *records, struct admin_node *nodes, size_t count)
{
	_cleanup_(json_decrefp) json_t *asked = json_object();
	struct why w = {.nodes = nodes, .count = count, .asked = asked};
	json_t *c;
	size_t i;
	int r = asked ? 0 : -ENOMEM;

	json_array_foreach (records, i, c) {
		if (r == 0)
			r = judge(&w, c);
	}
	return r;
}

/* The same as an answer of explain. */

static json_t *pod_of(const json_t *c, bool is_peer)
{
	const char *name = json_text(c, is_peer ? "peer" : "pod", "");

	if (!*name)
		return json_null();
	return json_pack("{s:s, s:s}", "name", name, "namespace",
			 json_text(c, is_peer ? "peerNamespace" : "namespace", ""));
}

static json_t *client_of(const json_t *c)
{
	json_t *from = pod_of(c, is_inbound(c));

	if (!json_is_object(from))
		from = json_object();
	(void)json_object_set_new(from, "address", json_string(json_text(c, "src", "")));
	(void)json_object_set_new(from, "identity",
				  json_string(json_text(c, "clientIdentity", "")));
	return from;
}

static json_t *answer_of(const json_t *c, json_t *inbound, const char *by)
{
	/* the receiving end can but guess what was dialled */
	const char *service = is_inbound(c) ? "" : json_text(c, "service", "");
	const char *decider =
		is_inbound(c) ? json_text(c, "node", "") : json_text(c, "peerNode", "");
	json_t *answer =
		json_pack("{s:o, s:{s:s, s:o, s:o}, s:{s:s}, s:[{s:s, s:o, s:O?}], s:[]}", "from",
			  client_of(c), "to", "address", json_text(c, "originalDst", ""), "service",
			  *service ? json_string(service) : json_null(), "workload",
			  pod_of(c, !is_inbound(c)), "kernel", "path",
			  streq(json_text(c, "protocol", ""), "DIRECT") ? "direct" : "tunnel",
			  "routes", "kind", is_plain(c) ? "plain" : "tunnel", "workload",
			  pod_of(c, !is_inbound(c)), "inbound", inbound, "notAsked");

	if (answer && inbound && !streq(by, decider))
		(void)json_array_append_new(
			json_object_get(answer, "notAsked"),
			json_sprintf("ztunnel of node %s, which decides (%s has judged it by its "
				     "own copy of the policies)",
				     *decider ? decider : "unknown", by));
	return answer;
}

/* How a connection can be open all the same. */
static char *sentence_of(const json_t *record, const json_t *answer)
{
	const char *said = json_text(answer, "sentence", "");

	if (!json_is_true(json_object_get(record, "open")))
		return str_format("%s It is not open yet.", said);
	if (streq(json_text(answer, "verdict", ""), "denied"))
		return str_format("%s It was let in before that, and is being closed.", said);
	return str_format("%s", said);
}

int connections_conclude(json_t *record, json_t *inbound, const char *by)
{
	_cleanup_(json_decrefp) json_t *answer = answer_of(record, inbound, by);
	const char *unknown = json_text(inbound, "unknown", NULL);
	_cleanup_(freep) char *sentence = NULL;

	if (!answer || (!unknown && explain_conclude(answer) < 0))
		return -ENOMEM;
	sentence = unknown ? explain_unjudged(answer, unknown) : sentence_of(record, answer);
	if (!sentence ||
	    json_object_set_new(record, "verdict",
				json_string(json_text(answer, "verdict", "unknown"))) < 0 ||
	    json_object_set_new(record, "policy", json_string(json_text(inbound, "policy", ""))) <
		    0 ||
	    json_object_set_new(record, "why", json_string(sentence)) < 0 ||
	    json_object_set_new(record, "evaluatedBy", json_string(by)) < 0)
		return -ENOMEM;
	return 0;
}

static const char *color_of(const char *verdict)
{
	if (streq(verdict, "allowed"))
		return term_color(TERM_GREEN);
	return term_color(streq(verdict, "denied") ? TERM_RED : TERM_BOLD);
}

static int print_one(const json_t *c)
{
	const char *verdict = json_text(c, "verdict", "?");
	_cleanup_(freep) char *head = NULL;
	char age[TERM_NUMBER];

	head = str_format("%s/%s, %s, %s, %s old, from %s to %s", json_text(c, "namespace", ""),
			  json_text(c, "pod", ""), is_inbound(c) ? "in" : "out",
			  json_text(c, "protocol", ""),
			  term_age(json_number_value(json_object_get(c, "ageSeconds")), age),
			  json_text(c, "src", ""), json_text(c, "target", ""));
	if (!head)
		return -ENOMEM;
	printf("%s%s%s\n", color_of(verdict), verdict, term_color(TERM_NO_COLOR));
	term_wrap("  ", "  ", head);
	term_wrap("  ", "  ", json_text(c, "why", ""));
	return 0;
}

int connections_print_why(const json_t *records)
{
	const json_t *c;
	size_t i;

	json_array_foreach (records, i, c)
		if (print_one(c) < 0)
			return -ENOMEM;
	term_wrap(json_array_size(records) ? "\n" : "", "",
		  "What the kernel lets past the mesh by itself is not followed while it is open: "
		  "culvert explain --past says what that was, and explain why.");
	return 0;
}

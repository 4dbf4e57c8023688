/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/str.h"
#include "explain.h"
#include "json.h"
#include "table.h"
#include "term.h"

#define WORDS_MAX 1024

/* What one route comes to. */
enum outcome {
	OUTCOME_ALLOWED,
	OUTCOME_DENIED,  /* by policy, at the destination */
	OUTCOME_REFUSED, /* by the source's side */
	OUTCOME_OUTSIDE, /* nobody of the mesh looks at it */
};

/* Both ends as the sentence names them. */
struct ends {
	char from[WORDS_MAX];
	char to[WORDS_MAX];
};

static void ends_of(const json_t *answer, struct ends *ret)
{
	const json_t *from = json_object_get(answer, "from"), *to = json_object_get(answer, "to");
	const json_t *w = json_object_get(to, "workload");
	const char *service = strchr(json_text(to, "service", ""), '/');
	const char *address = json_text(to, "address", "");

	if (json_text(from, "name", NULL))
		(void)snprintf(ret->from, sizeof(ret->from), "%s/%s",
			       json_text(from, "namespace", ""), json_text(from, "name", ""));
	else
		(void)snprintf(ret->from, sizeof(ret->from), "%s", json_text(from, "address", ""));
	if (service)
		(void)snprintf(ret->to, sizeof(ret->to), "%s (%s)", service + 1, address);
	else if (w && !json_is_null(w))
		(void)snprintf(ret->to, sizeof(ret->to), "%s/%s (%s)",
			       json_text(w, "namespace", ""), json_text(w, "name", ""), address);
	else
		(void)snprintf(ret->to, sizeof(ret->to), "%s", address);
}

static const char *kernel_path(const json_t *answer)
{
	return json_text(json_object_get(answer, "kernel"), "path", "");
}

/* Is this endpoint one that the kernel leads to without a tunnel? */
static bool is_direct(const json_t *answer, const json_t *route)
{
	const json_t *list = json_object_get(json_object_get(answer, "kernel"), "direct");

	return list ? json_has_text(list, json_text(route, "target", ""))
		    : streq(kernel_path(answer), "direct");
}

/* Of a service's endpoints some, and of the others none. */
static bool is_partly_direct(const json_t *answer)
{
	const json_t *kernel = json_object_get(answer, "kernel");

	return streq(kernel_path(answer), "tunnel") &&
	       json_array_size(json_object_get(kernel, "direct")) > 0;
}

bool explain_lacks_certificate(const json_t *answer, const json_t *route)
{
	return streq(json_text(route, "kind", ""), "tunnel") && !is_direct(answer, route) &&
	       json_is_true(json_object_get(answer, "hasAskedSource")) &&
	       !json_is_object(json_object_get(answer, "certificate"));
}

static bool is_outsider(const json_t *answer)
{
	return json_is_false(json_object_get(json_object_get(answer, "from"), "isEnrolled"));
}

static enum outcome outcome_of(const json_t *answer, const json_t *route)
{
	const json_t *inbound = json_object_get(route, "inbound");

	/* who is not in the mesh, or goes past it, is refused by nobody of it */
	if (streq(json_text(route, "kind", ""), "refuse") &&
	    (is_outsider(answer) || streq(kernel_path(answer), "excluded")))
		return OUTCOME_OUTSIDE;
	if (streq(json_text(route, "kind", ""), "refuse") ||
	    explain_lacks_certificate(answer, route))
		return OUTCOME_REFUSED;
	if (!json_is_object(inbound))
		return json_is_true(json_object_get(route, "isWaypoint")) ? OUTCOME_ALLOWED
									  : OUTCOME_OUTSIDE;
	return json_is_true(json_object_get(inbound, "allowed")) ? OUTCOME_ALLOWED : OUTCOME_DENIED;
}

/* The reasons that authz_check() gives, as part of a sentence. */
static void say_reason(const json_t *inbound, char *buf, size_t size)
{
	const char *reason = json_text(inbound, "reason", "");
	const char *policy = json_text(inbound, "policy", "");

	if (streq(reason, "allow policy matched"))
		(void)snprintf(buf, size, "the ALLOW policy %s matches", policy);
	else if (streq(reason, "explicitly denied") &&
		 (strstr(policy, "/istio_converted_static_strict") ||
		  strstr(policy, "/converted_peer_authentication_")))
		(void)snprintf(buf, size,
			       "PeerAuthentication asks for mutual TLS: %s, which stands for it, "
			       "matches",
			       policy);
	else if (streq(reason, "explicitly denied"))
		(void)snprintf(buf, size, "the DENY policy %s matches", policy);
	else if (streq(reason, "no allow policies"))
		(void)snprintf(buf, size, "no ALLOW policy applies and no DENY policy matches");
	else if (streq(reason, "allow policies exist, but none matched"))
		(void)snprintf(buf, size, "ALLOW policies apply and none of them matches");
	else
		(void)snprintf(buf, size, "%s%s%s", reason, *policy ? ": " : "", policy);
}

static void say_way(const json_t *answer, const json_t *route, char *buf, size_t size)
{
	const json_t *from = json_object_get(answer, "from");
	const char *kind = json_text(route, "kind", "");

	if (streq(kernel_path(answer), "direct"))
		(void)snprintf(buf, size,
			       "directly inside the node, vouched for by the kernel as %s",
			       json_text(from, "identity", "?"));
	else if (is_partly_direct(answer))
		(void)snprintf(buf, size,
			       "directly where the kernel leads to the endpoint, else through a "
			       "mutual TLS tunnel, as %s",
			       json_text(from, "identity", "?"));
	else if (streq(kind, "tunnel"))
		(void)snprintf(buf, size, "through a mutual TLS tunnel as %s",
			       json_text(from, "identity", "?"));
	else
		(void)snprintf(buf, size, "in plaintext, without an identity");
}

/* say_route() - the sentence when every endpoint answers alike. */
static char *say_route(const json_t *answer, const json_t *route, const struct ends *e)
{
	const json_t *inbound = json_object_get(route, "inbound");
	char reason[WORDS_MAX], way[WORDS_MAX];

	say_way(answer, route, way, sizeof(way));
	say_reason(inbound, reason, sizeof(reason));
	if (explain_lacks_certificate(answer, route))
		return str_format("%s is refused at %s: its ztunnel has no certificate for %s.",
				  e->from, e->to,
				  json_text(json_object_get(answer, "from"), "identity", ""));
	if (json_is_true(json_object_get(route, "isWaypoint")))
		return str_format("%s goes to %s %s, by way of its waypoint, which decides.",
				  e->from, e->to, way);
	switch (outcome_of(answer, route)) {
	case OUTCOME_ALLOWED:
		return str_format("%s reaches %s %s, and is let in because %s.", e->from, e->to,
				  way, reason);
	case OUTCOME_DENIED:
		return str_format("%s comes to %s %s, and is denied there because %s.", e->from,
				  e->to, way, reason);
	case OUTCOME_REFUSED:
		return str_format("%s is refused on its own node when it connects to %s: %s.",
				  e->from, e->to, json_text(route, "error", ""));
	case OUTCOME_OUTSIDE:
		break;
	}
	if (streq(json_text(route, "kind", ""), "refuse"))
		return str_format("%s is not in the mesh, so the network alone decides what "
				  "becomes of it at %s: %s there is known to the mesh.",
				  e->from, e->to,
				  json_text(json_object_get(answer, "to"), "service", NULL)
					  ? "no endpoint"
					  : "nothing");
	return str_format(
		"%s reaches %s in plaintext as it would without the mesh: %s.", e->from, e->to,
		json_is_true(json_object_get(route, "isExcluded"))
			? "an annotation of the endpoint's pod leaves it to the application, so "
			  "no policy and no TLS applies"
			: "the endpoint is not enrolled, so no policy and no TLS applies");
}

/* The kernel has the verdict, ztunnel the reason. */
static char *say_denied_by_kernel(const json_t *answer, const struct ends *e)
{
	const json_t *inbound =
		json_object_get(json_array_get(json_object_get(answer, "routes"), 0), "inbound");
	char reason[WORDS_MAX] = "a policy denied it when ztunnel was last asked";

	if (json_is_false(json_object_get(inbound, "allowed")))
		say_reason(inbound, reason, sizeof(reason));
	return str_format("%s is refused at connect(2) to %s, inside the node, because %s.",
			  e->from, e->to, reason);
}

/* The source's ztunnel has no part in it, the destination's has. */
static char *say_excluded(const struct ends *e, const json_t *inbound)
{
	char reason[WORDS_MAX];

	say_reason(inbound, reason, sizeof(reason));
	return str_format("%s comes to %s in plaintext, without an identity, for an annotation of "
			  "the pod or its namespace excludes it, and is %s because %s.",
			  e->from, e->to,
			  json_is_true(json_object_get(inbound, "allowed")) ? "let in"
									    : "denied there",
			  reason);
}

/* say_kernel() - where the kernel alone decides; NULL: ztunnel does. @inbound: what all endpoints
 * say alike; NULL: they do not, or nothing. */
static char *say_kernel(const json_t *answer, const struct ends *e, const json_t *inbound)
{
	const char *path = kernel_path(answer);

	if (streq(path, "self"))
		return str_format("%s dials itself: the kernel lets it pass, and no policy "
				  "applies.",
				  e->from);
	if (streq(path, "ztunnel_dead"))
		return str_format("%s is refused at connect(2) to %s: no ztunnel serves the pod "
				  "now, and plaintext is never let out.",
				  e->from, e->to);
	if (streq(path, "gone"))
		return str_format(
			"%s is refused by ztunnel at %s, for ten seconds from its end: it "
			"was a destination of the mesh, and what may still lead there "
			"would do so in plaintext.",
			e->from, e->to);
	if (streq(path, "dns"))
		return str_format("%s is connected to ztunnel's resolver when it asks %s: names "
				  "of the mesh are answered there, others by that nameserver.",
				  e->from, e->to);
	if (streq(path, "policy"))
		return say_denied_by_kernel(answer, e);
	if (streq(path, "registry_only"))
		return str_format("%s is refused at connect(2) to %s: the registry does not have "
				  "it, and outboundTrafficPolicy is REGISTRY_ONLY; a ServiceEntry "
				  "for it would let it out.",
				  e->from, e->to);
	if (streq(path, "excluded") && inbound)
		return say_excluded(e, inbound);
	if (streq(path, "excluded"))
		return str_format(
			"%s reaches %s as it would without the mesh: an annotation of "
			"the pod or its namespace excludes it, so no TLS and no identity.",
			e->from, e->to);
	if (streq(path, "uncaptured"))
		return str_format("%s is not captured on its node now, so it comes to %s in "
				  "plaintext, without an identity.",
				  e->from, e->to);
	if (streq(path, "passthrough"))
		return str_format("%s reaches %s as it would without the mesh: it is not a mesh "
				  "destination, so the kernel passes it by ztunnel, without TLS.",
				  e->from, e->to);
	return NULL;
}

static const char *verdict_of(const json_t *answer, const unsigned int count[], size_t total)
{
	const char *path = kernel_path(answer);

	if (streq(path, "ztunnel_dead") || streq(path, "registry_only") || streq(path, "gone"))
		return "refused";
	if (streq(path, "policy"))
		return "denied";
	if (streq(path, "self") || streq(path, "passthrough") || streq(path, "dns") ||
	    (streq(path, "excluded") && total == 0))
		return "outside";
	if (streq(path, "uncaptured"))
		return "unknown";
	if (total == 0)
		return "unknown";
	if (count[OUTCOME_ALLOWED] == total)
		return "allowed";
	if (count[OUTCOME_DENIED] == total)
		return "denied";
	if (count[OUTCOME_REFUSED] == total)
		return "refused";
	return count[OUTCOME_OUTSIDE] == total ? "outside" : "depends";
}

static char *say_all(const json_t *answer, const unsigned int count[], size_t total)
{
	const json_t *routes = json_object_get(answer, "routes");
	bool is_same =
		total > 0 && (count[OUTCOME_ALLOWED] == total || count[OUTCOME_DENIED] == total);
	struct ends e;
	char *kernel;

	ends_of(answer, &e);
	kernel = say_kernel(answer, &e,
			    is_same ? json_object_get(json_array_get(routes, 0), "inbound") : NULL);
	if (kernel)
		return kernel;
	if (total == 0)
		return str_format("nothing is known about %s to %s.", e.from, e.to);
	for (size_t i = 0; i <= OUTCOME_OUTSIDE; i++)
		if (count[i] == total)
			return say_route(answer, json_array_get(routes, 0), &e);
	return str_format("whether %s is let in at %s depends on the endpoint: %u let it in, %u "
			  "deny it, %u are refused, %u are outside the mesh.",
			  e.from, e.to, count[OUTCOME_ALLOWED], count[OUTCOME_DENIED],
			  count[OUTCOME_REFUSED], count[OUTCOME_OUTSIDE]);
}

/* add_not_asked() - a sentence stands for what was asked only. */
static int add_not_asked(const json_t *answer, char **sentence)
{
	const json_t *list = json_object_get(answer, "notAsked");
	_cleanup_(freep) char *words = NULL;
	char *longer;

	if (json_array_size(list) == 0)
		return 0;
	words = json_join(list, "; ");
	longer = words ? str_format("%s Not asked: %s.", *sentence, words) : NULL;
	if (!longer)
		return -ENOMEM;
	free(*sentence);
	*sentence = longer;
	return 0;
}

int explain_conclude(json_t *answer)
{
	unsigned int count[OUTCOME_OUTSIDE + 1] = {0};
	const json_t *routes = json_object_get(answer, "routes"), *route;
	_cleanup_(freep) char *sentence = NULL;
	size_t i;

	json_array_foreach (routes, i, route)
		count[outcome_of(answer, route)]++;
	sentence = say_all(answer, count, json_array_size(routes));
	if (sentence && add_not_asked(answer, &sentence) < 0)
		return -ENOMEM;
	if (!sentence ||
	    json_object_set_new(answer, "verdict",
				json_string(verdict_of(answer, count, json_array_size(routes)))) <
		    0 ||
	    json_object_set_new(answer, "sentence", json_string(sentence)) < 0 ||
	    json_object_set_new(answer, "change", explain_changes(answer)) < 0)
		return -ENOMEM;
	return 0;
}

char *explain_unjudged(const json_t *answer, const char *why)
{
	char way[WORDS_MAX];
	struct ends e;

	ends_of(answer, &e);
	say_way(answer, json_array_get(json_object_get(answer, "routes"), 0), way, sizeof(way));
	return str_format("%s reaches %s %s, and what the policies say of it now is not known: %s.",
			  e.from, e.to, way, why);
}

/* The picture. */

static const char *outcome_word(const json_t *answer, const json_t *route)
{
	static const char *const words[] = {"allowed", "denied", "refused", "outside"};

	return words[outcome_of(answer, route)];
}

static int print_routes(const json_t *answer)
{
	static const char *const headers[] = {"  ENDPOINT", "NODE",  "WAY",     "DIALS",
					      "TARGET",     "SHARE", "VERDICT", NULL};
	const json_t *routes = json_object_get(answer, "routes"), *r;
	double more = json_number_value(json_object_get(answer, "moreShare"));
	_cleanup_(table_freep) struct table *t = NULL;
	size_t i;

	if (json_array_size(routes) == 0)
		return 0;
	if (table_new(headers, &t) < 0)
		return -ENOMEM;
	json_array_foreach (routes, i, r) {
		const json_t *w = json_object_get(r, "workload");
		char name[WORDS_MAX], share[32];
		const char *cells[] = {name,
				       json_text(w, "node", "-"),
				       is_direct(answer, r) ? "direct" : json_text(r, "kind", ""),
				       json_text(r, "dial", ""),
				       json_text(r, "target", ""),
				       share,
				       outcome_word(answer, r)};

		(void)snprintf(name, sizeof(name), "  %s%s%s", json_text(w, "namespace", ""),
			       json_is_object(w) ? "/" : "-", json_text(w, "name", ""));
		(void)snprintf(share, sizeof(share), "%.0f%%",
			       100 * json_number_value(json_object_get(r, "share")));
		if (table_row(t, cells) < 0)
			return -ENOMEM;
	}
	puts("\nEndpoints");
	table_show(t);
	if (more > 0)
		printf("  and others, with %.0f%% of the connections\n", 100 * more);
	return 0;
}

static int print_policies(const json_t *inbound)
{
	static const char *const headers[] = {"  ACTION", "POLICY", "SCOPE", "MATCHES", NULL};
	const json_t *policies = json_object_get(inbound, "policies"), *p;
	_cleanup_(table_freep) struct table *t = NULL;
	size_t i;

	if (json_array_size(policies) == 0) {
		puts("  none applies");
		return 0;
	}
	if (table_new(headers, &t) < 0)
		return -ENOMEM;
	json_array_foreach (policies, i, p) {
		bool is_match = json_is_true(json_object_get(p, "matches"));
		_cleanup_(freep) char *action = str_format("  %s", json_text(p, "action", ""));
		const char *cells[] = {action, json_text(p, "key", ""), json_text(p, "scope", ""),
				       json_is_true(json_object_get(p, "dryRun"))
					       ? (is_match ? "yes (dry run)" : "no (dry run)")
				       : is_match ? "yes"
						  : "no"};

		if (table_row(t, cells) < 0)
			return -ENOMEM;
	}
	table_show(t);
	return 0;
}

const json_t *explain_of_interest(const json_t *answer)
{
	const json_t *routes = json_object_get(answer, "routes"), *r;
	size_t i;

	json_array_foreach (routes, i, r)
		if (outcome_of(answer, r) == OUTCOME_DENIED)
			return r;
	return json_array_get(routes, 0);
}

static void print_certificate(const json_t *answer)
{
	const json_t *c = json_object_get(answer, "certificate");
	const json_t *route = json_array_get(json_object_get(answer, "routes"), 0);
	const json_t *ids = json_object_get(route, "identities"), *id;
	size_t i;

	if (!streq(json_text(route, "kind", ""), "tunnel"))
		return;
	puts("\nCertificate");
	if (json_is_object(c))
		printf("  shows    %s\n           serial %s, until %s\n",
		       json_text(c, "identity", ""), json_text(c, "serialNumber", "?"),
		       json_text(c, "expirationTime", "?"));
	else
		printf("  shows    %s\n",
		       json_is_true(json_object_get(answer, "hasAskedSource"))
			       ? "none: ztunnel has no certificate for the source"
			       : "unknown: the source's ztunnel could not be asked");
	json_array_foreach (ids, i, id)
		if (json_is_string(id))
			printf("  %s  %s\n", i == 0 ? "expects" : "     or", json_string_value(id));
}

static void print_changes(const json_t *answer)
{
	const json_t *list = json_object_get(answer, "change"), *v;
	size_t i;

	if (json_array_size(list) == 0)
		return;
	puts("\nWhat would change it");
	json_array_foreach (list, i, v)
		if (json_is_string(v))
			term_wrap("  - ", "    ", json_string_value(v));
}

static void print_alternatives(const json_t *answer)
{
	const json_t *list = json_object_get(answer, "alternatives"), *v;
	json_int_t more = json_number(answer, "moreAlternatives");
	size_t i;

	if (json_array_size(list) == 0)
		return;
	puts("\nThe same words also mean");
	json_array_foreach (list, i, v)
		term_wrap("  - ", "    ", json_text(v, "sentence", ""));
	if (more > 0)
		printf("  - and %lld more: name one by its address and port\n", (long long)more);
}

static int print_verdict(const json_t *answer)
{
	const json_t *r = explain_of_interest(answer);
	const json_t *inbound = json_object_get(r, "inbound");
	const json_t *w = json_object_get(r, "workload");

	if (!json_is_object(inbound))
		return 0;
	printf("\nPolicies of %s/%s, evaluated by ztunnel of %s\n", json_text(w, "namespace", ""),
	       json_text(w, "name", ""), json_text(r, "evaluatedBy", "?"));
	return print_policies(inbound);
}

/* Why not directly, where that could be: the first connection asks. */
static void print_kernel(const json_t *kernel, const char *path)
{
	const char *name = json_text(kernel, "name", "");
	const json_t *v = json_object_get(kernel, "verdicts");

	if (!*path)
		return;
	printf("\nKernel of the source\n  %s%s%s\n", path, *name ? ": the map names it " : "",
	       name);
	if (v && streq(path, "tunnel"))
		printf("  inside this node: %lld endpoint(s) allowed, %lld denied, of %lld the "
		       "verdict "
		       "is not known yet; a\n  connection to one of these takes the tunnel and "
		       "asks, "
		       "the next ones go directly\n",
		       json_number(v, "allowed"), json_number(v, "denied"),
		       json_number(v, "unknown"));
}

int explain_print(const json_t *answer)
{
	const char *verdict = json_text(answer, "verdict", "");
	bool is_good = streq(verdict, "allowed");
	bool is_bad = streq(verdict, "denied") || streq(verdict, "refused");
	const char *path = kernel_path(answer);
	bool is_mesh = streq(path, "tunnel") || streq(path, "direct") || streq(path, "policy") ||
		       (streq(path, "excluded") && !streq(verdict, "outside"));

	printf("%s%s%s\n",
	       term_color(is_good  ? TERM_GREEN
			  : is_bad ? TERM_RED
				   : TERM_BOLD),
	       verdict, term_color(TERM_NO_COLOR));
	term_wrap("", "", json_text(answer, "sentence", ""));
	print_kernel(json_object_get(answer, "kernel"), path);
	if (!*path || is_mesh) {
		if (print_routes(answer) < 0)
			return -ENOMEM;
		print_certificate(answer);
		if (print_verdict(answer) < 0)
			return -ENOMEM;
	}
	print_changes(answer);
	print_alternatives(answer);
	return 0;
}

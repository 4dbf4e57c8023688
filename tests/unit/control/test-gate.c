/* SPDX-License-Identifier: Apache-2.0 */
/* gate - who a TokenReview says the caller is; all that is not plainly a service account of our
 * audience is refused. Who asks for many at a time does not keep others out. */
#include "userspace/control/gate.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <arpa/inet.h>
#include <sys/socket.h>

#include "base/log.h"
#include "base/str.h"
#include "net/addr.h"
#include "net/tcp.h"

#define REVIEW(authenticated, audience, user, extra)                                               \
	"{\"status\":{\"authenticated\":" authenticated ",\"audiences\":[" audience                \
	"],\"user\":{\"username\":\"" user "\"" extra "}}}"
#define POD                                                                                        \
	",\"extra\":{\"authentication.kubernetes.io/pod-name\":[\"ztunnel-x\"],"                   \
	"\"authentication.kubernetes.io/pod-uid\":[\"u-1\"]}"
#define OURS "\"istio-ca\""

static int review(const char *text, struct caller *ret)
{
	return gate_caller_read(text, strlen(text), ret);
}

static void reads_a_pod_bound_token(void **state)
{
	struct caller c = {0};

	assert_int_equal(
		review(REVIEW("true", OURS, "system:serviceaccount:istio-system:ztunnel", POD), &c),
		0);
	assert_string_equal(c.namespace_, "istio-system");
	assert_string_equal(c.account, "ztunnel");
	assert_string_equal(c.pod, "ztunnel-x");
	assert_string_equal(c.pod_uid, "u-1");
}

static void a_token_without_a_pod_has_none(void **state)
{
	struct caller c = {0};

	assert_int_equal(
		review(REVIEW("true", "\"other\"," OURS, "system:serviceaccount:a:b", ""), &c), 0);
	assert_string_equal(c.pod, "");
	assert_string_equal(c.pod_uid, "");
	/* nor has one with half of it */
	assert_int_equal(review(REVIEW("true", OURS, "system:serviceaccount:a:b",
				       ",\"extra\":{\"authentication.kubernetes.io/pod-name\":["
				       "\"x\"]}"),
				&c),
			 0);
	assert_string_equal(c.pod, "");
}

static void refuses_everybody_else(void **state)
{
	static const char *const bad[] = {
		REVIEW("false", OURS, "system:serviceaccount:a:b", POD),
		REVIEW("\"true\"", OURS, "system:serviceaccount:a:b", POD),
		REVIEW("true", "", "system:serviceaccount:a:b", POD),
		REVIEW("true", "\"istio\"", "system:serviceaccount:a:b", POD),
		REVIEW("true", OURS, "admin", POD),
		REVIEW("true", OURS, "system:serviceaccount:", POD),
		REVIEW("true", OURS, "system:serviceaccount:a", POD),
		REVIEW("true", OURS, "system:serviceaccount::b", POD),
		REVIEW("true", OURS, "system:serviceaccount:a:", POD),
		"{}",
		"",
		"nonsense",
	};
	struct caller c = {.account = "untouched"};

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		assert_int_equal(review(bad[i], &c), -EACCES);
		assert_string_equal(c.account, "untouched");
	}
}

#define CONNECTIONS_MAX 16
#define MUCH            (8u << 20) /* that a node says at once */
#define CALLS           100        /* of a connection */
#define REVIEWS_MAX     1024

/* An API server that answers when the test says so: what it was asked last. */
static struct {
	void (*on_done)(void *arg, const struct kube_answer *answer);
	void *arg;
	size_t n_open;
} api;

int __wrap_kube_request_new(struct kube_client *c, const struct kube_request_config *config,
			    struct kube_request **ret);
struct kube_request *__wrap_kube_request_cancel(struct kube_request *r);

int __wrap_kube_request_new(struct kube_client *c, const struct kube_request_config *config,
			    struct kube_request **ret)
{
	api.on_done = config->on_done;
	api.arg = config->arg;
	api.n_open++;
	*ret = (struct kube_request *)&api;
	return 0;
}

struct kube_request *__wrap_kube_request_cancel(struct kube_request *r)
{
	api.n_open -= r != NULL;
	return NULL;
}

static void api_answer(const char *body)
{
	const struct kube_answer a = {.status = 201, .body = body, .len = strlen(body)};

	api.n_open--;
	api.on_done(api.arg, &a);
}

struct crowd {
	struct loop *loop;
	struct gate *gate;
	struct grpc_method methods[2]; /* "/a/b"; xDS: "/a/x" */
	const char *path, *shut;
	struct grpc_server *server;
	struct grpc_client *clients[CONNECTIONS_MAX];
	size_t n_clients, n_let_in, n_turned_away;
	bool stays;      /* who is let in is listened to */
	size_t n_heard;  /* bytes of the last message then */
	char let_in[64]; /* the last one's token */
	char said[64];   /* to the last one that was not */
};

static void on_heard(struct grpc_call *c, void *arg, const void *data, size_t len)
{
	((struct crowd *)arg)->n_heard = len;
}

static void on_let_in(struct grpc_call *c, const struct grpc_peer *peer, void *arg)
{
	static const struct grpc_call_ops listening = {.on_message = on_heard};
	struct crowd *crowd = arg;

	crowd->n_let_in++;
	(void)snprintf(crowd->let_in, sizeof(crowd->let_in), "%s",
		       grpc_call_metadata(c, "authorization"));
	if (crowd->stays)
		grpc_call_set_ops(c, &listening, crowd);
	else
		grpc_call_finish(c, GRPC_OK, NULL);
}

static bool is_xds_allowed(void *arg, const struct caller *caller)
{
	return true;
}

static const char *xds_shut(void *arg)
{
	return ((const struct crowd *)arg)->shut;
}

static void on_closed(void *arg, int error)
{
}

static void on_message(struct grpc_call *c, void *arg, const void *data, size_t len)
{
}

static void on_end(struct grpc_call *c, void *arg, int status, const char *message)
{
	struct crowd *crowd = arg;

	crowd->n_turned_away += status == GRPC_RESOURCE_EXHAUSTED;
	if (status != GRPC_OK)
		(void)snprintf(crowd->said, sizeof(crowd->said), "%d %s", status, message);
}

static const struct grpc_call_ops ops = {.on_message = on_message, .on_end = on_end};

static int crowd_set_up(void **state)
{
	static struct crowd crowd;
	struct crowd *c = &crowd;
	struct grpc_method inner = {
		.path = "/a/b", .max_message = MUCH, .on_open = on_let_in, .arg = c};
	struct gate_config gate = {
		.is_xds_allowed = is_xds_allowed, .xds_shut = xds_shut, .arg = c};
	struct grpc_server_config server = {
		.listen_fd = -EBADF, .n_methods = 2, .max_connections = CONNECTIONS_MAX};

	memset(c, 0, sizeof(*c));
	memset(&api, 0, sizeof(api));
	log_set_level(LOG_OFF);
	assert_int_equal(loop_new(&c->loop), 0);
	gate.loop = server.loop = c->loop;
	assert_int_equal(gate_new(&gate, &c->gate), 0);
	c->path = "/a/b";
	c->methods[0] = gate_method(c->gate, &inner, false);
	inner.path = "/a/x";
	c->methods[1] = gate_method(c->gate, &inner, true);
	server.methods = c->methods;
	assert_int_equal(grpc_server_new(&server, &c->server), 0);
	*state = c;
	return 0;
}

static int crowd_tear_down(void **state)
{
	struct crowd *c = *state;

	for (size_t i = 0; i < c->n_clients; i++)
		(void)grpc_client_free(c->clients[i]);
	(void)grpc_server_free(c->server);
	(void)gate_free(c->gate);
	(void)loop_free(c->loop);
	assert_int_equal(api.n_open, 0);
	return 0;
}

static struct grpc_client *connect_from(struct crowd *c, const char *address)
{
	struct sockaddr_in at = {0}, from = {.sin_family = AF_INET};
	socklen_t len = sizeof(at);
	struct cv_addr any;
	int listener, fd;

	assert_int_equal(cv_addr_parse("127.0.0.1", &any), 0);
	assert_int_equal(tcp_listen(&any, 0, &listener), 0);
	assert_int_equal(getsockname(listener, (struct sockaddr *)&at, &len), 0);
	assert_int_equal(inet_pton(AF_INET, address, &from.sin_addr), 1);
	fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_int_equal(bind(fd, (struct sockaddr *)&from, sizeof(from)), 0);
	assert_int_equal(connect(fd, (struct sockaddr *)&at, sizeof(at)), 0);
	assert_int_equal(grpc_server_accept(c->server, accept(listener, NULL, NULL)), 0);
	(void)close_fd(listener);
	assert_int_equal(grpc_client_new(c->loop, fd, on_closed, c, &c->clients[c->n_clients]), 0);
	return c->clients[c->n_clients++];
}

/* What the gate's clock says. */
static uint64_t wall_us = 1000000ULL * 1000000;

uint64_t __wrap_now_realtime_us(void);

uint64_t __wrap_now_realtime_us(void)
{
	return wall_us;
}

static void turn(struct crowd *c)
{
	for (int i = 0; i < 50; i++)
		assert_true(loop_run_once(c->loop, 1) >= 0);
}

static struct grpc_call *ask_with(struct crowd *c, struct grpc_client *client, const char *header)
{
	const struct grpc_metadata metadata[] = {{"authorization", header}};
	const struct grpc_call_config config = {.path = c->path,
						.metadata = metadata,
						.n_metadata = 1,
						.max_message = 1,
						.ops = &ops,
						.arg = c};
	struct grpc_call *call;

	assert_int_equal(grpc_client_call(client, &config, &call), 0);
	return call;
}

/* As @address, with one token each; by as few connections as there must be. */
static void ask(struct crowd *c, const char *address, size_t n)
{
	struct grpc_client *client = NULL;

	for (size_t i = 0; i < n; i++) {
		_cleanup_(freep) char *token = str_format("Bearer %s %zu", address, i);

		if (i % CALLS == 0)
			client = connect_from(c, address);
		(void)ask_with(c, client, token);
	}
	turn(c);
}

static void one_address_does_not_keep_others_out(void **state)
{
	struct crowd *c = *state;

	/* alone it has what there is */
	ask(c, "127.0.0.2", REVIEWS_MAX + 6);
	assert_int_equal(api.n_open, REVIEWS_MAX);
	assert_int_equal(c->n_turned_away, 6);
	ask(c, "127.0.0.3", 1);
	assert_int_equal(api.n_open, REVIEWS_MAX);
	assert_int_equal(c->n_turned_away, 7);
	api_answer(REVIEW("true", OURS, "system:serviceaccount:a:b", POD));
	assert_string_equal(c->let_in, "Bearer 127.0.0.3 0");
	/* who came first is not turned away for it */
	ask(c, "127.0.0.4", 3);
	assert_int_equal(c->n_turned_away, 9);
	ask(c, "127.0.0.2", 1);
	assert_int_equal(c->n_turned_away, 10);
	assert_int_equal(api.n_open, REVIEWS_MAX);
	api_answer(REVIEW("true", OURS, "system:serviceaccount:a:b", POD));
	assert_string_equal(c->let_in, "Bearer 127.0.0.4 2");
}

/* Why nobody sees the mesh is said at once: whose token it is need not be known, and perhaps cannot
 * be. Certificates are another matter. */
static void why_no_stream_is_taken_comes_first(void **state)
{
	struct crowd *c = *state;
	const struct kube_answer lost = {.error = -ECONNREFUSED, .message = "refused"};
	char expected[64];

	c->shut = "not heard of since noon";
	c->path = "/a/x";
	ask(c, "127.0.0.2", 1);
	(void)snprintf(expected, sizeof(expected), "%d not heard of since noon", GRPC_UNAVAILABLE);
	assert_string_equal(c->said, expected);
	assert_int_equal(api.n_open, 0);
	assert_int_equal(gate_strangers(c->gate, true), 0);
	c->path = "/a/b";
	ask(c, "127.0.0.2", 1);
	assert_int_equal(api.n_open, 1);
	api_answer(REVIEW("true", OURS, "system:serviceaccount:a:b", POD));
	assert_string_equal(c->let_in, "Bearer 127.0.0.2 0");
	c->shut = NULL;
	c->path = "/a/x";
	ask(c, "127.0.0.3", 1);
	assert_int_equal(api.n_open, 1);
	/* a token that nobody looked at is no bad one */
	api.n_open--;
	api.on_done(api.arg, &lost);
	turn(c);
	(void)snprintf(expected, sizeof(expected),
		       "%d the API server does not say whose token it is", GRPC_UNAVAILABLE);
	assert_string_equal(c->said, expected);
}

/* "exp": 1000010, and what base64 for URLs writes in its own way */
#define DATED "Bearer e30.eyJleHAiOiAxMDAwMDEwLCAieCI6ICI_Pz8-Pj5-fn4ifQ.c2ln"

/* An answer is kept for a minute, but not past the end that the token itself names. */
static void a_token_is_not_known_past_its_end(void **state)
{
	static const char *const endless[] = {"Bearer e30.e30.c2ln", "Bearer e30.eyJ.c2ln",
					      "Bearer .", "Bearer ..", "Bearer a.b"};
	struct crowd *c = *state;
	struct grpc_client *client = connect_from(c, "127.0.0.2");

	for (size_t i = 0; i < 2; i++) {
		(void)ask_with(c, client, DATED);
		turn(c);
		assert_int_equal(api.n_open, i == 0);
		if (i == 0)
			api_answer(REVIEW("true", OURS, "system:serviceaccount:a:b", POD));
		assert_string_equal(c->let_in, DATED);
		wall_us += 9999999;
	}
	wall_us = 1000010ULL * 1000000;
	c->let_in[0] = '\0';
	(void)ask_with(c, client, DATED);
	turn(c);
	assert_int_equal(api.n_open, 1);
	assert_string_equal(c->let_in, "");
	api_answer(REVIEW("false", OURS, "", ""));
	turn(c);
	assert_string_equal(c->said, "16 authentication failure");
	/* one that names none, or nothing that can be read, is kept as long as any */
	for (size_t i = 0; i < ARRAY_SIZE(endless); i++) {
		(void)ask_with(c, client, endless[i]);
		turn(c);
		assert_int_equal(api.n_open, 1);
		api_answer(REVIEW("true", OURS, "system:serviceaccount:a:b", POD));
		c->let_in[0] = '\0';
		(void)ask_with(c, client, endless[i]);
		turn(c);
		assert_string_equal(c->let_in, endless[i]);
	}
}

/* A server that is slow to review keeps nobody in a row behind others: nodes that come all at once
 * are all asked about at once. */
static void a_hundred_nodes_are_reviewed_at_once(void **state)
{
	struct crowd *c = *state;

	ask(c, "127.0.0.2", 100);
	assert_int_equal(api.n_open, 100);
	assert_int_equal(c->n_turned_away, 0);
}

/* A ztunnel that starts asks for dozens of certificates at once, all with its one token. */
static void calls_with_one_token_are_asked_about_once(void **state)
{
	struct crowd *c = *state;
	struct grpc_client *client = connect_from(c, "127.0.0.2");
	struct grpc_call *first = ask_with(c, client, "Bearer mine");

	for (int i = 0; i < 20; i++)
		(void)ask_with(c, i % 2 ? client : connect_from(c, "127.0.0.3"), "Bearer mine");
	turn(c);
	assert_int_equal(api.n_open, 1);
	/* who gives up does not take it from the others */
	grpc_call_cancel(first);
	turn(c);
	assert_int_equal(api.n_open, 1);
	api_answer(REVIEW("true", OURS, "system:serviceaccount:a:b", POD));
	turn(c);
	assert_int_equal(c->n_let_in, 20);
	/* of one that is no good all hear */
	(void)ask_with(c, client, "Bearer bad");
	(void)ask_with(c, client, "Bearer bad");
	turn(c);
	assert_int_equal(api.n_open, 1);
	api_answer(REVIEW("false", OURS, "", ""));
	assert_int_equal(gate_strangers(c->gate, false), 2);
	/* and when all have gone nobody asks any more */
	first = ask_with(c, client, "Bearer late");
	turn(c);
	assert_int_equal(api.n_open, 1);
	grpc_call_cancel(first);
	turn(c);
	assert_int_equal(api.n_open, 0);
}

/* A node that comes back names all that it holds, of a large mesh megabytes, long before the API
 * server has said whose its token is. */
static void who_has_much_to_say_is_heard_once_it_is_let_in(void **state)
{
	static const size_t sizes[] = {1000, 65536, 200000, 1500000, MUCH};
	struct crowd *c = *state;
	char *message = calloc(1, MUCH);

	c->stays = true;
	c->path = "/a/x";
	for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
		_cleanup_(freep) char *token = str_format("Bearer %zu", i);
		struct grpc_call *call = ask_with(c, connect_from(c, "127.0.0.2"), token);

		assert_int_equal(grpc_call_send(call, message, sizes[i]), 0);
		turn(c);
		turn(c);
		assert_string_equal(c->said, "");
		assert_int_equal(api.n_open, 1);
		assert_int_equal(c->n_heard, 0);
		api_answer(REVIEW("true", OURS, "system:serviceaccount:a:b", POD));
		for (int n = 0; n < 1000 && c->n_heard == 0; n++)
			assert_true(loop_run_once(c->loop, 10) >= 0);
		assert_int_equal(c->n_heard, sizes[i]);
		c->n_heard = 0;
	}
	free(message);
}

static void an_empty_token_is_refused_as_none_is(void **state)
{
	static const char *const none[] = {"Bearer ", "Bearer", "", "Basic x", "Bearer  "};
	struct crowd *c = *state;
	struct grpc_client *client = connect_from(c, "127.0.0.2");

	for (size_t i = 0; i < ARRAY_SIZE(none); i++) {
		c->said[0] = '\0';
		(void)ask_with(c, client, none[i]);
		turn(c);
		assert_string_equal(c->said, "16 authentication failure");
		assert_int_equal(api.n_open, 0);
		assert_int_equal(gate_strangers(c->gate, false), i + 1);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(reads_a_pod_bound_token),
		cmocka_unit_test(a_token_without_a_pod_has_none),
		cmocka_unit_test(refuses_everybody_else),
		cmocka_unit_test_setup_teardown(one_address_does_not_keep_others_out, crowd_set_up,
						crowd_tear_down),
		cmocka_unit_test_setup_teardown(a_token_is_not_known_past_its_end, crowd_set_up,
						crowd_tear_down),
		cmocka_unit_test_setup_teardown(a_hundred_nodes_are_reviewed_at_once, crowd_set_up,
						crowd_tear_down),
		cmocka_unit_test_setup_teardown(calls_with_one_token_are_asked_about_once,
						crowd_set_up, crowd_tear_down),
		cmocka_unit_test_setup_teardown(who_has_much_to_say_is_heard_once_it_is_let_in,
						crowd_set_up, crowd_tear_down),
		cmocka_unit_test_setup_teardown(an_empty_token_is_refused_as_none_is, crowd_set_up,
						crowd_tear_down),
		cmocka_unit_test_setup_teardown(why_no_stream_is_taken_comes_first, crowd_set_up,
						crowd_tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* on-demand - addresses that a client asks for by name, as Istio's ztunnel does with
 * XDS_ON_DEMAND=true; and a client that answers nothing. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/str.h"
#include "net/addr.h"
#include "net/unix.h"
#include "tests/unit/fast-clock.h"
#include "userspace/lib/xds/discovery.pb-c.h"
#include "userspace/lib/xds/workload.pb-c.h"
#include "xds/message.h"
#include "xds/metadata.h"
#include "xds/server.h"

#define DELTA_PATH "/envoy.service.discovery.v3.AggregatedDiscoveryService/DeltaAggregatedResources"
#define MANY       3000

typedef Envoy__Service__Discovery__V3__DeltaDiscoveryRequest delta_request;
typedef Envoy__Service__Discovery__V3__DeltaDiscoveryResponse delta_response;

/* A client that sends what a test tells it to. */
struct asker {
	struct grpc_client *grpc;
	struct grpc_call *call;
	bool is_deaf;       /* acknowledges nothing */
	char heard[4096];   /* "+name", "-name", in the order of the wire */
	char aliases[1024]; /* of the resource that came last, each behind a blank */
	char version[32];   /* the same */
	char nonce[24];     /* of the last response */
	size_t n_responses, n_resources;
};

struct fixture {
	struct loop *loop;
	char dir[64], path[96];
	struct xds_server *xds;
	struct grpc_server *grpc;
	struct grpc_method method;
	struct asker a, b;
};

static void add_text(char *to, size_t size, const char *a, const char *b)
{
	size_t n = strlen(to);

	(void)str_concat(to + n, size - n, a, b);
}

static void send_request(struct asker *a, delta_request *req)
{
	req->type_url = (char *)(uintptr_t)xds_type_url(XDS_ADDRESS);
	assert_int_equal(message_send(a->call, &req->base), 0);
}

static void on_message(struct grpc_call *c, void *arg, const void *data, size_t len)
{
	delta_response *resp =
		envoy__service__discovery__v3__delta_discovery_response__unpack(NULL, len, data);
	delta_request ack = ENVOY__SERVICE__DISCOVERY__V3__DELTA_DISCOVERY_REQUEST__INIT;
	struct asker *a = arg;

	assert_non_null(resp);
	a->n_responses++;
	(void)str_copy(a->nonce, sizeof(a->nonce), resp->nonce);
	a->n_resources += resp->n_resources;
	for (size_t i = 0; i < resp->n_resources; i++) {
		add_text(a->heard, sizeof(a->heard), " +", resp->resources[i]->name);
		(void)str_copy(a->version, sizeof(a->version), resp->resources[i]->version);
		a->aliases[0] = '\0';
		for (size_t j = 0; j < resp->resources[i]->n_aliases; j++)
			add_text(a->aliases, sizeof(a->aliases), " ",
				 resp->resources[i]->aliases[j]);
	}
	for (size_t i = 0; i < resp->n_removed_resources; i++)
		add_text(a->heard, sizeof(a->heard), " -", resp->removed_resources[i]);
	ack.response_nonce = resp->nonce;
	if (!a->is_deaf)
		send_request(a, &ack);
	envoy__service__discovery__v3__delta_discovery_response__free_unpacked(resp, NULL);
}

static void on_end(struct grpc_call *c, void *arg, int status, const char *message)
{
	((struct asker *)arg)->call = NULL;
}

static void connect_asker(struct fixture *f, struct asker *a)
{
	static const struct grpc_call_ops ops = {.on_message = on_message, .on_end = on_end};
	const struct grpc_call_config config = {
		.path = DELTA_PATH, .ops = &ops, .arg = a, .max_message = 1 << 24};
	int fd;

	assert_int_equal(unix_stream_connect(f->path, &fd), 0);
	assert_int_equal(grpc_client_new(f->loop, fd, NULL, NULL, &a->grpc), 0);
	assert_int_equal(grpc_client_call(a->grpc, &config, &a->call), 0);
}

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));
	struct grpc_server_config config = {.n_methods = 1, .max_connections = 8};

	assert_non_null(f);
	(void)snprintf(f->dir, sizeof(f->dir), "/tmp/culvert-unit-XXXXXX");
	assert_non_null(mkdtemp(f->dir));
	(void)snprintf(f->path, sizeof(f->path), "%s/xds.sock", f->dir);
	assert_int_equal(loop_new(&f->loop), 0);
	assert_int_equal(xds_server_new(f->loop, &f->xds), 0);
	f->method = xds_server_method(f->xds);
	config.loop = f->loop;
	config.methods = &f->method;
	assert_int_equal(unix_stream_listen(f->path, 0600, &config.listen_fd), 0);
	assert_int_equal(grpc_server_new(&config, &f->grpc), 0);
	connect_asker(f, &f->a);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	(void)grpc_client_free(f->a.grpc);
	(void)grpc_client_free(f->b.grpc);
	(void)grpc_server_free(f->grpc);
	(void)xds_server_free(f->xds);
	(void)loop_free(f->loop);
	(void)unlink(f->path);
	(void)rmdir(f->dir);
	free(f);
	return 0;
}

static void turn(struct fixture *f)
{
	for (int i = 0; i < 60; i++)
		(void)loop_run_once(f->loop, 1);
}

static void pack(struct fixture *f, const char *name, Istio__Workload__Address *address)
{
	uint8_t bytes[2048];
	size_t len = istio__workload__address__pack(address, bytes);

	assert_int_equal(xds_server_set(f->xds, XDS_ADDRESS, name, bytes, len), 0);
}

static ProtobufCBinaryData ip_bytes(const char *text, uint8_t buf[16])
{
	struct cv_addr a;

	assert_int_equal(cv_addr_parse(text, &a), 0);
	return (ProtobufCBinaryData){cv_addr_bytes(&a, buf), buf};
}

/* @service: NULL: serves none. */
static void workload(struct fixture *f, const char *uid, const char *ip, const char *node,
		     const char *service)
{
	Istio__Workload__Address address = ISTIO__WORKLOAD__ADDRESS__INIT;
	Istio__Workload__Workload w = ISTIO__WORKLOAD__WORKLOAD__INIT;
	Istio__Workload__WorkloadService s = ISTIO__WORKLOAD__WORKLOAD_SERVICE__INIT, *list = &s;
	ProtobufCBinaryData data;
	uint8_t buf[16];

	data = ip_bytes(ip, buf);
	w.uid = (char *)(uintptr_t)uid;
	w.node = (char *)(uintptr_t)node;
	w.addresses = &data;
	w.n_addresses = 1;
	if (service) {
		s.key = (char *)(uintptr_t)service;
		w.services = &list;
		w.n_services = 1;
	}
	address.type_case = ISTIO__WORKLOAD__ADDRESS__TYPE_WORKLOAD;
	address.workload = &w;
	pack(f, uid, &address);
}

static void service(struct fixture *f, const char *name, const char *vip)
{
	Istio__Workload__Address address = ISTIO__WORKLOAD__ADDRESS__INIT;
	Istio__Workload__Service s = ISTIO__WORKLOAD__SERVICE__INIT;
	Istio__Workload__NetworkAddress a = ISTIO__WORKLOAD__NETWORK_ADDRESS__INIT, *list = &a;
	uint8_t buf[16];

	a.address = ip_bytes(vip, buf);
	s.addresses = &list;
	s.n_addresses = 1;
	address.type_case = ISTIO__WORKLOAD__ADDRESS__TYPE_SERVICE;
	address.service = &s;
	pack(f, name, &address);
}

/* Names separated by one blank each. Return: what came of it. */
static const char *ask(struct fixture *f, const char *subscribe, const char *unsubscribe)
{
	delta_request req = ENVOY__SERVICE__DISCOVERY__V3__DELTA_DISCOVERY_REQUEST__INIT;
	char *names[16], *not_names[16], text[512], not_text[512];

	(void)str_copy(text, sizeof(text), subscribe);
	(void)str_copy(not_text, sizeof(not_text), unsubscribe);
	req.resource_names_subscribe = names;
	req.resource_names_unsubscribe = not_names;
	for (char *one = strtok(text, " "); one; one = strtok(NULL, " "))
		names[req.n_resource_names_subscribe++] = one;
	for (char *one = strtok(not_text, " "); one; one = strtok(NULL, " "))
		not_names[req.n_resource_names_unsubscribe++] = one;
	f->a.heard[0] = '\0';
	send_request(&f->a, &req);
	turn(f);
	return f->a.heard;
}

/* Return: what a flush brings. */
static const char *flush(struct fixture *f)
{
	f->a.heard[0] = '\0';
	xds_server_flush(f->xds);
	turn(f);
	return f->a.heard;
}

static void small_mesh(struct fixture *f)
{
	service(f, "ns/web", "10.96.0.1");
	service(f, "ns/other", "10.96.0.2");
	workload(f, "web-1", "10.0.0.1", "n1", "ns/web");
	workload(f, "web-2", "fd00::2", "n2", "ns/web");
	workload(f, "else", "10.0.0.3", "n2", "ns/other");
	(void)flush(f);
}

static void who_asks_for_nothing_is_sent_an_empty_answer(void **state)
{
	struct fixture *f = *state;

	small_mesh(f);
	assert_string_equal(ask(f, "*", "*"), "");
	assert_int_equal(f->a.n_responses, 1);
}

static void who_asks_for_all_is_sent_all(void **state)
{
	struct fixture *f = *state;

	small_mesh(f);
	(void)ask(f, "", "");
	assert_int_equal(f->a.n_resources, 5);
	assert_string_equal(f->a.aliases, "");
}

static void a_name_is_a_uid_an_address_or_a_service(void **state)
{
	struct fixture *f = *state;

	small_mesh(f);
	(void)ask(f, "*", "*");
	assert_string_equal(ask(f, "else", ""), " +else");
	assert_string_equal(f->a.aliases, " /10.0.0.3");
	assert_string_equal(ask(f, "/fd00::2", ""), " +web-2");
	assert_string_equal(f->a.aliases, " /fd00::2");
	assert_string_equal(ask(f, "/10.96.0.1", ""), " +ns/web +web-1");
	assert_string_equal(ask(f, "ns/other", ""), " +ns/other");
	/* who asks again is answered again */
	assert_string_equal(ask(f, "else", ""), " +else");
}

static void what_nobody_has_is_removed_and_told_when_it_comes(void **state)
{
	struct fixture *f = *state;

	small_mesh(f);
	(void)ask(f, "*", "*");
	assert_string_equal(ask(f, "/10.0.0.9 ns/none", ""), " -/10.0.0.9 -ns/none");
	workload(f, "late", "10.0.0.9", "n2", NULL);
	workload(f, "stranger", "10.0.0.10", "n2", NULL);
	assert_string_equal(flush(f), " +late");
	workload(f, "ready", "10.0.0.11", "n2", "ns/none");
	(void)flush(f);
	service(f, "ns/none", "10.96.0.9");
	assert_string_equal(flush(f), " +ns/none +ready");
}

static void only_changes_of_what_was_asked_for_are_sent(void **state)
{
	struct fixture *f = *state;

	small_mesh(f);
	(void)ask(f, "*", "*");
	(void)ask(f, "ns/web", "");
	workload(f, "else", "10.0.0.4", "n2", "ns/other");
	assert_string_equal(flush(f), "");
	workload(f, "web-3", "10.0.0.5", "n2", "ns/web");
	assert_string_equal(flush(f), " +web-3");
	xds_server_remove(f->xds, XDS_ADDRESS, "web-1");
	xds_server_remove(f->xds, XDS_ADDRESS, "else");
	assert_string_equal(flush(f), " -web-1");
	(void)ask(f, "", "ns/web");
	workload(f, "web-4", "10.0.0.6", "n2", "ns/web");
	workload(f, "web-3", "10.0.0.7", "n2", "ns/web");
	assert_string_equal(flush(f), "");
}

/* As Istio's ztunnel says where it runs. */
static void the_workloads_of_its_node_come_unasked(void **state)
{
	delta_request req = ENVOY__SERVICE__DISCOVERY__V3__DELTA_DISCOVERY_REQUEST__INIT;
	Envoy__Service__Discovery__V3__Node node = ENVOY__SERVICE__DISCOVERY__V3__NODE__INIT;
	char star[] = "*", *names[] = {star};
	struct metadata metadata;
	struct fixture *f = *state;

	small_mesh(f);
	metadata_init(&metadata);
	metadata_add(&metadata, "NODE_NAME", "n1");
	node.metadata = &metadata.message;
	req.node = &node;
	req.resource_names_subscribe = req.resource_names_unsubscribe = names;
	req.n_resource_names_subscribe = req.n_resource_names_unsubscribe = 1;
	send_request(&f->a, &req);
	turn(f);
	assert_string_equal(f->a.heard, " +web-1");
	workload(f, "new", "10.0.0.8", "n1", NULL);
	assert_string_equal(flush(f), " +new");
}

/* Return: what it is sent that says to hold these, and asks for all but the last. */
static const char *come_back(struct fixture *f, const char *const (*held)[2], size_t n)
{
	delta_request req = ENVOY__SERVICE__DISCOVERY__V3__DELTA_DISCOVERY_REQUEST__INIT;
	Envoy__Service__Discovery__V3__ResourceVersion versions[4], *list[4];
	char *names[4];

	for (size_t i = 0; i < n; i++) {
		envoy__service__discovery__v3__resource_version__init(&versions[i]);
		names[i] = versions[i].key = (char *)(uintptr_t)held[i][0];
		versions[i].value = (char *)(uintptr_t)held[i][1];
		list[i] = &versions[i];
	}
	req.initial_resource_versions = list;
	req.resource_names_subscribe = names;
	req.n_initial_resource_versions = n;
	req.n_resource_names_subscribe = n - 1;
	f->a.heard[0] = '\0';
	send_request(&f->a, &req);
	turn(f);
	return f->a.heard;
}

static void who_comes_back_is_sent_the_difference(void **state)
{
	struct fixture *f = *state;
	char version[32];

	small_mesh(f);
	(void)ask(f, "else", "");
	(void)str_copy(version, sizeof(version), f->a.version);
	grpc_call_cancel(f->a.call);
	f->a.grpc = grpc_client_free(f->a.grpc);
	connect_asker(f, &f->a);
	assert_string_equal(come_back(f,
				      (const char *const[][2]){{"else", version},
							       {"web-1", "an older one"},
							       {"gone", "x"}},
				      3),
			    " +web-1 -gone");
	workload(f, "else", "10.0.0.12", "n2", NULL);
	assert_string_equal(flush(f), " +else");
}

static void a_service_of_many_workloads_comes_in_parts(void **state)
{
	struct fixture *f = *state;
	char uid[32], ip[32];

	service(f, "ns/big", "10.96.0.1");
	for (int i = 0; i < MANY; i++) {
		(void)snprintf(uid, sizeof(uid), "w-%d", i);
		(void)snprintf(ip, sizeof(ip), "10.1.%d.%d", i >> 8, i & 255);
		workload(f, uid, ip, "n2", "ns/big");
	}
	(void)flush(f);
	(void)ask(f, "*", "*");
	(void)ask(f, "/10.96.0.1", "");
	assert_int_equal(f->a.n_resources, MANY + 1);
	assert_true(f->a.n_responses > 3);
}

static void a_client_that_answers_nothing_holds_up_nobody(void **state)
{
	struct fixture *f = *state;
	delta_request all = ENVOY__SERVICE__DISCOVERY__V3__DELTA_DISCOVERY_REQUEST__INIT;
	delta_request ack = ENVOY__SERVICE__DISCOVERY__V3__DELTA_DISCOVERY_REQUEST__INIT;
	char ip[32], stale[] = "18446744073709551615";

	small_mesh(f);
	f->b.is_deaf = true;
	connect_asker(f, &f->b);
	send_request(&f->b, &all);
	(void)ask(f, "", "");
	for (int i = 0; i < 200; i++) {
		(void)snprintf(ip, sizeof(ip), "10.2.0.%d", i);
		workload(f, "else", ip, "n2", NULL);
		xds_server_flush(f->xds);
		(void)loop_run_once(f->loop, 1);
	}
	turn(f);
	assert_string_equal(f->a.aliases, "");
	assert_true(f->a.n_responses > 100);
	/* one response is all that waits for it, however much changes */
	assert_int_equal(f->b.n_responses, 1);
	/* an answer to another response is none; one to this brings the rest */
	ack.response_nonce = stale;
	send_request(&f->b, &ack);
	turn(f);
	assert_int_equal(f->b.n_responses, 1);
	ack.response_nonce = f->b.nonce;
	send_request(&f->b, &ack);
	turn(f);
	assert_int_equal(f->b.n_responses, 2);
}

/* Of a mesh that is sent in parts: but no third one. */
static void the_next_part_goes_while_one_is_taken_in(void **state)
{
	struct fixture *f = *state;
	delta_request all = ENVOY__SERVICE__DISCOVERY__V3__DELTA_DISCOVERY_REQUEST__INIT;
	delta_request ack = ENVOY__SERVICE__DISCOVERY__V3__DELTA_DISCOVERY_REQUEST__INIT;
	char name[32], nonce[24];

	for (int i = 0; i < 5 * 1024; i++) {
		(void)snprintf(name, sizeof(name), "w-%d", i);
		assert_int_equal(xds_server_set(f->xds, XDS_ADDRESS, name, "x", 1), 0);
	}
	xds_server_flush(f->xds);
	f->a.is_deaf = true;
	send_request(&f->a, &all);
	turn(f);
	assert_int_equal(f->a.n_responses, 2);
	/* acknowledged in the order in which they came */
	ack.response_nonce = f->a.nonce;
	send_request(&f->a, &ack);
	turn(f);
	assert_int_equal(f->a.n_responses, 2);
	(void)snprintf(nonce, sizeof(nonce), "%llu", strtoull(f->a.nonce, NULL, 10) - 1);
	ack.response_nonce = nonce;
	send_request(&f->a, &ack);
	turn(f);
	assert_int_equal(f->a.n_responses, 3);
	f->a.is_deaf = false;
	(void)snprintf(nonce, sizeof(nonce), "%llu", strtoull(f->a.nonce, NULL, 10) - 1);
	for (int i = 0; i < 2; i++) {
		ack.response_nonce = i == 0 ? nonce : f->a.nonce;
		send_request(&f->a, &ack);
	}
	turn(f);
	assert_int_equal(f->a.n_responses, 5);
	assert_int_equal(f->a.n_resources, 5 * 1024);
}

/* What it was sent lies in this process until it is taken. */
static void who_never_answers_is_cut_off(void **state)
{
	struct fixture *f = *state;
	delta_request all = ENVOY__SERVICE__DISCOVERY__V3__DELTA_DISCOVERY_REQUEST__INIT;

	small_mesh(f);
	f->b.is_deaf = true;
	connect_asker(f, &f->b);
	send_request(&f->b, &all);
	(void)ask(f, "", "");
	assert_non_null(f->b.call);
	the_clock.is_fast = true;
	for (int i = 0; i < 100 && f->b.call; i++)
		(void)loop_run_once(f->loop, 5000);
	the_clock.is_fast = false;
	assert_null(f->b.call);
	assert_non_null(f->a.call);
}

static void who_asks_without_end_and_takes_no_answer_is_cut_off(void **state)
{
	struct fixture *f = *state;
	delta_request req = ENVOY__SERVICE__DISCOVERY__V3__DELTA_DISCOVERY_REQUEST__INIT;
	static char name[] = "else", *names[10000];

	small_mesh(f);
	f->a.is_deaf = true;
	for (size_t i = 0; i < ARRAY_SIZE(names); i++)
		names[i] = name;
	req.resource_names_subscribe = names;
	req.n_resource_names_subscribe = ARRAY_SIZE(names);
	for (int i = 0; i < 30 && f->a.call; i++) {
		send_request(&f->a, &req);
		turn(f);
	}
	assert_null(f->a.call);
}

int main(void)
{
#define CASE(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)
	const struct CMUnitTest tests[] = {
		CASE(who_asks_for_nothing_is_sent_an_empty_answer),
		CASE(who_asks_for_all_is_sent_all),
		CASE(a_name_is_a_uid_an_address_or_a_service),
		CASE(what_nobody_has_is_removed_and_told_when_it_comes),
		CASE(only_changes_of_what_was_asked_for_are_sent),
		CASE(the_workloads_of_its_node_come_unasked),
		CASE(who_comes_back_is_sent_the_difference),
		CASE(a_service_of_many_workloads_comes_in_parts),
		CASE(a_client_that_answers_nothing_holds_up_nobody),
		CASE(the_next_part_goes_while_one_is_taken_in),
		CASE(who_never_answers_is_cut_off),
		CASE(who_asks_without_end_and_takes_no_answer_is_cut_off),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* agent-feed - a control plane for the agent's test: serves the Address resources that it is told
 * on stdin. workload UID NAMESPACE NAME hbone|none IP[,IP...] [NAMESPACE/HOST[,...]] service
 * NAMESPACE/HOST NAMESPACE NAME VIP PORT remove NAME flush                  (nobody is sent
 * anything before the first one) usage: agent-feed SOCKET */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/loop.h"
#include "base/str.h"
#include "http/grpc.h"
#include "net/addr.h"
#include "net/unix.h"
#include "userspace/lib/xds/workload.pb-c.h"
#include "xds/server.h"

#define ITEMS_MAX 16
#define WORDS_MAX 8
#define INPUT_MAX 65536

struct feed {
	struct loop *loop;
	struct xds_server *xds;
	struct loop_fd input;
	char text[INPUT_MAX];
	size_t len;
};

static size_t split(char *text, const char *at, char **ret, size_t max)
{
	char *save = NULL;
	size_t n = 0;

	for (char *w = strtok_r(text, at, &save); w && n < max; w = strtok_r(NULL, at, &save))
		ret[n++] = w;
	return n;
}

static int set(struct feed *f, const char *name, Istio__Workload__Address *a)
{
	uint8_t packed[4096];

	if (istio__workload__address__get_packed_size(a) > sizeof(packed))
		return -EMSGSIZE;
	return xds_server_set(f->xds, XDS_ADDRESS, name, packed,
			      istio__workload__address__pack(a, packed));
}

static int addr_bytes(const char *text, uint8_t bytes[16], ProtobufCBinaryData *ret)
{
	struct cv_addr a;

	if (cv_addr_parse(text, &a) < 0)
		return -EINVAL;
	ret->len = cv_addr_bytes(&a, bytes);
	ret->data = bytes;
	return 0;
}

static int do_workload(struct feed *f, char **words, size_t n)
{
	Istio__Workload__Workload w = ISTIO__WORKLOAD__WORKLOAD__INIT;
	Istio__Workload__Address a = ISTIO__WORKLOAD__ADDRESS__INIT;
	Istio__Workload__WorkloadService services[ITEMS_MAX], *service_list[ITEMS_MAX];
	ProtobufCBinaryData addrs[ITEMS_MAX];
	uint8_t bytes[ITEMS_MAX][16];
	char *items[ITEMS_MAX];

	if (n < 6)
		return -EINVAL;
	w.uid = words[1];
	w.namespace_ = words[2];
	w.name = words[3];
	if (streq(words[4], "hbone"))
		w.tunnel_protocol = ISTIO__WORKLOAD__TUNNEL_PROTOCOL__HBONE;
	w.n_addresses = split(words[5], ",", items, ITEMS_MAX);
	for (size_t i = 0; i < w.n_addresses; i++)
		if (addr_bytes(items[i], bytes[i], &addrs[i]) < 0)
			return -EINVAL;
	w.addresses = addrs;
	w.n_services = n > 6 ? split(words[6], ",", items, ITEMS_MAX) : 0;
	for (size_t i = 0; i < w.n_services; i++) {
		istio__workload__workload_service__init(&services[i]);
		services[i].key = items[i];
		service_list[i] = &services[i];
	}
	w.services = service_list;
	a.type_case = ISTIO__WORKLOAD__ADDRESS__TYPE_WORKLOAD;
	a.workload = &w;
	return set(f, words[1], &a);
}

static int do_service(struct feed *f, char **words, size_t n)
{
	Istio__Workload__Service s = ISTIO__WORKLOAD__SERVICE__INIT;
	Istio__Workload__Address a = ISTIO__WORKLOAD__ADDRESS__INIT;
	Istio__Workload__NetworkAddress vip = ISTIO__WORKLOAD__NETWORK_ADDRESS__INIT;
	Istio__Workload__NetworkAddress *vips = &vip;
	Istio__Workload__Port port = ISTIO__WORKLOAD__PORT__INIT, *ports = &port;
	char host[256];
	uint8_t bytes[16];
	uint64_t number;

	if (n != 6 || addr_bytes(words[4], bytes, &vip.address) < 0 ||
	    str_parse_u64(words[5], 1, UINT16_MAX, &number) < 0)
		return -EINVAL;
	s.namespace_ = words[2];
	s.name = words[3];
	s.canonical = 1; /* a Kubernetes Service */
	(void)snprintf(host, sizeof(host), "%s.%s.svc.cluster.local", s.name, s.namespace_);
	s.hostname = host;
	s.n_addresses = 1;
	s.addresses = &vips;
	port.service_port = (uint32_t)number;
	s.n_ports = 1;
	s.ports = &ports;
	a.type_case = ISTIO__WORKLOAD__ADDRESS__TYPE_SERVICE;
	a.service = &s;
	return set(f, words[1], &a);
}

static int do_line(struct feed *f, char *line)
{
	char *words[WORDS_MAX];
	size_t n = split(line, " ", words, WORDS_MAX);

	if (n == 0)
		return 0;
	if (streq(words[0], "workload"))
		return do_workload(f, words, n);
	if (streq(words[0], "service"))
		return do_service(f, words, n);
	if (streq(words[0], "remove") && n == 2) {
		xds_server_remove(f->xds, XDS_ADDRESS, words[1]);
		return 0;
	}
	if (!streq(words[0], "flush"))
		return -EINVAL;
	xds_server_flush(f->xds);
	return 0;
}

static void on_input(struct loop_fd *w, uint32_t events)
{
	struct feed *f = container_of(w, struct feed, input);
	ssize_t n = read(w->fd, f->text + f->len, sizeof(f->text) - 1 - f->len);
	char *end;

	if (n == 0) {
		loop_stop(f->loop, 0);
		return;
	}
	if (n < 0)
		return;
	f->len += (size_t)n;
	f->text[f->len] = '\0';
	while ((end = strchr(f->text, '\n'))) {
		size_t used = (size_t)(end - f->text) + 1;

		*end = '\0';
		if (do_line(f, f->text) < 0)
			(void)fprintf(stderr, "agent-feed: bad line\n");
		f->len -= used;
		memmove(f->text, f->text + used, f->len + 1);
	}
}

static int run(const char *path)
{
	static struct feed f;
	_cleanup_(loop_freep) struct loop *loop = NULL;
	_cleanup_(xds_server_freep) struct xds_server *xds = NULL;
	_cleanup_(grpc_server_freep) struct grpc_server *grpc = NULL;
	struct grpc_server_config config = {.listen_fd = -EBADF, .max_connections = 8};
	struct grpc_method method;
	int r;

	r = loop_new(&loop);
	if (r == 0)
		r = xds_server_new(loop, &xds);
	if (r == 0)
		r = unix_stream_listen(path, 0600, &config.listen_fd);
	if (r < 0)
		return r;
	method = xds_server_method(xds);
	config.loop = loop;
	config.methods = &method;
	config.n_methods = 1;
	r = grpc_server_new(&config, &grpc);
	if (r < 0)
		return r;
	f = (struct feed){.loop = loop, .xds = xds, .input = {.on_event = on_input}};
	r = loop_add(loop, &f.input, EPOLLIN);
	return r < 0 ? r : loop_run(loop);
}

int main(int argc, char **argv)
{
	int r;

	if (argc != 2) {
		(void)fprintf(stderr, "usage: agent-feed SOCKET\n");
		return EXIT_FAILURE;
	}
	r = run(argv[1]);
	if (r < 0)
		(void)fprintf(stderr, "agent-feed: %s\n", strerror(-r));
	return r < 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* fuzz-grpc - hostile bytes on the control plane's socket: HTTP/2, gRPC framing, discovery and
 * certificate requests. The first byte chooses: raw bytes to the server, a message in a well-formed
 * call of each service, or raw bytes to a client. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "http/grpc.h"
#include "tests/fuzz/fuzz.h"
#include "userspace/control/ca_service.h"
#include "userspace/lib/xds/discovery.pb-c.h"
#include "xds/server.h"

#define TURNS 6

static struct loop *loop;
static struct xds_server *xds;
static struct ca_service *ca_service;
static struct grpc_method methods[2];

static bool is_known(void *arg, const struct caller *caller, const char *spiffe)
{
	return false;
}

static void start(void)
{
	struct ca_service_config config = {.is_known = is_known};

	if (loop_new(&loop) < 0 || xds_server_new(loop, &xds) < 0)
		abort();
	config.loop = loop;
	if (ca_service_new(&config, &ca_service) < 0 ||
	    xds_server_set(xds, XDS_ADDRESS, "a", "bytes", 5) < 0)
		abort();
	xds_server_flush(xds);
	methods[0] = xds_server_method(xds);
	methods[1] = ca_service_method(ca_service);
}

static void turn(void)
{
	for (int i = 0; i < TURNS; i++)
		(void)loop_run_once(loop, 0);
}

static void on_message(struct grpc_call *c, void *arg, const void *data, size_t len)
{
	Envoy__Service__Discovery__V3__DeltaDiscoveryResponse *m =
		envoy__service__discovery__v3__delta_discovery_response__unpack(NULL, len, data);

	if (m)
		envoy__service__discovery__v3__delta_discovery_response__free_unpacked(m, NULL);
}

static void on_end(struct grpc_call *c, void *arg, int status, const char *message)
{
}

static const struct grpc_call_ops ops = {.on_message = on_message, .on_end = on_end};

static struct grpc_server *server_new(int fd)
{
	struct grpc_server_config config = {
		.loop = loop,
		.listen_fd = -EBADF,
		.methods = methods,
		.n_methods = 2,
		.max_connections = 2,
	};
	struct grpc_server *s;

	if (grpc_server_new(&config, &s) < 0 || grpc_server_accept(s, fd) < 0)
		abort();
	return s;
}

static struct grpc_client *client_new(int fd, const char *path, struct grpc_call **ret)
{
	struct grpc_call_config config = {.path = path, .max_message = 65536, .ops = &ops};
	struct grpc_client *c;

	if (grpc_client_new(loop, fd, NULL, NULL, &c) < 0 || grpc_client_call(c, &config, ret) < 0)
		abort();
	return c;
}

static void fuzz_raw(bool is_server, int fds[2], const uint8_t *data, size_t size)
{
	struct grpc_call *call = NULL;
	struct grpc_server *s = is_server ? server_new(fds[0]) : NULL;
	struct grpc_client *c = is_server ? NULL : client_new(fds[0], methods[0].path, &call);

	turn();
	if (send(fds[1], data, size, MSG_DONTWAIT | MSG_NOSIGNAL) < 0 && errno != EPIPE &&
	    errno != EAGAIN)
		abort();
	turn();
	(void)grpc_server_free(s);
	(void)grpc_client_free(c);
	(void)close(fds[1]);
}

static void fuzz_message(const char *path, int fds[2], const uint8_t *data, size_t size)
{
	struct grpc_call *call = NULL;
	struct grpc_server *s = server_new(fds[0]);
	struct grpc_client *c = client_new(fds[1], path, &call);

	(void)!grpc_call_send(call, data, size);
	turn();
	(void)grpc_client_free(c);
	turn();
	(void)grpc_server_free(s);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	int fds[2];

	if (!loop)
		start();
	if (size == 0 || size > 65536 || socketpair(AF_UNIX, SOCK_STREAM, 0, fds) < 0)
		return 0;
	if (data[0] & 2)
		fuzz_message(methods[data[0] & 1].path, fds, data + 1, size - 1);
	else
		fuzz_raw(data[0] & 1, fds, data + 1, size - 1);
	return 0;
}

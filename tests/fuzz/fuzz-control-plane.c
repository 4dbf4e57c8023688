/* SPDX-License-Identifier: Apache-2.0 */
/* fuzz-control-plane - what ztunnel is answered, by delta xDS and by the CA, up to its snapshots
 * and to certificates ready for use. The first byte chooses whom it asks, and whether the rest is
 * raw bytes or messages in a well-formed call, each after two bytes that say how long it is. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/log.h"
#include "base/loop.h"
#include "base/str.h"
#include "http/grpc.h"
#include "net/unix.h"
#include "tests/fuzz/fuzz-keys.h"
#include "tests/fuzz/fuzz.h"
#include "tls/identity.h"
#include "tls/key.h"
#include "xds/ca_client.h"
#include "ztunnel/certs_json.h"
#include "ztunnel/state.h"
#include "ztunnel/xds_sync.h"

#define TURNS        6
#define MESSAGE_MAX  65536
#define MESSAGES_MAX 32

static char dir[] = "/tmp/culvert-fuzz-XXXXXX", path[64];
static int listen_fd;
static struct loop *loop;
static EVP_PKEY *key;
static char *csr;
static struct grpc_call *call; /* the server's end, while there is one */
static bool is_synced;         /* the last snapshot of this run */

static void turn(void)
{
	for (int i = 0; i < TURNS; i++)
		(void)loop_run_once(loop, 0);
}

static void on_message(struct grpc_call *c, void *arg, const void *data, size_t len)
{
}

static void on_end(struct grpc_call *c, void *arg, int status, const char *message)
{
	call = NULL;
}

static const struct grpc_call_ops call_ops = {.on_message = on_message, .on_end = on_end};

static void on_open(struct grpc_call *c, const struct grpc_peer *peer, void *arg)
{
	grpc_call_set_ops(c, &call_ops, NULL);
	call = c;
}

static const struct grpc_method methods[] = {
	{
		.path = "/envoy.service.discovery.v3.AggregatedDiscoveryService/"
			"DeltaAggregatedResources",
		.max_message = MESSAGE_MAX,
		.on_open = on_open,
	},
	{
		.path = "/istio.v1.auth.IstioCertificateService/CreateCertificate",
		.max_message = MESSAGE_MAX,
		.on_open = on_open,
	},
};

static void stop(void)
{
	(void)unlink(path);
	(void)rmdir(dir);
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	log_set_level(LOG_ERROR);
	if (!mkdtemp(dir) || atexit(stop) != 0)
		abort();
	(void)snprintf(path, sizeof(path), "%s/xds.sock", dir);
	key = fuzz_key(fuzz_leaf_key);
	if (unix_stream_listen(path, 0600, &listen_fd) < 0 || loop_new(&loop) < 0 ||
	    tls_csr_new(key, FUZZ_ID, &csr) < 0)
		abort();
	return 0;
}

/* The mesh, once it is known, is not forgotten. */
static void on_state(void *arg, struct state *s)
{
	if (is_synced && !state_is_synced(s))
		abort();
	is_synced = state_is_synced(s);
}

static struct xds_sync *ask_xds(void)
{
	static const struct xds_sync_ops ops = {.on_state = on_state};
	const struct xds_sync_config config = {
		.loop = loop,
		.target = {.path = path},
		.node = "n1",
		.node_id = "ztunnel~10.0.0.1~z.istio-system~istio-system.svc.cluster.local",
	};
	struct xds_sync *x;

	is_synced = false;
	if (xds_sync_new(&config, &ops, NULL, &x) < 0)
		abort();
	return x;
}

static void on_signed(void *arg, int error, const char *message, const char *const *chain, size_t n)
{
	const struct tls_identity *t = NULL;

	if (error < 0 || tls_identity_new(FUZZ_ID, key, chain, n, &t) < 0)
		return;
	if (!streq(t->id, FUZZ_ID) || tls_identity_is_revoked(t))
		abort();
	json_decref(cert_to_json(t->id, t, ""));
	(void)tls_identity_unref(t);
}

static struct ca_client *ask_ca(void)
{
	const struct dial_target target = {.path = path};
	struct ca_client *c;

	if (ca_client_new(loop, &target, &c) < 0 ||
	    ca_client_sign(c, FUZZ_ID, csr, on_signed, NULL) < 0)
		abort();
	return c;
}

static void answer_raw(int fd, const uint8_t *data, size_t size)
{
	if (send(fd, data, size, MSG_DONTWAIT | MSG_NOSIGNAL) < 0 && errno != EPIPE &&
	    errno != EAGAIN && errno != ECONNRESET)
		abort();
	turn();
	(void)close(fd);
	turn();
}

static void answer_messages(int fd, const uint8_t *data, size_t size)
{
	const struct grpc_server_config config = {
		.loop = loop,
		.listen_fd = -EBADF,
		.methods = methods,
		.n_methods = ARRAY_SIZE(methods),
		.max_connections = 1,
	};
	struct grpc_server *s;

	if (grpc_server_new(&config, &s) < 0 || grpc_server_accept(s, fd) < 0)
		abort();
	turn();
	for (int i = 0; call && size >= 2 && i < MESSAGES_MAX; i++) {
		size_t len = MIN((size_t)data[0] << 8 | data[1], size - 2);

		(void)!grpc_call_send(call, data + 2, len);
		turn();
		data += 2 + len;
		size -= 2 + len;
	}
	if (call)
		grpc_call_finish(call, GRPC_OK, NULL);
	call = NULL;
	turn();
	(void)grpc_server_free(s);
}

static int accept_one(void)
{
	return accept4(listen_fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct xds_sync *x;
	struct ca_client *c;
	int fd;

	if (size == 0 || size > MESSAGE_MAX)
		return 0;
	/* a slow run's client may have come once more */
	while ((fd = accept_one()) >= 0)
		(void)close(fd);
	x = data[0] & 1 ? NULL : ask_xds();
	c = data[0] & 1 ? ask_ca() : NULL;
	turn();
	fd = accept_one();
	if (fd < 0)
		abort();
	if (data[0] & 2)
		answer_messages(fd, data + 1, size - 1);
	else
		answer_raw(fd, data + 1, size - 1);
	(void)xds_sync_free(x);
	(void)ca_client_free(c);
	turn();
	return 0;
}

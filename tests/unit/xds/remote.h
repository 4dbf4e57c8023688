/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* remote - a control plane on another host, as far as a client can tell: gRPC over TLS on
 * 127.0.0.1, with a certificate of a CA of its own, in the test's loop. */
#include <arpa/inet.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include <cmocka.h>

#include "base/str.h"
#include "http/grpc.h"
#include "net/tcp.h"
#include "tls/channel.h"
#include "userspace/control/ca.h"
#include "userspace/control/serving.h"
#include "xds/dial.h"

/** struct remote - embedded in a fixture; zeroed before remote_start(). */
struct remote {
	struct loop *loop;
	char dir[64], root[96], token[96], address[64];
	struct ca *ca;
	struct serving *serving;
	struct grpc_server *server;
	struct grpc_method method;
	struct dial_target target;           /* how to reach it */
	char authorization[64], cluster[64]; /* of the last call */
};

/** remote_learn() - to be called from on_open. */
static inline void remote_learn(struct remote *r, struct grpc_call *c)
{
	const char *authorization = grpc_call_metadata(c, "authorization");
	const char *cluster = grpc_call_metadata(c, "clusterid");

	(void)str_copy(r->authorization, sizeof(r->authorization),
		       authorization ? authorization : "");
	(void)str_copy(r->cluster, sizeof(r->cluster), cluster ? cluster : "");
}

static inline void remote_listen(struct remote *r)
{
	struct grpc_server_config config = {.loop = r->loop,
					    .methods = &r->method,
					    .n_methods = 1,
					    .max_connections = 8,
					    .ssl_new = serving_ssl_new,
					    .arg = r->serving};
	struct sockaddr_in sa = {0};
	socklen_t len = sizeof(sa);
	struct cv_addr addr = {0};

	assert_int_equal(cv_addr_parse("127.0.0.1", &addr), 0);
	assert_int_equal(tcp_listen(&addr, 0, &config.listen_fd), 0);
	assert_int_equal(getsockname(config.listen_fd, (struct sockaddr *)&sa, &len), 0);
	(void)snprintf(r->address, sizeof(r->address), "localhost:%d", ntohs(sa.sin_port));
	assert_int_equal(grpc_server_new(&config, &r->server), 0);
}

/** remote_start() - with one @method. @namespace_: whose service its certificate names. */
static inline void remote_start(struct remote *r, const char *namespace_,
				const struct grpc_method *method)
{
	struct ca_material m = {0};
	char err[256];

	(void)snprintf(r->dir, sizeof(r->dir), "/tmp/culvert-unit-XXXXXX");
	assert_non_null(mkdtemp(r->dir));
	(void)snprintf(r->root, sizeof(r->root), "%s/root-cert.pem", r->dir);
	(void)snprintf(r->token, sizeof(r->token), "%s/token", r->dir);
	assert_int_equal(ca_files_load(r->dir, "cluster.local", &m, err, sizeof(err)), 0);
	assert_int_equal(ca_new(&m, &r->ca, err, sizeof(err)), 0);
	assert_int_equal(file_write_atomic(r->token, "abc\n", 4, 0600), 0);
	assert_int_equal(loop_new(&r->loop), 0);
	assert_int_equal(serving_new(r->loop,
				     &(struct serving_names){namespace_, "cluster.local", ""},
				     &r->serving),
			 0);
	assert_int_equal(serving_set_ca(r->serving, r->ca), 0);
	r->method = *method;
	remote_listen(r);
	r->target = (struct dial_target){.address = r->address,
					 .root_file = r->root,
					 .token_file = r->token,
					 .cluster_id = "Kubernetes"};
}

/** remote_stop() - after its clients. */
static inline void remote_stop(struct remote *r)
{
	_cleanup_(freep) char *command = str_format("rm -rf -- %s", r->dir);

	(void)grpc_server_free(r->server);
	(void)serving_free(r->serving);
	(void)ca_free(r->ca);
	(void)loop_free(r->loop);
	assert_int_equal(system(command), 0); /* NOLINT(cert-env33-c): its own folder */
}

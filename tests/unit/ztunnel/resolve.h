/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* resolve - what the tests of resolve share: a client, one service, and where a connection goes. */
#include <string.h>

#include "net/addr.h"
#include "tests/unit/ztunnel/mesh.h"
#include "ztunnel/resolve.h"

#define HTTPD "demo/httpd.demo.svc.cluster.local"

struct fixture {
	struct state_builder *b;
	struct state *s;
};

static inline int setup(void **state)
{
	static struct fixture f;

	memset(&f, 0, sizeof(f));
	assert_int_equal(state_builder_new("n1", &f.b), 0);
	mesh_put_workload(f.b, &(struct mesh_workload){.name = "client",
						       .addrs = {"10.0.0.1", "fd00::1"},
						       .zone = "z1"});
	*state = &f;
	return 0;
}

static inline int teardown(void **state)
{
	struct fixture *f = *state;

	state_unref(f->s);
	state_builder_free(f->b);
	return 0;
}

static inline struct upstream go(struct fixture *f, const char *to, uint32_t random)
{
	struct cv_sockaddr orig = mesh_sockaddr(to);
	struct upstream up;

	state_unref(f->s);
	f->s = mesh_build(f->b);
	resolve_outbound(f->s, state_workload_by_uid(f->s, "Kubernetes//Pod/demo/client"), &orig,
			 random, &up);
	return up;
}

static inline void assert_at(const struct cv_sockaddr *at, const char *text)
{
	char buf[CV_SOCKADDR_STRLEN];

	assert_string_equal(cv_sockaddr_format(at, buf), text);
}

static inline void put_httpd(struct fixture *f, struct mesh_service *s)
{
	s->name = "httpd";
	s->vips[0] = "10.96.0.1";
	s->vips[1] = "fd96::1";
	s->ports[0] = s->ports[0] ? s->ports[0] : 80;
	mesh_put_service(f->b, s);
}

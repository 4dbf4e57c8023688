/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* fixture - a model fed with YAML, and what came out of it, unpacked on demand. For the tests of
 * this folder. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/map.h"
#include "model/model.h"
#include "source/json_pool.h"
#include "source/manifest.h"
#include "userspace/lib/xds/authorization.pb-c.h"
#include "userspace/lib/xds/workload.pb-c.h"

struct bytes {
	size_t len;
	uint8_t data[];
};

struct fixture {
	struct model *model;
	struct json_pool *pool;
	struct map *resources[XDS_TYPE_MAX]; /* name -> struct bytes, as a client holds them */
	char text[16384]; /* "+name", "-name", "error ...", "cleared ..." a line each */
	ProtobufCMessage *unpacked[64];
	size_t unpacked_count;
};

static inline void fixture_add(struct fixture *f, const char *what, const char *rest)
{
	size_t n = strlen(f->text);

	(void)snprintf(f->text + n, sizeof(f->text) - n, "%s%s\n", what, rest);
}

static inline int fixture_resource(void *arg, enum xds_type type, const char *name,
				   const void *packed, size_t len)
{
	struct fixture *f = arg;
	struct bytes *b = malloc(sizeof(*b) + len);

	assert_non_null(b);
	b->len = len;
	memcpy(b->data, packed, len);
	free(map_get_str(f->resources[type], name));
	assert_int_equal(map_put_str(f->resources[type], name, b), 0);
	fixture_add(f, "+", name);
	return 0;
}

static inline void fixture_removed(void *arg, enum xds_type type, const char *name)
{
	struct fixture *f = arg;
	struct bytes *b = map_del_str(f->resources[type], name);

	assert_non_null(b);
	free(b);
	fixture_add(f, "-", name);
}

static inline void fixture_error(void *arg, const struct source_error *err)
{
	char line[1024];

	(void)source_error_format(err, line, sizeof(line));
	fixture_add(arg, err->is_warning ? "warning " : "error ", line);
}

static inline void fixture_cleared(void *arg, const char *kind, const char *namespace_,
				   const char *name)
{
	char line[256];

	(void)snprintf(line, sizeof(line), "%s %s/%s", kind, namespace_, name);
	fixture_add(arg, "cleared ", line);
}

static const struct model_ops fixture_ops = {
	.on_resource = fixture_resource,
	.on_removed = fixture_removed,
	.on_error = fixture_error,
	.on_error_cleared = fixture_cleared,
};

static inline int fixture_setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	*state = f;
	for (int i = 0; i < XDS_TYPE_MAX; i++)
		assert_int_equal(map_new(&f->resources[i]), 0);
	assert_int_equal(json_pool_new(&f->pool), 0);
	assert_int_equal(model_new(&fixture_ops, f, NULL, &f->model), 0);
	/* The static policy is there from the first flush on: out of the way of what tests look at.
	 */
	assert_int_equal(model_flush(f->model), 0);
	f->text[0] = '\0';
	return 0;
}

static inline int fixture_teardown(void **state)
{
	struct fixture *f = *state;

	(void)model_free(f->model);
	(void)json_pool_free(f->pool);
	for (size_t i = 0; i < f->unpacked_count; i++)
		protobuf_c_message_free_unpacked(f->unpacked[i], NULL);
	for (int i = 0; i < XDS_TYPE_MAX; i++) {
		map_for_each (f->resources[i], it)
			free(it.value);
		(void)map_free(f->resources[i]);
	}
	free(f);
	return 0;
}

static inline int fixture_put_item(void *arg, const struct manifest_item *item)
{
	struct fixture *f = arg;

	if (!item->object)
		return 0;
	assert_int_equal(object_reduce(item->object, f->pool), 0);
	return model_put(f->model, item->object);
}

static inline int fixture_ignore_error(void *arg, const struct source_error *err)
{
	return 0;
}

static inline int fixture_fail_error(void *arg, const struct source_error *err)
{
	fail_msg("%u: %s: %s", err->line, err->field, err->message);
	return 0;
}

static inline void fixture_feed(struct fixture *f, const char *yaml,
				int (*on_error)(void *arg, const struct source_error *err))
{
	const struct manifest_ops ops = {.on_item = fixture_put_item, .on_error = on_error};
	const struct manifest_text in = {.file = "f.yaml", .text = yaml, .len = strlen(yaml)};
	bool is_complete;

	assert_int_equal(manifest_parse(&in, &ops, f, &is_complete), 0);
}

/* What the model says after these objects were put (valid ones; broken ones are fed with
 * put_broken). */
static inline const char *put(struct fixture *f, const char *yaml)
{
	f->text[0] = '\0';
	fixture_feed(f, yaml, fixture_fail_error);
	assert_int_equal(model_flush(f->model), 0);
	return f->text;
}

static inline const char *put_broken(struct fixture *f, const char *yaml)
{
	f->text[0] = '\0';
	fixture_feed(f, yaml, fixture_ignore_error);
	assert_int_equal(model_flush(f->model), 0);
	return f->text;
}

static inline const char *drop(struct fixture *f, const char *kind, const char *namespace_,
			       const char *name)
{
	struct object *o = NULL;

	f->text[0] = '\0';
	assert_int_equal(object_new_json(json_pack("{s:s,s:{s:s,s:s}}", "kind", kind, "metadata",
						   "name", name, "namespace", namespace_),
					 &o),
			 0);
	assert_int_equal(model_delete(f->model, o), 0);
	(void)object_unref(o);
	assert_int_equal(model_flush(f->model), 0);
	return f->text;
}

static inline void *fixture_get(struct fixture *f, enum xds_type type, const char *name,
				const ProtobufCMessageDescriptor *descriptor)
{
	const struct bytes *b = map_get_str(f->resources[type], name);
	ProtobufCMessage *msg;

	if (!b)
		return NULL;
	msg = protobuf_c_message_unpack(descriptor, NULL, b->len, b->data);
	assert_non_null(msg);
	assert_true(f->unpacked_count < 64);
	f->unpacked[f->unpacked_count++] = msg;
	return msg;
}

/* The workload of a pod "ns/name", or NULL. */
static inline Istio__Workload__Workload *workload(struct fixture *f, const char *pod)
{
	Istio__Workload__Address *a;
	char name[256];

	(void)snprintf(name, sizeof(name), "Kubernetes//Pod/%s", pod);
	a = fixture_get(f, XDS_ADDRESS, name, &istio__workload__address__descriptor);
	return a ? a->workload : NULL;
}

static inline Istio__Workload__Service *service(struct fixture *f, const char *name)
{
	Istio__Workload__Address *a =
		fixture_get(f, XDS_ADDRESS, name, &istio__workload__address__descriptor);

	return a ? a->service : NULL;
}

static inline Istio__Security__Authorization *authorization(struct fixture *f, const char *name)
{
	return fixture_get(f, XDS_AUTHORIZATION, name, &istio__security__authorization__descriptor);
}

#define T(f) cmocka_unit_test_setup_teardown(f, fixture_setup, fixture_teardown)

/* Manifests in short: a name, then anything in flow style. */
#define NS(name, labels)                                                                           \
	"apiVersion: v1\nkind: Namespace\nmetadata: {name: " name ", labels: " labels "}\n---\n"
#define POD(ns, name, labels, spec, status)                                                        \
	"apiVersion: v1\nkind: Pod\nmetadata: {name: " name ", namespace: " ns ", labels: " labels \
	"}\nspec: " spec "\nstatus: " status "\n---\n"
#define SERVICE(ns, name, spec)                                                                    \
	"apiVersion: v1\nkind: Service\nmetadata: {name: " name ", namespace: " ns                 \
	"}\nspec: " spec "\n---\n"
#define SLICE(ns, name, service, rest)                                                             \
	"apiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\nmetadata: {name: " name             \
	", namespace: " ns ", labels: {kubernetes.io/service-name: " service                       \
	"}}\naddressType: IPv4\n" rest "\n---\n"
#define PEER(ns, name, spec)                                                                       \
	"apiVersion: security.istio.io/v1\nkind: PeerAuthentication\nmetadata: {name: " name       \
	", namespace: " ns "}\nspec: " spec "\n---\n"
#define POLICY(ns, name, spec)                                                                     \
	"apiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\nmetadata: {name: " name      \
	", namespace: " ns "}\nspec: " spec "\n---\n"

/* SPDX-License-Identifier: Apache-2.0 */
/* mesh-size - what a mesh of a given size costs: the control plane's model, and the state of one
 * ztunnel that holds all of it.
 *
 * usage: mesh-size PODS SERVICES POLICIES
 * Prints one JSON line. The control plane's half begins with objects that are parsed and ends with
 * the resources that its xDS server keeps, versions included. The child is the ztunnel's half, fed
 * through a pipe between the measurements, so that its memory is its own.
 * Changes are measured twice: of objects that were not touched for long, and of the same ones again
 * and again ("warm"), which have their memory in the caches whatever else there is. */
#include <errno.h>
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/log.h"
#include "base/str.h"
#include "model/model.h"
#include "source/json_pool.h"
#include "xds/resources.h"
#include "ztunnel/decode.h"
#include "ztunnel/policy.h"
#include "ztunnel/state.h"
#include "ztunnel/state_builder.h"

#define NODES      1000
#define NAMESPACES 100
#define CHANGES    200
#define WARM       5 /* objects that are changed again and again */
#define NODE       "node-7"
#define CLUSTER_IP "status: {podIPs: [{ip: %s}]}"

struct size {
	unsigned int pods, services, policies;
};

/* What crosses the pipe before the bytes of a resource, and marks between the parts. */
struct record {
	enum { RECORD_RESOURCE, RECORD_REMOVED, RECORD_LOADED, RECORD_CHANGED, RECORD_WARM } what;
	enum xds_type type;
	size_t name_len, len;
};

static double now_us(void)
{
	struct timespec t;

	(void)clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
	return (double)t.tv_sec * 1e6 + (double)t.tv_nsec / 1e3;
}

static _Noreturn void die(const char *what)
{
	(void)fprintf(stderr, "mesh-size: %s\n", what);
	exit(1);
}

/* The objects. */

static json_t *meta(const char *kind, const char *api, const char *ns, const char *name)
{
	return json_pack("{s:s,s:s,s:{s:s,s:s}}", "kind", kind, "apiVersion", api, "metadata",
			 "namespace", ns, "name", name);
}

/* As culvert-control has it read. */
static struct object *object_make(json_t *body)
{
	static struct json_pool *pool;
	struct object *o = NULL;

	if ((!pool && json_pool_new(&pool) < 0) || !body || object_new_json(body, &o) < 0 ||
	    object_reduce(o, pool) < 0)
		die("cannot make an object");
	return o;
}

static const char *namespace_of(unsigned int app)
{
	static char ns[32];

	(void)snprintf(ns, sizeof(ns), "team-%u", app % NAMESPACES);
	return ns;
}

static struct object *namespace_make(unsigned int i)
{
	json_t *o = json_pack("{s:s,s:s,s:{s:s,s:{s:s}}}", "kind", "Namespace", "apiVersion", "v1",
			      "metadata", "name", namespace_of(i), "labels", "istio-injection",
			      "enabled");

	return object_make(o);
}

static struct object *pod_make(const struct size *size, unsigned int i, unsigned int round)
{
	unsigned int app = i % size->services;
	char name[64], label[32], account[32], node[32], v4[32], v6[64], version[16];
	json_t *o;

	(void)snprintf(name, sizeof(name), "app-%u-7d9f8b6c5d-%05x", app, i);
	(void)snprintf(label, sizeof(label), "app-%u", app);
	(void)snprintf(account, sizeof(account), "app-%u", app);
	(void)snprintf(node, sizeof(node), "node-%u", i / size->services % NODES);
	(void)snprintf(v4, sizeof(v4), "10.%u.%u.%u", 128 + (i >> 16), i >> 8 & 255, i & 255);
	(void)snprintf(v6, sizeof(v6), "fd00:10:244::%x:%x", i >> 16, i & 0xffff);
	(void)snprintf(version, sizeof(version), "v%u", round);
	o = meta("Pod", "v1", namespace_of(app), name);
	(void)json_object_set_new(json_object_get(o, "metadata"), "labels",
				  json_pack("{s:s,s:s}", "app", label, "version", version));
	(void)json_object_set_new(
		o, "spec", json_pack("{s:s,s:s}", "nodeName", node, "serviceAccountName", account));
	(void)json_object_set_new(
		o, "status",
		json_pack("{s:s,s:[{s:s},{s:s}]}", "podIP", v4, "podIPs", "ip", v4, "ip", v6));
	return object_make(o);
}

static struct object *service_make(unsigned int i)
{
	char name[32], vip[32];
	json_t *o;

	(void)snprintf(name, sizeof(name), "app-%u", i);
	(void)snprintf(vip, sizeof(vip), "10.96.%u.%u", i >> 8, i & 255);
	o = meta("Service", "v1", namespace_of(i), name);
	(void)json_object_set_new(o, "spec",
				  json_pack("{s:s,s:{s:s},s:[{s:i,s:i,s:s}]}", "clusterIP", vip,
					    "selector", "app", name, "ports", "port", 80,
					    "targetPort", 8080, "name", "http"));
	return object_make(o);
}

static struct object *policy_make(unsigned int i, unsigned int round)
{
	char name[32], app[32], principal[96];
	json_t *o;

	(void)snprintf(name, sizeof(name), "allow-%u", i);
	(void)snprintf(app, sizeof(app), "app-%u", i);
	(void)snprintf(principal, sizeof(principal), "cluster.local/ns/%s/sa/app-%u",
		       namespace_of(i), i + 1 + round);
	o = meta("AuthorizationPolicy", "security.istio.io/v1", namespace_of(i), name);
	(void)json_object_set_new(o, "spec",
				  json_pack("{s:{s:{s:s}},s:[{s:[{s:{s:[s]}}]}]}", "selector",
					    "matchLabels", "app", app, "rules", "from", "source",
					    "principals", principal));
	return object_make(o);
}

/* The control plane's half. */

struct parent {
	struct model *model;
	FILE *pipe;
	struct resources stores[XDS_TYPE_MAX]; /* as the xDS server has them */
	uint64_t sent_seq[XDS_TYPE_MAX];
	size_t resources, bytes;
};

static void record_write(struct parent *p, const struct record *r, const char *name,
			 const void *bytes)
{
	if (fwrite(r, sizeof(*r), 1, p->pipe) != 1 ||
	    fwrite(name, 1, r->name_len, p->pipe) != r->name_len ||
	    fwrite(bytes, 1, r->len, p->pipe) != r->len)
		die("the other half is gone");
}

static int on_resource(void *arg, enum xds_type type, const char *name, const void *packed,
		       size_t len)
{
	struct parent *p = arg;

	p->resources++;
	p->bytes += len;
	if (resources_set(&p->stores[type], name, packed, len) < 0)
		die("out of memory");
	return 0;
}

static void on_removed(void *arg, enum xds_type type, const char *name)
{
	struct parent *p = arg;

	resources_remove(&p->stores[type], name);
}

static void resource_send(struct parent *p, enum xds_type type, const struct resource_entry *e)
{
	const struct record r = {
		.what = e->packed ? RECORD_RESOURCE : RECORD_REMOVED,
		.type = type,
		.name_len = strlen(e->name) + 1,
		.len = e->packed ? e->len : 0,
	};

	record_write(p, &r, e->name, e->packed ? (const void *)e->packed : "");
}

/* What is new since the last time; policies before the workloads that name them. */
static void changes_send(struct parent *p)
{
	static const enum xds_type order[] = {XDS_AUTHORIZATION, XDS_ADDRESS};

	for (size_t i = 0; i < ARRAY_SIZE(order); i++) {
		struct resources *store = &p->stores[order[i]];
		const struct resource_entry *e = resources_after(store, p->sent_seq[order[i]]);

		for (; e; e = resources_next(store, e))
			resource_send(p, order[i], e);
		p->sent_seq[order[i]] = store->seq;
	}
}

static void on_error(void *arg, const struct source_error *err)
{
}

static void on_error_cleared(void *arg, const char *kind, const char *namespace_, const char *name)
{
}

static const struct model_ops ops = {
	.on_resource = on_resource,
	.on_removed = on_removed,
	.on_error = on_error,
	.on_error_cleared = on_error_cleared,
};

static void mark(struct parent *p, int what)
{
	const struct record r = {.what = what};

	changes_send(p);
	record_write(p, &r, "", "");
	if (fflush(p->pipe) != 0)
		die("the other half is gone");
}

static void put(struct parent *p, struct object *o)
{
	if (model_put(p->model, o) < 0)
		die("out of memory");
	(void)object_unref(o);
}

/* Return: milliseconds, the objects being there already. */
static double load(struct parent *p, const struct size *size)
{
	size_t n = 0, all = NAMESPACES + size->pods + size->services + size->policies;
	struct object **objects = calloc(all, sizeof(*objects));
	double begin;

	if (!objects)
		die("out of memory");
	for (unsigned int i = 0; i < NAMESPACES; i++)
		objects[n++] = namespace_make(i);
	for (unsigned int i = 0; i < size->policies; i++)
		objects[n++] = policy_make(i, 0);
	for (unsigned int i = 0; i < size->services; i++)
		objects[n++] = service_make(i);
	for (unsigned int i = 0; i < size->pods; i++)
		objects[n++] = pod_make(size, i, 0);
	begin = now_us();
	for (size_t i = 0; i < n; i++)
		put(p, objects[i]);
	if (model_flush(p->model) < 0)
		die("out of memory");
	free(objects);
	return (now_us() - begin) / 1e3;
}

/* One object at a time, the first @of of them in turn. Return: microseconds of a change. */
static double change(struct parent *p, const struct size *size, bool is_policy, unsigned int of)
{
	static unsigned int round;
	double spent = 0;

	for (unsigned int i = 0; i < CHANGES; i++) {
		struct object *o = is_policy ? policy_make(i % of % size->policies, ++round)
					     : pod_make(size, i % of * 37 % size->pods, ++round);
		double begin = now_us();

		put(p, o);
		if (model_flush(p->model) < 0)
			die("out of memory");
		spent += now_us() - begin;
		mark(p, of == CHANGES ? RECORD_CHANGED : RECORD_WARM);
	}
	return spent / CHANGES;
}

/* ztunnel's half. */

struct child {
	struct decode_tables *tables;
	struct state_builder *builder;
	struct state *state;
	size_t rss_before;
	double spent; /* since the last mark */
	struct {
		double us;
		size_t count;
	} changes[RECORD_WARM + 1];
};

static size_t rss_bytes(void)
{
	unsigned long pages = 0;
	FILE *f = fopen("/proc/self/statm", "r");

	if (!f || fscanf(f, "%*u %lu", &pages) != 1)
		die("no /proc");
	(void)fclose(f);
	return pages * (size_t)sysconf(_SC_PAGESIZE);
}

static void resource_take(struct child *c, const struct record *r, const char *name,
			  const uint8_t *bytes)
{
	struct decoded_address a = {0};
	struct policy *p = NULL;
	char err[256] = "";
	int k = 0;

	if (r->what == RECORD_REMOVED)
		k = r->type == XDS_ADDRESS ? state_builder_del_address(c->builder, name)
					   : state_builder_del_policy(c->builder, name);
	else if (r->type == XDS_AUTHORIZATION)
		k = decode_policy(name, bytes, r->len, &p, err, sizeof(err));
	else
		k = decode_address(c->tables, bytes, r->len, &a, err, sizeof(err));
	if (k == 0 && p)
		k = state_builder_put_policy(c->builder, p);
	if (k == 0 && a.workload)
		k = state_builder_put_workload(c->builder, a.workload);
	if (k == 0 && a.service)
		k = state_builder_put_service(c->builder, a.service);
	policy_unref(p);
	workload_unref(a.workload);
	service_def_unref(a.service);
	if (k < 0)
		die("a resource was refused");
}

static void child_build(struct child *c)
{
	struct state *s = NULL;

	if (state_builder_build(c->builder, &s) < 0)
		die("out of memory");
	state_unref(c->state);
	c->state = s;
}

static int count_workload(void *arg, const struct workload *w)
{
	++*(size_t *)arg;
	return 0;
}

static void child_report(struct child *c)
{
	size_t n = 0, rss = rss_bytes();

	(void)state_visit_workloads(c->state, count_workload, &n);
	printf("\"ztunnel_load_ms\":%.1f,\"ztunnel_workloads\":%zu,\"ztunnel_rss_bytes\":%zu,"
	       "\"ztunnel_bytes_per_workload\":%.1f,",
	       c->spent / 1e3, n, rss - c->rss_before, (double)(rss - c->rss_before) / (double)n);
	(void)fflush(stdout);
}

static void child_mark(struct child *c, const struct record *r)
{
	double begin = now_us();

	child_build(c);
	c->spent += now_us() - begin;
	if (r->what == RECORD_LOADED)
		child_report(c);
	c->changes[r->what].us += c->spent;
	c->changes[r->what].count++;
	c->spent = 0;
}

static void child_run(FILE *pipe)
{
	static uint8_t bytes[1 << 20];
	static char name[1024];
	struct child c = {0};
	struct record r;

	if (state_builder_new(NODE, &c.builder) < 0 || decode_tables_new("", &c.tables) < 0)
		die("out of memory");
	c.rss_before = rss_bytes();
	while (fread(&r, sizeof(r), 1, pipe) == 1) {
		double begin;

		if (r.len > sizeof(bytes) || r.name_len > sizeof(name) ||
		    fread(name, 1, r.name_len, pipe) != r.name_len ||
		    fread(bytes, 1, r.len, pipe) != r.len)
			die("a resource is too long");
		if (r.what != RECORD_RESOURCE && r.what != RECORD_REMOVED) {
			child_mark(&c, &r);
			continue;
		}
		begin = now_us();
		resource_take(&c, &r, name, bytes);
		c.spent += now_us() - begin;
	}
	printf("\"ztunnel_change_us\":%.1f,\"ztunnel_change_warm_us\":%.1f}\n",
	       c.changes[RECORD_CHANGED].us / (double)c.changes[RECORD_CHANGED].count,
	       c.changes[RECORD_WARM].us / (double)c.changes[RECORD_WARM].count);
	(void)fflush(stdout);
	_exit(0);
}

static int child_start(FILE **ret)
{
	int fds[2];
	pid_t pid;

	if (pipe(fds) < 0 || (pid = fork()) < 0)
		die("cannot start the other half");
	if (pid == 0) {
		(void)close(fds[1]);
		child_run(fdopen(fds[0], "r"));
	}
	(void)close(fds[0]);
	*ret = fdopen(fds[1], "w");
	return pid;
}

int main(int argc, char **argv)
{
	struct parent p = {0};
	struct size size;
	uint64_t n[3];
	double load_ms, pod_us, policy_us, pod_warm_us, policy_warm_us;
	int status = 0;
	pid_t pid;

	for (int i = 0; i < 3; i++)
		if (argc != 4 || str_parse_u64(argv[1 + i], 1, 1000000, &n[i]) < 0)
			die("usage: mesh-size PODS SERVICES POLICIES");
	size = (struct size){(unsigned int)n[0], (unsigned int)n[1], (unsigned int)n[2]};
	log_set_level(LOG_ERROR);
	printf("{\"pods\":%u,\"services\":%u,\"policies\":%u,", size.pods, size.services,
	       size.policies);
	(void)fflush(stdout);
	pid = child_start(&p.pipe);
	for (int type = 0; type < XDS_TYPE_MAX; type++)
		if (resources_init(&p.stores[type]) < 0)
			die("out of memory");
	if (!p.pipe || model_new(&ops, &p, NULL, &p.model) < 0)
		die("out of memory");
	load_ms = load(&p, &size);
	mark(&p, RECORD_LOADED);
	pod_us = change(&p, &size, false, CHANGES);
	policy_us = change(&p, &size, true, CHANGES);
	pod_warm_us = change(&p, &size, false, WARM);
	policy_warm_us = change(&p, &size, true, WARM);
	(void)sleep(1);
	printf("\"control_load_ms\":%.1f,\"control_pod_change_us\":%.1f,"
	       "\"control_policy_change_us\":%.1f,\"control_pod_change_warm_us\":%.1f,"
	       "\"control_policy_change_warm_us\":%.1f,\"resources\":%zu,\"bytes\":%zu,",
	       load_ms, pod_us, policy_us, pod_warm_us, policy_warm_us, p.resources, p.bytes);
	(void)fflush(stdout);
	(void)fclose(p.pipe);
	(void)waitpid(pid, &status, 0);
	(void)model_free(p.model);
	for (int type = 0; type < XDS_TYPE_MAX; type++)
		resources_clear(&p.stores[type]);
	return WIFEXITED(status) ? WEXITSTATUS(status) : 1;
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "roots.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <jansson.h>

#include "base/list.h"
#include "base/log.h"
#include "base/map.h"
#include "base/str.h"

#define MAP_NAME "istio-ca-root-cert"
#define WRITE_US 10000000ULL
#define AT_ONCE  16
#define APPLY    "?fieldManager=culvert-control&force=true"

/** struct place - one namespace. */
struct place {
	struct roots *roots;
	struct list link; /* in the queue while it is to be written */
	struct kube_request *request;
	char *name;
};

struct roots {
	struct roots_config config;
	struct map *places; /* name -> struct place */
	struct list queue;
	size_t n_open;
	char *text;
	bool is_failing; /* told */
};

static void place_free(struct place *p)
{
	if (p->request)
		p->roots->n_open--;
	(void)kube_request_cancel(p->request);
	list_del(&p->link);
	free(p->name);
	free(p);
}

static void queue_run(struct roots *r);

static void on_written(void *arg, const struct kube_answer *a)
{
	struct place *p = arg;
	struct roots *r = p->roots;
	bool is_fine = a->error == 0 && a->status / 100 == 2;

	p->request = NULL;
	r->n_open--;
	/* a namespace that is being deleted takes nothing any more */
	if (is_fine || a->status == 404 || a->status == 403) {
		if (a->status == 403 && !r->is_failing)
			log_warn("control",
				 "ConfigMap " MAP_NAME " not written namespace=%s: %.200s", p->name,
				 a->body);
		r->is_failing = a->status == 403;
	} else {
		if (!r->is_failing)
			log_warn("control",
				 "ConfigMap " MAP_NAME " not written namespace=%s status=%d: %s",
				 p->name, a->status, a->message);
		r->is_failing = true;
		list_add_tail(&r->queue, &p->link);
		return; /* again with the next change or answer */
	}
	queue_run(r);
}

static int write_one(struct place *p)
{
	_cleanup_(freep) char *path =
		str_format("/api/v1/namespaces/%s/configmaps/" MAP_NAME APPLY, p->name);
	json_t *body =
		json_pack("{s:s,s:s,s:{s:s,s:s,s:{s:s}},s:{s:s}}", "apiVersion", "v1", "kind",
			  "ConfigMap", "metadata", "name", MAP_NAME, "namespace", p->name, "labels",
			  "istio.io/config", "true", "data", "root-cert.pem", p->roots->text);
	_cleanup_(freep) char *text = body ? json_dumps(body, JSON_COMPACT) : NULL;
	const struct kube_request_config config = {
		.method = "PATCH",
		.path = path,
		.content_type = "application/apply-patch+yaml",
		.body = text,
		.timeout_us = WRITE_US,
		.on_done = on_written,
		.arg = p,
	};

	json_decref(body);
	return path && text ? kube_request_new(p->roots->config.kube, &config, &p->request)
			    : -ENOMEM;
}

static void queue_run(struct roots *r)
{
	while (r->n_open < AT_ONCE && !list_is_empty(&r->queue)) {
		struct place *p = list_entry(r->queue.next, struct place, link);

		if (write_one(p) < 0)
			return;
		list_del(&p->link);
		r->n_open++;
	}
}

static void place_write(struct place *p)
{
	if (!p->roots->text || !list_is_empty(&p->link))
		return;
	if (p->request) {
		p->roots->n_open--;
		p->request = kube_request_cancel(p->request);
	}
	list_add_tail(&p->roots->queue, &p->link);
	queue_run(p->roots);
}

int roots_set_ca(struct roots *r, const struct ca *ca)
{
	char *text;
	int rc = ca_roots_pem(ca, &text);

	if (rc < 0)
		return rc;
	free(r->text);
	r->text = text;
	map_for_each (r->places, it)
		place_write(it.value);
	return 0;
}

void roots_put_namespace(struct roots *r, const struct object *ns)
{
	struct place *p = map_get_str(r->places, ns->name);

	if (p || object_value(ns, "metadata.deletionTimestamp")) {
		queue_run(r);
		return;
	}
	p = calloc(1, sizeof(*p));
	if (!p)
		return;
	p->roots = r;
	list_init(&p->link);
	p->name = strdup(ns->name);
	if (!p->name || map_put_str(r->places, ns->name, p) < 0) {
		place_free(p);
		return;
	}
	place_write(p);
}

void roots_delete_namespace(struct roots *r, const char *name)
{
	struct place *p = map_del_str(r->places, name);

	if (p)
		place_free(p);
}

int roots_new(const struct roots_config *config, struct roots **ret)
{
	_cleanup_(roots_freep) struct roots *r = calloc(1, sizeof(*r));
	int rc;

	if (!r)
		return -ENOMEM;
	r->config = *config;
	list_init(&r->queue);
	rc = map_new(&r->places);
	if (rc < 0)
		return rc;
	*ret = TAKE_PTR(r);
	return 0;
}

struct roots *roots_free(struct roots *r)
{
	if (!r)
		return NULL;
	if (r->places)
		map_for_each (r->places, it)
			place_free(it.value);
	(void)map_free(r->places);
	free(r->text);
	free(r);
	return NULL;
}

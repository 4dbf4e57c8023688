/* SPDX-License-Identifier: Apache-2.0 */
#include "gateway_classes.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <jansson.h>

#include "base/log.h"
#include "base/str.h"
#include "source/honoured.h"
#include "writer.h"

#define REQUEST_US 10000000ULL

static const struct {
	const char *name, *description;
} classes[] = {
	{"istio", "Gateways into the mesh and out of it"},
	{"istio-waypoint", "Waypoints: layer 7 for pods and Services of the mesh"},
	{"istio-remote", "Gateways of other networks, which others run"},
};

struct gateway_classes {
	struct gateway_classes_config config;
	struct kube_request *request;
	char version[48];
	size_t next; /* that is looked at; at the end: nothing goes on */
	bool is_failing;
};

static void make_next(struct gateway_classes *c);

static void on_made(void *arg, const struct kube_answer *a)
{
	struct gateway_classes *c = arg;
	const char *name = classes[c->next].name;

	c->request = NULL;
	if (a->error == 0 && a->status == 201) {
		log_info("control", "made GatewayClass %s", name);
		c->is_failing = false;
	} else if (a->error || a->status != 409) {
		/* 409: somebody else was faster */
		if (!c->is_failing)
			log_warn("control", "GatewayClass %s not made status=%d: %.200s", name,
				 a->status, a->error ? a->message : a->body);
		c->is_failing = true;
		c->next = ARRAY_SIZE(classes);
		return;
	}
	c->next++;
	make_next(c);
}

static int make(struct gateway_classes *c)
{
	_cleanup_(freep) char *path =
		str_format("/apis/%s/gatewayclasses" WRITER_QUERY, c->version);
	_cleanup_(freep) char *text = NULL;
	struct kube_request_config config = {.method = "POST",
					     .path = path,
					     .timeout_us = REQUEST_US,
					     .on_done = on_made,
					     .arg = c};
	const char *name = classes[c->next].name;
	json_t *body =
		json_pack("{s:s,s:s,s:{s:s,s:{s:s}},s:{s:s,s:s}}", "apiVersion", c->version, "kind",
			  "GatewayClass", "metadata", "name", name, "labels", HONOURED_MAKER_LABEL,
			  HONOURED_MAKER, "spec", "controllerName", honoured_controller(name),
			  "description", classes[c->next].description);

	text = body ? json_dumps(body, JSON_COMPACT) : NULL;
	json_decref(body);
	config.body = text;
	return path && text ? kube_request_new(c->config.kube, &config, &c->request) : -ENOMEM;
}

static void make_next(struct gateway_classes *c)
{
	while (c->next < ARRAY_SIZE(classes) &&
	       c->config.is_there(c->config.arg, classes[c->next].name))
		c->next++;
	if (c->next < ARRAY_SIZE(classes) && make(c) < 0)
		c->next = ARRAY_SIZE(classes);
}

void gateway_classes_make(struct gateway_classes *c, const char *version)
{
	if (c->request || str_copy(c->version, sizeof(c->version), version) < 0)
		return;
	c->next = 0;
	make_next(c);
}

void gateway_classes_stop(struct gateway_classes *c)
{
	if (c)
		c->request = kube_request_cancel(c->request);
}

int gateway_classes_new(const struct gateway_classes_config *config, struct gateway_classes **ret)
{
	struct gateway_classes *c = calloc(1, sizeof(*c));

	if (!c)
		return -ENOMEM;
	c->config = *config;
	*ret = c;
	return 0;
}

struct gateway_classes *gateway_classes_free(struct gateway_classes *c)
{
	gateway_classes_stop(c);
	free(c);
	return NULL;
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "cluster.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/str.h"
#include "gateways.h"
#include "http/server.h"
#include "leader.h"
#include "net/tcp.h"
#include "registration.h"
#include "roots.h"
#include "serving.h"
#include "statuses.h"
#include "untaint.h"
#include "webhook.h"

struct cluster {
	struct cluster_config config;
	struct gate *gate;
	struct serving *serving;
	struct leader *leader;          /* of all control planes */
	struct leader *revision_leader; /* of the replicas of our revision */
	char *revision_lease;
	struct roots *roots;
	struct registration *registration;          /* of objects that name no revision */
	struct registration *revision_registration; /* of those of ours */
	struct statuses *statuses;
	struct gateways *gateways;
	struct untaint *untaint;     /* NULL: taints are somebody else's */
	struct http_server *webhook; /* NULL: none */
	struct validations validations;
};

static bool is_selected(void *arg, const char *namespace_)
{
	const struct cluster *c = arg;

	return discovery_has_namespace(c->config.discovery, namespace_);
}

static bool has_workloads(void *arg, const char *namespace_, const json_t *labels)
{
	const struct cluster *c = arg;

	return c->config.has_workloads(c->config.arg, namespace_, labels);
}

static void for_each_problem(void *arg, void (*fn)(void *fn_arg, const struct source_error *err),
			     void *fn_arg)
{
	problems_for_each(((const struct cluster *)arg)->config.problems, fn, fn_arg);
}

static void on_leader(void *arg, bool is_leader)
{
	struct cluster *c = arg;
	int r = roots_lead(c->roots, is_leader);

	if (r == 0)
		r = registration_lead(c->registration, is_leader);
	if (r == 0)
		r = statuses_lead(c->statuses, is_leader);
	if (r == 0)
		r = gateways_lead(c->gateways, is_leader);
	if (r < 0)
		log_error_errno("control", r, "what a leader writes is not written");
	if (c->untaint)
		untaint_lead(c->untaint, is_leader);
	if (c->config.on_leader)
		c->config.on_leader(c->config.leader_arg, is_leader);
}

static void on_revision_leader(void *arg, bool is_leader)
{
	const struct cluster *c = arg;

	if (registration_lead(c->revision_registration, is_leader) < 0)
		log_error("control", "the webhook of our revision is not written");
}

int cluster_set_ca(struct cluster *c, struct ca *ca)
{
	const char *more = c->config.more_roots ? c->config.more_roots : "";
	_cleanup_(freep) char *all = NULL;
	char *roots = NULL;
	int r;

	c->config.ca = ca;
	r = serving_set_ca(c->serving, ca);
	if (r == 0)
		r = ca_roots_pem(ca, &roots);
	if (r == 0) {
		all = str_format("%s%s", roots, more);
		r = all ? roots_set_text(c->roots, all) : -ENOMEM;
	}
	if (r == 0)
		r = registration_set_roots(c->registration, roots);
	if (r == 0)
		r = registration_set_roots(c->revision_registration, roots);
	free(roots);
	return r;
}

void cluster_put(struct cluster *c, struct object *obj)
{
	statuses_put(c->statuses, obj);
	if (streq(obj->kind, "Namespace"))
		roots_put_namespace(c->roots, obj);
	if (c->untaint)
		untaint_put(c->untaint, obj);
}

void cluster_delete(struct cluster *c, const struct object *obj)
{
	statuses_delete(c->statuses, obj);
	if (streq(obj->kind, "Namespace"))
		roots_delete_namespace(c->roots, obj->name);
	if (c->untaint)
		untaint_delete(c->untaint, obj);
}

void cluster_settled(struct cluster *c)
{
	statuses_changed(c->statuses);
}

void cluster_check_namespaces(struct cluster *c)
{
	roots_check(c->roots);
}

struct grpc_method cluster_method(struct cluster *c, const struct grpc_method *inner, bool is_xds)
{
	return gate_method(c->gate, inner, is_xds);
}

SSL *cluster_ssl_new(void *arg)
{
	return serving_ssl_new(((struct cluster *)arg)->serving);
}

static int gate_start(struct cluster *c)
{
	const struct gate_config gate = {.loop = c->config.loop,
					 .kube = c->config.kube,
					 .is_xds_allowed = c->config.is_xds_allowed,
					 .xds_shut = c->config.xds_shut,
					 .arg = c->config.arg};

	return gate_new(&gate, &c->gate);
}

static int leader_start(struct cluster *c, const char *lease,
			void (*on_change)(void *arg, bool is_leader), struct leader **ret)
{
	const struct leader_config leader = {.loop = c->config.loop,
					     .kube = c->config.kube,
					     .namespace_ = c->config.namespace_,
					     .lease = lease,
					     .on_change = on_change,
					     .arg = c};

	return leader_new(&leader, ret);
}

/* An account may write the webhook of its own revision only: so each revision elects who does. */
static int registrations_start(struct cluster *c)
{
	struct registration_config config = {
		.loop = c->config.loop, .kube = c->config.kube, .namespace_ = c->config.namespace_};
	int r = registration_new(&config, &c->registration);

	config.revision = c->config.revision;
	if (r == 0)
		r = registration_new(&config, &c->revision_registration);
	if (r < 0)
		return r;
	c->revision_lease = str_format(LEADER_LEASE "-%s",
				       *c->config.revision ? c->config.revision : "default");
	if (!c->revision_lease)
		return -ENOMEM;
	return leader_start(c, c->revision_lease, on_revision_leader, &c->revision_leader);
}

static int writers_start(struct cluster *c)
{
	const struct roots_config roots = {.loop = c->config.loop,
					   .kube = c->config.kube,
					   .is_selected = is_selected,
					   .arg = c};
	const struct statuses_config statuses = {.loop = c->config.loop,
						 .kube = c->config.kube,
						 .for_each_problem = for_each_problem,
						 .is_selected = is_selected,
						 .has_workloads = has_workloads,
						 .arg = c};
	const struct gateways_config gateways = {.loop = c->config.loop,
						 .kube = c->config.kube,
						 .is_selected = is_selected,
						 .arg = c};
	const struct untaint_config untaint = {.loop = c->config.loop,
					       .kube = c->config.kube,
					       .namespace_ = c->config.namespace_,
					       .key = c->config.untaint_key};
	int r = roots_new(&roots, &c->roots);

	if (r == 0)
		r = registrations_start(c);
	if (r == 0)
		r = statuses_new(&statuses, &c->statuses);
	if (r == 0)
		r = gateways_new(&gateways, &c->gateways);
	if (r == 0 && untaint.key)
		r = untaint_new(&untaint, &c->untaint);
	return r < 0 ? r : leader_start(c, LEADER_LEASE, on_leader, &c->leader);
}

static int webhook_start(struct cluster *c)
{
	struct webhook_config webhook = {.loop = c->config.loop,
					 .listen_fd = -EBADF,
					 .ssl_new = serving_ssl_new_http1,
					 .ssl_arg = c->serving,
					 .seen = &c->validations};
	int r;

	if (c->config.webhook_port == 0)
		return 0;
	r = tcp_listen_any(c->config.webhook_port, &webhook.listen_fd);
	if (r == 0)
		r = webhook_serve(&webhook, &c->webhook);
	if (r < 0) {
		(void)close_fd(webhook.listen_fd);
		log_error_errno("control", r, "cannot listen port=%u", c->config.webhook_port);
	}
	return r;
}

int cluster_new(const struct cluster_config *config, struct cluster **ret)
{
	_cleanup_(cluster_freep) struct cluster *c = calloc(1, sizeof(*c));
	const struct serving_names names = {.namespace_ = config->namespace_,
					    .cluster_domain = config->cluster_domain,
					    .revision = config->revision};
	int r;

	if (!c)
		return -ENOMEM;
	c->config = *config;
	r = gate_start(c);
	if (r == 0)
		r = serving_new(config->loop, &names, &c->serving);
	if (r == 0)
		r = writers_start(c);
	if (r == 0)
		r = cluster_set_ca(c, config->ca);
	if (r == 0)
		r = webhook_start(c);
	if (r < 0)
		return r;
	*ret = TAKE_PTR(c);
	return 0;
}

void cluster_release(struct cluster *c)
{
	leader_release(c->leader);
	leader_release(c->revision_leader);
}

struct cluster *cluster_free(struct cluster *c)
{
	if (!c)
		return NULL;
	(void)leader_free(c->leader);
	(void)leader_free(c->revision_leader);
	(void)http_server_free(c->webhook);
	(void)untaint_free(c->untaint);
	(void)gateways_free(c->gateways);
	(void)statuses_free(c->statuses);
	(void)registration_free(c->registration);
	(void)registration_free(c->revision_registration);
	(void)roots_free(c->roots);
	(void)serving_free(c->serving);
	(void)gate_free(c->gate);
	free(c->revision_lease);
	free(c);
	return NULL;
}

const struct validations *cluster_validations(const struct cluster *c)
{
	return &c->validations;
}

const struct gate *cluster_gate(const struct cluster *c)
{
	return c->gate;
}

json_t *cluster_status(const struct cluster *c)
{
	json_int_t statuses = (json_int_t)statuses_count(c->statuses);

	statuses += (json_int_t)gateways_count(c->gateways);
	return json_pack("{s:s,s:b,s:s,s:I,s:b,s:b,s:I,s:I}", "revision",
			 *c->config.revision ? c->config.revision : "default", "is_leader",
			 leader_is_leader(c->leader), "leader", leader_holder(c->leader),
			 "namespaces_with_roots", (json_int_t)roots_count(c->roots),
			 "is_webhook_seen", registration_is_seen(c->registration),
			 "is_revision_webhook_seen", registration_is_seen(c->revision_registration),
			 "statuses_written", statuses, "nodes_with_taint",
			 (json_int_t)(c->untaint ? untaint_count(c->untaint) : 0));
}

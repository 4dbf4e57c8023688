/* SPDX-License-Identifier: Apache-2.0 */
#include "plugin.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/str.h"
#include "config.h"

#define NEWEST "1.1.0"

/** struct call - one run of the plugin. */
struct call {
	const struct plugin_env *env;
	const struct plugin_world *world;
	const struct config *config;
	struct cni_request request;
	struct buf *out;
};

int plugin_error(struct buf *out, const char *version, unsigned int code, const char *message,
		 const char *details)
{
	json_t *error = json_pack("{s:s, s:i, s:s}", "cniVersion", version, "code", (int)code,
				  "msg", message);
	char *text;

	if (details[0])
		(void)json_object_set_new(error, "details", json_string(details));
	text = json_dumps(error, JSON_COMPACT);
	(void)!buf_append_str(out, text ? text : "{\"code\": 5, \"msg\": \"out of memory\"}");
	free(text);
	json_decref(error);
	return EXIT_FAILURE;
}

static int call_error(const struct call *c, unsigned int code, const char *message,
		      const char *details)
{
	return plugin_error(c->out, c->config->version, code, message, details);
}

/* ---- whose sandbox ---- */

static void arg_take(struct cni_request *q, const char *name, size_t name_len, const char *value,
		     size_t len)
{
	const struct {
		const char *name;
		char *to;
		size_t size;
	} known[] = {
		{"K8S_POD_NAMESPACE", q->namespace_, sizeof(q->namespace_)},
		{"K8S_POD_NAME", q->pod, sizeof(q->pod)},
		{"K8S_POD_UID", q->uid, sizeof(q->uid)},
	};

	for (size_t i = 0; i < ARRAY_SIZE(known); i++)
		if (strlen(known[i].name) == name_len && len < known[i].size &&
		    memcmp(known[i].name, name, name_len) == 0) {
			memcpy(known[i].to, value, len);
			known[i].to[len] = '\0';
		}
}

/* "A=b;C=d" */
static void args_read(struct cni_request *q, const char *args)
{
	while (args && *args) {
		size_t len = strcspn(args, ";");
		const char *equals = memchr(args, '=', len);

		if (equals)
			arg_take(q, args, (size_t)(equals - args), equals + 1,
				 (size_t)(args + len - equals - 1));
		args += len + (args[len] == ';');
	}
}

static int request_make(struct call *c, enum cni_verb verb)
{
	c->request = (struct cni_request){.protocol = CNI_PROTOCOL, .verb = verb};
	args_read(&c->request, c->env->args);
	return str_copy(c->request.container, sizeof(c->request.container), c->env->container);
}

/* Of another orchestrator, or made by hand. */
static bool is_pod(const struct call *c)
{
	return c->request.pod[0] && c->request.namespace_[0];
}

/* ---- verbs ---- */

static void say(const struct call *c, const char *what, const char *why)
{
	struct cni_request line = c->request;

	line.verb = CNI_LOG;
	(void)snprintf(line.message, sizeof(line.message), "%s%s%.400s", what, why[0] ? ": " : "",
		       why);
	(void)c->world->ask(c->world->arg, c->config->socket, &line, NULL, NULL);
}

static int result_pass(const struct call *c)
{
	if (buf_append(c->out, c->config->prev, c->config->prev_len) < 0)
		return call_error(c, CONFIG_ERROR_IO, "out of memory", "");
	return EXIT_SUCCESS;
}

/* The agent did not say that the pod may go on. */
static int pod_wait(const struct call *c, int r, const char *why)
{
	const char *ns = c->request.namespace_;

	if (config_is_exempt(c->config, ns)) {
		say(c, "an exempt namespace's pod starts without the agent's word", why);
		return result_pass(c);
	}
	if (r == -ENOTCONN && c->config->grace_s > 0 &&
	    c->world->is_let_go(c->world->arg, c->config->socket, c->config->grace_s, ns))
		return result_pass(c);
	if (r == -ENOTCONN)
		return call_error(c, CONFIG_ERROR_AGAIN,
				  "culvert-agent is away: the pod waits for it, since it may be of "
				  "the mesh",
				  c->config->socket);
	return call_error(c, CONFIG_ERROR_AGAIN, "the pod cannot be taken into the mesh yet", why);
}

static int word_of_agent(const struct call *c, const char *netns, struct cni_reply *reply)
{
	int r = c->world->ask(c->world->arg, c->config->socket, &c->request, netns, reply);

	if (r < 0)
		(void)str_copy(reply->message, sizeof(reply->message), strerror(-r));
	else if (reply->verdict == CNI_AGAIN)
		r = -EAGAIN;
	return r;
}

static int verb_add(struct call *c)
{
	struct cni_reply reply = {0};
	int r;

	if (!c->config->prev)
		return call_error(c, CONFIG_ERROR_INVALID,
				  "prevResult: missing: culvert-cni belongs behind the plugin that "
				  "makes the pod's interface",
				  "");
	if (!is_pod(c))
		return result_pass(c);
	r = word_of_agent(c, c->env->netns, &reply);
	return r < 0 ? pod_wait(c, r, reply.message) : result_pass(c);
}

/* Nothing that is left over may keep a pod from going: the agent looks after it by itself, too. */
static int verb_del(struct call *c)
{
	struct cni_reply reply = {0};

	if (is_pod(c))
		(void)word_of_agent(c, NULL, &reply);
	return EXIT_SUCCESS;
}

static int verb_check(struct call *c)
{
	struct cni_reply reply = {0};
	int r;

	if (!c->config->prev)
		return call_error(c, CONFIG_ERROR_INVALID, "prevResult: missing", "");
	if (!is_pod(c))
		return EXIT_SUCCESS;
	r = word_of_agent(c, NULL, &reply);
	return r < 0 ? call_error(c, CONFIG_ERROR_AGAIN,
				  r == -ENOTCONN ? "culvert-agent is away"
						 : "the pod is not as it should be",
				  reply.message)
		     : EXIT_SUCCESS;
}

/* GC: the agent knows which namespaces have gone. STATUS: a runtime that is told "not ready" starts
 * no pod at all, the agent's neither; which pods must wait is decided for each of them, in ADD. */
static int verb_nothing(struct call *c)
{
	return EXIT_SUCCESS;
}

#define NEEDS_CONTAINER 1u
#define NEEDS_NETNS     2u
#define NEEDS_IFNAME    4u

static const struct verb {
	const char *name;
	const char *since; /* version of the specification */
	enum cni_verb verb;
	unsigned int needs;
	int (*run)(struct call *c);
} verbs[] = {
	{"ADD", "0.3.0", CNI_ADD, NEEDS_CONTAINER | NEEDS_NETNS | NEEDS_IFNAME, verb_add},
	{"DEL", "0.3.0", CNI_DEL, NEEDS_CONTAINER | NEEDS_IFNAME, verb_del},
	{"CHECK", "0.4.0", CNI_CHECK, NEEDS_CONTAINER | NEEDS_NETNS | NEEDS_IFNAME, verb_check},
	{"GC", "1.1.0", 0, 0, verb_nothing},
	{"STATUS", "1.1.0", 0, 0, verb_nothing},
};

static const struct verb *verb_find(const char *name)
{
	for (size_t i = 0; name && i < ARRAY_SIZE(verbs); i++)
		if (streq(verbs[i].name, name))
			return &verbs[i];
	return NULL;
}

static const char *env_missing(const struct plugin_env *env, unsigned int needs)
{
	if ((needs & NEEDS_CONTAINER) && (!env->container || !env->container[0]))
		return "CNI_CONTAINERID";
	if ((needs & NEEDS_NETNS) && (!env->netns || env->netns[0] != '/'))
		return "CNI_NETNS";
	if ((needs & NEEDS_IFNAME) && (!env->ifname || !env->ifname[0]))
		return "CNI_IFNAME";
	return NULL;
}

static int verb_run(const struct verb *verb, struct call *c)
{
	const char *missing = env_missing(c->env, verb->needs);

	if (missing)
		return call_error(c, CONFIG_ERROR_ENVIRONMENT,
				  "an environment variable is missing or wrong", missing);
	if (!config_version_reaches(c->config, verb->since))
		return call_error(c, CONFIG_ERROR_VERSION,
				  "the configuration's cniVersion has no such verb", verb->name);
	if (verb->verb && request_make(c, verb->verb) < 0)
		return call_error(c, CONFIG_ERROR_ENVIRONMENT,
				  "an environment variable is missing or wrong", "CNI_CONTAINERID");
	return verb->run(c);
}

/* In the version of the question, where that is one of ours. */
static int version_run(const struct config *config, struct buf *out)
{
	bool is_known = config->code != CONFIG_ERROR_VERSION;
	int r = buf_printf(out, "{\"cniVersion\":\"%s\",\"supportedVersions\":[",
			   is_known ? config->version : NEWEST);

	for (const char *const *v = config_versions(); r == 0 && *v; v++)
		r = buf_printf(out, "%s\"%s\"", v == config_versions() ? "" : ",", *v);
	return r < 0 || buf_append_str(out, "]}") < 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}

int plugin_run(const struct plugin_env *env, const char *text, size_t len,
	       const struct plugin_world *world, struct buf *out)
{
	const struct verb *verb = verb_find(env->command);
	_cleanup_(config_clear) struct config config;
	struct call c = {.env = env, .world = world, .config = &config, .out = out};
	bool is_version = env->command && streq(env->command, "VERSION");
	int r = config_read(text, len, &config);

	if (is_version && config.code != CONFIG_ERROR_DECODE)
		return version_run(&config, out);
	if (!verb && !is_version)
		return plugin_error(out, NEWEST, CONFIG_ERROR_ENVIRONMENT,
				    "CNI_COMMAND: expected ADD, DEL, CHECK, VERSION, GC or STATUS",
				    env->command ? env->command : "");
	if (r < 0 || !verb)
		return plugin_error(out,
				    config.code == CONFIG_ERROR_INVALID ? config.version : NEWEST,
				    config.code, config.error, "");
	return verb_run(verb, &c);
}

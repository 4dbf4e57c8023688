/* SPDX-License-Identifier: Apache-2.0 */
#include "kube.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/loop.h"
#include "base/str.h"
#include "cli.h"
#include "json.h"
#include "kube_plugin.h"
#include "source/kube_call.h"
#include "source/kube_client.h"

#define PAGE_ITEMS 500
#define WHY_MAX    1024
#define TURN_MS    1000
#define SILENCE_US (15 * 1000000ull)
#define TIMEOUT_US (20 * SILENCE_US)
#define TOO_MANY   429
#define TRIES      5
#define BUSY_US    1000000ull /* what the API server asks for, nearly always */

struct kube {
	struct loop *loop;
	struct kube_config config;
	struct kube_client *client;
	char why[WHY_MAX];
};

static struct {
	const char *kubeconfig, *context, *namespace_, *log, *user, *uid;
	const char *groups[KUBE_GROUPS_MAX];
	size_t groups_count;
} words;

static const struct {
	const char *name;
	const char **value;
} names[] = {{"--kubeconfig", &words.kubeconfig},
	     {"-c", &words.kubeconfig},
	     {"--context", &words.context},
	     {"--istioNamespace", &words.namespace_},
	     {"-i", &words.namespace_},
	     {"--vklog", &words.log},
	     {"--as", &words.user},
	     {"--as-uid", &words.uid}};

bool kube_is_asked(void)
{
	return words.kubeconfig || words.context;
}

/* word_take() - is argv[i] the option @name? Its value, and how many words it is. */
static int word_take(const char *name, int argc, char **argv, int i, const char **ret)
{
	size_t n = strlen(name);

	if (strncmp(argv[i], name, n) != 0 || (argv[i][n] != '=' && argv[i][n] != '\0'))
		return 0;
	if (argv[i][n] == '=') {
		*ret = argv[i] + n + 1;
		return 1;
	}
	if (i + 1 >= argc) {
		(void)cli_fail("%s: a value is missing", name);
		return -EINVAL;
	}
	*ret = argv[i + 1];
	return 2;
}

/* group_take() - likewise "--as-group", of which there may be several. */
static int group_take(int argc, char **argv, int i)
{
	const char *value;
	int n = word_take("--as-group", argc, argv, i, &value);

	if (n <= 0)
		return n;
	if (words.groups_count == KUBE_GROUPS_MAX) {
		(void)cli_fail("--as-group: %d at most", KUBE_GROUPS_MAX);
		return -EINVAL;
	}
	words.groups[words.groups_count++] = value;
	return n;
}

/* words_check() - of what was taken. */
static int words_check(void)
{
	if (words.namespace_ && !streq(words.namespace_, KUBE_MESH_NAMESPACE)) {
		(void)cli_fail("--istioNamespace %s: the mesh is in " KUBE_MESH_NAMESPACE
			       ", always",
			       words.namespace_);
		return -EINVAL;
	}
	if (!words.user && (words.uid || words.groups_count > 0)) {
		(void)cli_fail("--as-uid, --as-group: --as USER is missing");
		return -EINVAL;
	}
	return 0;
}

int kube_words_take(int *argc, char **argv)
{
	int kept = 1, i = 1;

	while (i < *argc && !streq(argv[i], "--")) {
		int n = 0;

		for (size_t k = 0; k < ARRAY_SIZE(names) && n == 0; k++)
			n = word_take(names[k].name, *argc, argv, i, names[k].value);
		if (n == 0)
			n = group_take(*argc, argv, i);
		if (n < 0)
			return n;
		if (n == 0)
			argv[kept++] = argv[i++];
		i += n;
	}
	while (i < *argc)
		argv[kept++] = argv[i++];
	*argc = kept;
	argv[kept] = NULL;
	return words_check();
}

static size_t word_put(const char **argv, const char *name, const char *value)
{
	if (!value)
		return 0;
	argv[0] = name;
	argv[1] = value;
	return 2;
}

size_t kube_words_put(const char **argv)
{
	size_t n = word_put(argv, "--kubeconfig", words.kubeconfig);

	n += word_put(argv + n, "--context", words.context);
	n += word_put(argv + n, "--as", words.user);
	n += word_put(argv + n, "--as-uid", words.uid);
	for (size_t i = 0; i < words.groups_count; i++)
		n += word_put(argv + n, "--as-group", words.groups[i]);
	return n;
}

/* The files that are meant; caller frees. NULL: none is, or no memory. */
static char *config_paths(void)
{
	const char *env = getenv("KUBECONFIG"), *home = getenv("HOME");
	_cleanup_(freep) char *path = NULL;

	if (words.kubeconfig)
		return strdup(words.kubeconfig);
	if (env && *env)
		return strdup(env);
	path = home ? str_format("%s/.kube/config", home) : NULL;
	return path && access(path, F_OK) == 0 ? TAKE_PTR(path) : NULL;
}

bool kube_is_there(void)
{
	_cleanup_(freep) char *paths = config_paths();

	return paths || getenv("KUBERNETES_SERVICE_HOST");
}

/* act_as() - as whom the words say, instead of what the kubeconfig says. */
static int act_as(struct kube_config *c, char *err, size_t err_size)
{
	int r = 0;

	if (!words.user)
		return 0;
	json_decref(c->act_as);
	c->act_as = NULL;
	r = kube_config_act_as(c, "Impersonate-User", words.user);
	if (r == 0 && words.uid)
		r = kube_config_act_as(c, "Impersonate-Uid", words.uid);
	for (size_t i = 0; i < words.groups_count && r == 0; i++)
		r = kube_config_act_as(c, "Impersonate-Group", words.groups[i]);
	if (r == -EINVAL)
		(void)snprintf(err, err_size, "--as: expected a name");
	return r;
}

static int config_open(struct kube_config *ret, char *err, size_t err_size)
{
	_cleanup_(freep) char *paths = config_paths();
	int r;

	if (paths) {
		r = kube_config_load(paths, words.context, ret, err, err_size);
		ret->has_environment = true;
		return r == 0 && ret->exec ? kube_plugin_run(ret, err, err_size) : r;
	}
	if (words.context) {
		(void)snprintf(err, err_size, "--context %s: there is no kubeconfig",
			       words.context);
		return -ENOENT;
	}
	r = kube_config_in_cluster(KUBE_ACCOUNT_DIR, ret, err, err_size);
	ret->has_environment = true;
	if (r == -ENOENT)
		(void)snprintf(err, err_size,
			       "no cluster: neither --kubeconfig, nor $KUBECONFIG, nor "
			       "~/.kube/config, nor a pod's service account");
	return r;
}

int kube_new(struct kube_config *config, struct kube **ret)
{
	_cleanup_(kube_closep) struct kube *k = calloc(1, sizeof(*k));
	int r;

	if (!k) {
		kube_config_clear(config);
		return -ENOMEM;
	}
	k->config = *config;
	memset(config, 0, sizeof(*config));
	r = loop_new(&k->loop);
	if (r == 0)
		r = kube_client_new(k->loop, &k->config, &k->client);
	if (r < 0)
		return r;
	*ret = TAKE_PTR(k);
	return 0;
}

int kube_open(struct kube **ret)
{
	_cleanup_(kube_config_clear) struct kube_config config = {0};
	char err[WHY_MAX] = "";
	int r = config_open(&config, err, sizeof(err));

	if (r == 0)
		r = act_as(&config, err, sizeof(err));
	if (r == 0)
		r = kube_new(&config, ret);
	return r < 0 ? cli_fail("%s", *err ? err : strerror(-r)) : 0;
}

struct kube *kube_close(struct kube *k)
{
	if (!k)
		return NULL;
	(void)kube_client_free(k->client);
	(void)loop_free(k->loop);
	kube_config_clear(&k->config);
	free(k);
	return NULL;
}

const struct kube_config *kube_config(const struct kube *k)
{
	return &k->config;
}

const char *kube_namespace(const struct kube *k)
{
	return k->config.namespace_ ? k->config.namespace_ : "default";
}

const char *kube_why(const struct kube *k)
{
	return k->why;
}

int kube_fail(const struct kube *k, const char *what)
{
	return cli_fail("%s: %s", what, k->why);
}

static int error_of_status(int status)
{
	switch (status) {
	case 404:
		return -ENOENT;
	case 401:
	case 403:
		return -EACCES;
	case 409:
		return -EEXIST;
	case 400:
	case 422:
		return -EINVAL;
	case 504:
		return -ETIMEDOUT;
	default:
		return status / 100 == 2 ? 0 : -EIO;
	}
}

/* is_busy() - has nothing been done, and may it be asked again? The API server sheds load; and who
 * asks by a connection that it has just closed only finds it closed. */
static bool is_busy(const struct kube_request_config *config, int error, int status)
{
	return error == 0 ? status == TOO_MANY
			  : error == -ECONNRESET && streq(config->method, "GET");
}

/* call() - as kube_call(), again while the API server has no time, as client-go does. */
static int call(struct kube *k, const struct kube_request_config *config, struct kube_reply *reply)
{
	int r = kube_call(k->loop, k->client, config, reply);

	for (int i = 1; i < TRIES && is_busy(config, r, reply->status); i++) {
		r = kube_pause(k->loop, BUSY_US);
		if (r == 0)
			r = kube_call(k->loop, k->client, config, reply);
	}
	return r;
}

int kube_do(struct kube *k, const struct kube_ask *ask, json_t **ret)
{
	_cleanup_(freep) char *body = ask->body ? json_dumps(ask->body, JSON_COMPACT) : NULL;
	_cleanup_(kube_reply_clear) struct kube_reply reply = {0};
	const struct kube_request_config config = {
		.method = ask->method ? ask->method : "GET",
		.path = ask->path,
		.content_type = ask->content_type,
		.body = body,
		.timeout_us = TIMEOUT_US,
		.silence_us = SILENCE_US,
	};
	int r = ask->body && !body ? -ENOMEM : call(k, &config, &reply);

	if (r < 0) {
		(void)snprintf(k->why, sizeof(k->why), "%s: %s", k->config.server,
			       *reply.message ? reply.message : strerror(-r));
		return r;
	}
	r = error_of_status(reply.status);
	if (r < 0) {
		(void)snprintf(k->why, sizeof(k->why), "%s",
			       json_text(reply.body, "message", reply.message));
		return r;
	}
	if (ret && !reply.body) {
		(void)snprintf(k->why, sizeof(k->why), "%s: the answer is no JSON", ask->path);
		return -EBADMSG;
	}
	if (ret)
		*ret = TAKE_PTR(reply.body);
	return 0;
}

int kube_get(struct kube *k, const char *path, json_t **ret)
{
	return kube_do(k, &(struct kube_ask){.path = path}, ret);
}

/** struct gather - a text that is being read. */
struct gather {
	struct buf *text;
	bool is_done;
	int result;
};

static int on_text(void *arg, const char *data, size_t len)
{
	struct gather *g = arg;

	return buf_append(g->text, data, len);
}

static void on_text_end(void *arg, const struct kube_answer *a)
{
	struct gather *g = arg;

	g->is_done = true;
	g->result = a->error ? a->error : error_of_status(a->status);
}

int kube_text(struct kube *k, const char *path, struct buf *ret)
{
	struct gather g = {.text = ret};
	const struct kube_request_config config = {
		.method = "GET",
		.path = path,
		.timeout_us = TIMEOUT_US,
		.silence_us = SILENCE_US,
		.on_data = on_text,
		.on_done = on_text_end,
		.arg = &g,
	};
	struct kube_request *q;
	int r = kube_request_new(k->client, &config, &q);

	while (r == 0 && !g.is_done)
		(void)loop_run_once(k->loop, TURN_MS);
	r = r < 0 ? r : g.result;
	if (r < 0)
		(void)snprintf(k->why, sizeof(k->why), "%s: %s", path, strerror(-r));
	return r;
}

/* Items of a list lack what they are; the list says it: "PodList". */
static int page_take(json_t *all, const json_t *page)
{
	const char *kind = json_text(page, "kind", "List");
	size_t n = strlen(kind) - (str_has_suffix(kind, "List") ? 4 : 0);
	json_t *one;
	size_t i;

	json_array_foreach (json_object_get(page, "items"), i, one) {
		if (!json_is_object(one))
			continue;
		if (n > 0 && !json_object_get(one, "kind"))
			(void)json_object_set_new(one, "kind", json_stringn(kind, n));
		if (!json_object_get(one, "apiVersion"))
			(void)json_object_set_new(one, "apiVersion",
						  json_string(json_text(page, "apiVersion", "")));
		if (json_array_append(all, one) < 0)
			return -ENOMEM;
	}
	return 0;
}

int kube_list(struct kube *k, const char *path, json_t **ret)
{
	_cleanup_(json_decrefp) json_t *all = json_array();
	_cleanup_(freep) char *next = NULL;
	int r = all ? 0 : -ENOMEM;

	do {
		_cleanup_(json_decrefp) json_t *page = NULL;
		_cleanup_(freep) char *at =
			str_format("%s%climit=%d%s%s", path, strchr(path, '?') ? '&' : '?',
				   PAGE_ITEMS, next ? "&continue=" : "", next ? next : "");
		const char *more;

		r = r < 0 ? r : at ? kube_get(k, at, &page) : -ENOMEM;
		if (r == 0)
			r = page_take(all, page);
		if (r < 0)
			return r;
		more = json_text(json_object_get(page, "metadata"), "continue", "");
		free(next);
		next = *more ? strdup(more) : NULL;
	} while (next);
	*ret = TAKE_PTR(all);
	return 0;
}

int kube_list_served(struct kube *k, const char *const *versions, const char *ns,
		     const char *plural, json_t **ret)
{
	int r = -ENOENT;

	for (; *versions && r == -ENOENT; versions++) {
		_cleanup_(freep) char *path = str_format(
			"/%s/%s/%s%s%s%s", strchr(*versions, '/') ? "apis" : "api", *versions,
			ns ? "namespaces/" : "", ns ? ns : "", ns ? "/" : "", plural);

		r = path ? kube_list(k, path, ret) : -ENOMEM;
	}
	return r;
}

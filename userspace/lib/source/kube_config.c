/* SPDX-License-Identifier: Apache-2.0 */
#include "source/kube_config.h"

#include <ctype.h>
#include <errno.h>
#include <limits.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <jansson.h>
#include <openssl/evp.h>

#include "base/str.h"
#include "source/yaml.h"

#define FILE_MAX_BYTES (1 << 20)

/** struct load - one reading of a kubeconfig. */
struct load {
	const char *path;    /* of what is being read */
	const char *context; /* NULL: the current one */
	json_t *body;        /* owned: all files as one, each element with its file at "_file" */
	struct kube_config config;
	char *err;
	size_t err_size;
};

void kube_config_clear(struct kube_config *c)
{
	free(c->server);
	free(c->ca_file);
	free(c->ca_pem);
	free(c->token_file);
	free(c->token);
	free(c->cert_file);
	free(c->key_file);
	free(c->cert_pem);
	if (c->key_pem)
		explicit_bzero(c->key_pem, strlen(c->key_pem));
	free(c->key_pem);
	free(c->tls_server_name);
	free(c->proxy_url);
	free(c->namespace_);
	free(c->context);
	json_decref(c->act_as);
	json_decref(c->exec);
	memset(c, 0, sizeof(*c));
}

static void strip_end(char *s, const char *what)
{
	size_t n = strlen(s);

	while (n > 0 && strchr(what, s[n - 1]))
		s[--n] = '\0';
}

int kube_config_in_cluster(const char *dir, struct kube_config *ret, char *err, size_t err_size)
{
	const char *host = getenv("KUBERNETES_SERVICE_HOST");
	const char *port = getenv("KUBERNETES_SERVICE_PORT");
	_cleanup_(kube_config_clear) struct kube_config c = {0};
	_cleanup_(freep) char *file = NULL;
	bool is_v6 = host && strchr(host, ':');

	if (!host || !*host) {
		(void)snprintf(
			err, err_size,
			"not in a pod: KUBERNETES_SERVICE_HOST is not set; --kubeconfig FILE "
			"says where the API server is");
		return -ENOENT;
	}
	c.server = str_format("https://%s%s%s:%s", is_v6 ? "[" : "", host, is_v6 ? "]" : "",
			      port && *port ? port : "443");
	c.ca_file = str_format("%s/ca.crt", dir);
	c.token_file = str_format("%s/token", dir);
	file = str_format("%s/namespace", dir);
	if (!c.server || !c.ca_file || !c.token_file || !file)
		return -ENOMEM;
	if (file_read(file, PATH_MAX, &c.namespace_, NULL) < 0)
		c.namespace_ = strdup("default");
	if (!c.namespace_)
		return -ENOMEM;
	strip_end(c.namespace_, " \n\r\t");
	*ret = c;
	memset(&c, 0, sizeof(c));
	return 0;
}

static int fail(struct load *l, const char *field, const char *expected)
{
	(void)snprintf(l->err, l->err_size, "%s: %s: expected %s", l->path, field, expected);
	return -EINVAL;
}

/* is_set() - as client-go sees it: what is null, "" or [] is not. */
static bool is_set(const json_t *object, const char *key)
{
	const json_t *value = json_object_get(object, key);

	return value && !json_is_null(value) &&
	       !(json_is_string(value) && json_string_length(value) == 0) &&
	       !(json_is_array(value) && json_array_size(value) == 0);
}

/* The element of a named list ("clusters") that has this name. */
static json_t *named(const json_t *body, const char *list, const char *name)
{
	json_t *one;
	size_t i;

	json_array_foreach (json_object_get(body, list), i, one) {
		const char *s = json_string_value(json_object_get(one, "name"));

		if (s && name && streq(s, name))
			return one;
	}
	return NULL;
}

static int list_merge(struct load *l, const json_t *file, const char *list)
{
	json_t *all = json_object_get(l->body, list), *one;
	size_t i;

	json_array_foreach (json_object_get(file, list), i, one) {
		const char *name = json_string_value(json_object_get(one, "name"));
		json_t *mine;

		if (!name || named(l->body, list, name))
			continue;
		mine = json_copy(one);
		if (json_object_set_new(mine, "_file", json_string(l->path)) < 0 ||
		    json_array_append_new(all, mine) < 0)
			return -ENOMEM;
	}
	return 0;
}

static int on_document(void *arg, const struct yaml_document *doc)
{
	struct load *l = arg;
	const char *key = "current-context";
	int r;

	r = list_merge(l, doc->body, "clusters");
	if (r == 0)
		r = list_merge(l, doc->body, "contexts");
	if (r == 0)
		r = list_merge(l, doc->body, "users");
	if (r == 0 && !is_set(l->body, key) && is_set(doc->body, key))
		r = json_object_set(l->body, key, json_object_get(doc->body, key)) < 0 ? -ENOMEM
										       : 0;
	return r < 0 ? r : 1; /* the first document is all of a kubeconfig */
}

static int copy_string(const json_t *from, const char *key, char **ret)
{
	const char *s = json_string_value(json_object_get(from, key));

	if (!s || !*s)
		return 0;
	*ret = strdup(s);
	return *ret ? 0 : -ENOMEM;
}

/* Relative paths are relative to the kubeconfig. */
static int copy_path(struct load *l, const json_t *from, const char *key, char **ret)
{
	const char *s = json_string_value(json_object_get(from, key));
	const char *slash = strrchr(l->path, '/');

	if (!s || !*s)
		return 0;
	if (s[0] == '/' || !slash)
		*ret = strdup(s);
	else
		*ret = str_format("%.*s/%s", (int)(slash - l->path), l->path, s);
	return *ret ? 0 : -ENOMEM;
}

/* As Go reads it: lines may end within it, as they do in a block of YAML. */
static char *without_lines(const char *s)
{
	char *copy = strdup(s), *to = copy;

	for (; copy && *s; s++)
		if (*s != '\n' && *s != '\r')
			*to++ = *s;
	if (copy)
		*to = '\0';
	return copy;
}

static int copy_base64(struct load *l, const json_t *from, const char *key, char **ret)
{
	const char *value = json_string_value(json_object_get(from, key));
	_cleanup_(freep) char *s = value && *value ? without_lines(value) : NULL;
	size_t n = s ? strlen(s) : 0;
	int len;

	if (!value || !*value)
		return 0;
	*ret = s ? malloc(n / 4 * 3 + 1) : NULL;
	if (!*ret)
		return -ENOMEM;
	len = n % 4 == 0 ? EVP_DecodeBlock((unsigned char *)*ret, (const unsigned char *)s, (int)n)
			 : -1;
	explicit_bzero(s, n);
	(*ret)[MAX(len, 0)] = '\0';
	if (len < 0)
		return fail(l, key, "base64");
	return 0;
}

/* The proxy is to look names up, as client-go's: those of a network that only it is in. */
static int read_proxy(struct load *l, const json_t *cluster)
{
	static const char *const schemes[][2] = {{"http://", "http://"},
						 {"https://", "https://"},
						 {"socks5://", "socks5h://"},
						 {"socks5h://", "socks5h://"}};
	const char *url = json_string_value(json_object_get(cluster, "proxy-url"));

	if (!is_set(cluster, "proxy-url"))
		return 0;
	for (size_t i = 0; url && i < ARRAY_SIZE(schemes); i++)
		if (str_has_prefix(url, schemes[i][0])) {
			l->config.proxy_url =
				str_format("%s%s", schemes[i][1], url + strlen(schemes[i][0]));
			return l->config.proxy_url ? 0 : -ENOMEM;
		}
	return fail(l, "cluster.proxy-url",
		    "http://, https:// or socks5:// and where the proxy is");
}

static int read_cluster(struct load *l, const json_t *cluster)
{
	struct kube_config *c = &l->config;
	int r = copy_string(cluster, "server", &c->server);

	if (r == 0 && (!c->server || !str_has_prefix(c->server, "http")))
		return fail(l, "cluster.server", "the URL of an API server");
	if (r == 0)
		r = copy_path(l, cluster, "certificate-authority", &c->ca_file);
	if (r == 0)
		r = copy_base64(l, cluster, "certificate-authority-data", &c->ca_pem);
	if (r == 0)
		r = copy_string(cluster, "tls-server-name", &c->tls_server_name);
	if (r == 0)
		r = read_proxy(l, cluster);
	if (r == 0)
		strip_end(c->server, "/");
	c->is_insecure = json_is_true(json_object_get(cluster, "insecure-skip-tls-verify"));
	if (r == 0 && c->is_insecure && (c->ca_file || c->ca_pem))
		return fail(l, "cluster.insecure-skip-tls-verify",
			    "no certificate-authority beside it");
	return r;
}

/* A command without a slash is looked for in PATH; one with, and relative, is a path like the
 * others (client-go's ResolveLocalPaths()). */
static int read_exec(struct load *l, const json_t *exec)
{
	const char *command = json_string_value(json_object_get(exec, "command"));
	_cleanup_(freep) char *path = NULL;
	int r;

	if (!command || !*command)
		return fail(l, "exec.command", "a program");
	l->config.exec = json_deep_copy(exec);
	if (!l->config.exec)
		return -ENOMEM;
	if (!strchr(command, '/'))
		return 0;
	r = copy_path(l, exec, "command", &path);
	if (r == 0)
		r = json_object_set_new(l->config.exec, "command", json_string(path));
	return r < 0 ? -ENOMEM : 0;
}

int kube_config_act_as(struct kube_config *c, const char *header, const char *value)
{
	_cleanup_(freep) char *line = str_format("%s: %s", header, value);

	if (!c->act_as)
		c->act_as = json_array();
	if (!line || !c->act_as)
		return -ENOMEM;
	for (const char *p = line; *p; p++)
		if (iscntrl((unsigned char)*p))
			return -EINVAL;
	return json_array_append_new(c->act_as, json_string(line)) < 0 ? -EINVAL : 0;
}

/* act_as_each() - a header for each of @values. */
static int act_as_each(struct load *l, const char *header, const json_t *values)
{
	const json_t *one;
	size_t i;
	int r = 0;

	json_array_foreach (values, i, one) {
		const char *s = json_string_value(one);

		r = s ? kube_config_act_as(&l->config, header, s) : -EINVAL;
		if (r < 0)
			return r;
	}
	return r;
}

static int read_act_as(struct load *l, const json_t *user)
{
	static const char *const needs_user[] = {"as-uid", "as-groups", "as-user-extra"};
	const char *name = json_string_value(json_object_get(user, "as")), *key;
	const char *uid = json_string_value(json_object_get(user, "as-uid"));
	const json_t *extra = json_object_get(user, "as-user-extra"), *values;
	int r = 0;

	for (size_t i = 0; i < ARRAY_SIZE(needs_user); i++)
		if (is_set(user, needs_user[i]) && !is_set(user, "as"))
			return fail(l, needs_user[i], "a user, \"as\", beside it");
	if (is_set(user, "as"))
		r = name ? kube_config_act_as(&l->config, "Impersonate-User", name) : -EINVAL;
	if (r == 0 && uid)
		r = kube_config_act_as(&l->config, "Impersonate-Uid", uid);
	if (r == 0)
		r = act_as_each(l, "Impersonate-Group", json_object_get(user, "as-groups"));
	json_object_foreach ((json_t *)(uintptr_t)extra, key, values) {
		_cleanup_(freep) char *header = str_format("Impersonate-Extra-%s", key);

		if (r == 0)
			r = header ? act_as_each(l, header, values) : -ENOMEM;
	}
	return r == -EINVAL ? fail(l, "as", "a user to act as, and lists of what it has") : r;
}

static int read_user(struct load *l, const json_t *user)
{
	static const char *const unsupported[] = {"auth-provider", "username", "password"};
	struct kube_config *c = &l->config;
	int r;

	for (size_t i = 0; i < ARRAY_SIZE(unsupported); i++)
		if (is_set(user, unsupported[i]))
			return fail(l, unsupported[i],
				    "a token or a client certificate: this is not supported");
	r = copy_path(l, user, "client-certificate", &c->cert_file);
	if (r == 0)
		r = copy_base64(l, user, "client-certificate-data", &c->cert_pem);
	if (r == 0)
		r = copy_path(l, user, "client-key", &c->key_file);
	if (r == 0)
		r = copy_base64(l, user, "client-key-data", &c->key_pem);
	if (r == 0)
		r = copy_path(l, user, "tokenFile", &c->token_file);
	if (r == 0)
		r = copy_string(user, "token", &c->token);
	if (r == 0)
		r = read_act_as(l, user);
	if (r == 0 && is_set(user, "exec"))
		r = read_exec(l, json_object_get(user, "exec"));
	return r;
}

/* enter() - what @list has by this name, at @key; messages and relative paths are its file's. */
static const json_t *enter(struct load *l, const char *list, const char *name, const char *key)
{
	const json_t *one = named(l->body, list, name);
	const char *file = json_string_value(json_object_get(one, "_file"));

	if (file)
		l->path = file;
	return json_object_get(one, key);
}

static int read_context(struct load *l)
{
	const char *current = json_string_value(json_object_get(l->body, "current-context"));
	const char *name = l->context && *l->context ? l->context : current;
	const json_t *context = enter(l, "contexts", name, "context");
	const char *cluster = json_string_value(json_object_get(context, "cluster"));
	const char *user = json_string_value(json_object_get(context, "user"));
	const json_t *found;
	int r;

	if (!context && name != current) {
		(void)snprintf(l->err, l->err_size, "%s: there is no context %s", l->path, name);
		return -EINVAL;
	}
	if (!context)
		return fail(l, "current-context", "the name of a context of this file");
	r = copy_string(context, "namespace", &l->config.namespace_);
	if (r == 0 && !(l->config.context = strdup(name)))
		r = -ENOMEM;
	if (r < 0)
		return r;
	found = enter(l, "clusters", cluster, "cluster");
	if (!found)
		return fail(l, "context.cluster", "the name of a cluster of this file");
	r = read_cluster(l, found);
	return r < 0 ? r : read_user(l, enter(l, "users", user, "user"));
}

static int text_add(struct load *l, const char *text)
{
	struct yaml_problem problem = {0};
	int r = yaml_parse(text, strlen(text), on_document, l, &problem);

	return r == -EBADMSG ? fail(l, problem.message, "YAML") : r < 0 ? r : 0;
}

static int file_add(struct load *l, bool is_optional)
{
	_cleanup_(freep) char *text = NULL;
	int r = file_read(l->path, FILE_MAX_BYTES, &text, NULL);

	if (r == -ENOENT && is_optional)
		return 0;
	if (r < 0) {
		(void)snprintf(l->err, l->err_size, "%s: %s", l->path, strerror(-r));
		return r;
	}
	return text_add(l, text);
}

static int load_begin(struct load *l)
{
	l->body = json_pack("{s[]s[]s[]}", "clusters", "contexts", "users");
	return l->body ? 0 : -ENOMEM;
}

/* load_end() - @r of reading the files; what they say is @ret's. */
static int load_end(struct load *l, int r, struct kube_config *ret)
{
	if (r == 0 && json_array_size(json_object_get(l->body, "contexts")) == 0)
		r = fail(l, "file", "a kubeconfig, with contexts");
	if (r == 0)
		r = read_context(l);
	if (r < 0)
		kube_config_clear(&l->config);
	else
		*ret = l->config;
	json_decref(l->body);
	return r;
}

int kube_config_parse(const char *path, const char *text, const char *context,
		      struct kube_config *ret, char err[KUBE_CONFIG_ERROR_MAX])
{
	struct load l = {
		.path = path, .context = context, .err = err, .err_size = KUBE_CONFIG_ERROR_MAX};
	int r = load_begin(&l);

	return load_end(&l, r < 0 ? r : text_add(&l, text), ret);
}

int kube_config_load(const char *paths, const char *context, struct kube_config *ret, char *err,
		     size_t err_size)
{
	_cleanup_(freep) char *copy = strdup(paths);
	struct load l = {.path = paths, .context = context, .err = err, .err_size = err_size};
	char *rest = copy, *one;
	int r = copy ? load_begin(&l) : -ENOMEM;

	while (r == 0 && (one = strsep(&rest, ":")))
		if (*one) {
			l.path = one;
			r = file_add(&l, strchr(paths, ':') != NULL);
		}
	return load_end(&l, r, ret);
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "kube_plugin.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/str.h"
#include "json.h"

#define ARGS_MAX   64
#define OUTPUT_MAX (1u << 20)
#define NOT_FOUND  127

static int take_text(const json_t *from, const char *key, char **ret)
{
	const char *s = json_text(from, key, NULL);
	char *copy = s && *s ? strdup(s) : NULL;

	if (!s || !*s)
		return 0;
	if (!copy)
		return -ENOMEM;
	free(*ret);
	*ret = copy;
	return 0;
}

int kube_plugin_read(const char *text, struct kube_config *config)
{
	_cleanup_(json_decrefp) json_t *credential = json_loads(text, 0, NULL);
	const json_t *status = json_object_get(credential, "status");
	int r = take_text(status, "token", &config->token);

	if (r == 0)
		r = take_text(status, "clientCertificateData", &config->cert_pem);
	if (r == 0)
		r = take_text(status, "clientKeyData", &config->key_pem);
	if (r == 0 && !config->token && !(config->cert_pem && config->key_pem))
		r = -EBADMSG;
	return r;
}

/* What the program is told of what is wanted. */
static char *exec_info(const struct kube_config *config)
{
	_cleanup_(json_decrefp) json_t *info = json_pack(
		"{s:s,s:s,s:{s:b,s:{s:s}}}", "kind", "ExecCredential", "apiVersion",
		json_text(config->exec, "apiVersion", "client.authentication.k8s.io/v1"), "spec",
		"interactive", isatty(STDIN_FILENO), "cluster", "server", config->server);

	return info ? json_dumps(info, JSON_COMPACT) : NULL;
}

/* In the child: does not return. */
static void become(const struct kube_config *config, int out)
{
	const json_t *exec = config->exec, *one;
	const char *argv[ARGS_MAX] = {json_text(exec, "command", "")};
	char *info = exec_info(config);
	size_t i;

	json_array_foreach (json_object_get(exec, "args"), i, one)
		if (i + 2 < ARGS_MAX)
			argv[i + 1] = json_is_string(one) ? json_string_value(one) : "";
	json_array_foreach (json_object_get(exec, "env"), i, one)
		(void)setenv(json_text(one, "name", "_"), json_text(one, "value", ""), 1);
	(void)setenv("KUBERNETES_EXEC_INFO", info ? info : "", 1);
	(void)dup2(out, STDOUT_FILENO);
	(void)execvp(argv[0], (char *const *)(uintptr_t)argv);
	_exit(NOT_FOUND);
}

static int read_all(int fd, struct buf *out)
{
	ssize_t n;
	int r;

	do {
		r = buf_reserve(out, 4096);
		n = r < 0 ? 0 : read(fd, buf_tail(out), 4096);
		if (n > 0)
			buf_produce(out, (size_t)n);
	} while (r == 0 && (n > 0 || (n < 0 && errno == EINTR)));
	return r < 0 ? r : buf_append(out, "", 1);
}

static int fail(const struct kube_config *config, int error, const char *why, char *err, size_t n)
{
	const char *hint = json_text(config->exec, "installHint", "");

	(void)snprintf(err, n, "the kubeconfig's program %s %s%s%s",
		       json_text(config->exec, "command", ""), why, *hint ? ": " : "", hint);
	return error;
}

int kube_plugin_run(struct kube_config *config, char *err, size_t err_size)
{
	_cleanup_(buf_resetp) struct buf out = {.limit = OUTPUT_MAX};
	int pipes[2], status = 0, r;
	pid_t pid;

	if (pipe2(pipes, O_CLOEXEC) < 0)
		return -errno;
	(void)fflush(NULL);
	pid = fork();
	if (pid == 0)
		become(config, pipes[1]);
	(void)close(pipes[1]);
	r = pid < 0 ? -EAGAIN : read_all(pipes[0], &out);
	(void)close(pipes[0]);
	if (pid > 0)
		while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
			;
	if (r < 0)
		return fail(config, r, "could not be run", err, err_size);
	if (WIFEXITED(status) && WEXITSTATUS(status) == NOT_FOUND)
		return fail(config, -ENOENT, "is not there", err, err_size);
	if (!WIFEXITED(status) || WEXITSTATUS(status) != 0)
		return fail(config, -EPERM, "failed", err, err_size);
	r = kube_plugin_read((const char *)buf_head(&out), config);
	return r < 0 ? fail(config, r, "gave no credentials", err, err_size) : 0;
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "admin.h"

#include <ctype.h>
#include <curl/curl.h>
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "admin_remote.h"
#include "base/cleanup.h"
#include "base/str.h"
#include "kube.h"

#define ANSWER_MAX       (256UL * 1024 * 1024)
#define ANSWER_TIMEOUT_S 15L

DEFINE_CLEANUP(CURL *, curl_easy_cleanup);

static bool has_sockets(const char *run_dir)
{
	static const char *const parts[] = {"control", "agent", "ztunnel", "node.lock"};
	char path[CLI_PATH_MAX * 2];

	for (size_t i = 0; i < ARRAY_SIZE(parts); i++) {
		(void)snprintf(path, sizeof(path), "%s/%s", run_dir, parts[i]);
		if (access(path, F_OK) == 0)
			return true;
	}
	return false;
}

static int compare_nodes(const void *a, const void *b)
{
	return strcmp(((const struct admin_node *)a)->name, ((const struct admin_node *)b)->name);
}

/* find_all() - every folder below /run/culvert that looks like a node. */
static size_t find_all(struct admin_node *ret, size_t max)
{
	_cleanup_(closedirp) DIR *dir = opendir(CLI_RUN_ROOT);
	const struct dirent *e;
	size_t n = 0;

	while (dir && n < max && (e = readdir(dir))) {
		struct admin_node *node = &ret[n];
		int len;

		node->pod[0] = '\0';
		node->is_leaving = false;
		if (e->d_name[0] == '.' || str_copy(node->name, sizeof(node->name), e->d_name) < 0)
			continue;
		len = snprintf(node->run_dir, sizeof(node->run_dir), "%s/%s", CLI_RUN_ROOT,
			       e->d_name);
		if (len < (int)sizeof(node->run_dir) && has_sockets(node->run_dir))
			n++;
	}
	qsort(ret, n, sizeof(*ret), compare_nodes);
	return n;
}

size_t admin_find_local(const char *node, const char *run_dir, struct admin_node *ret, size_t max)
{
	const char *slash;
	int len;

	ret->pod[0] = '\0';
	ret->is_leaving = false;
	if (!node && !run_dir)
		return find_all(ret, max);
	if (max == 0)
		return 0;
	if (run_dir)
		len = snprintf(ret->run_dir, sizeof(ret->run_dir), "%s", run_dir);
	else
		len = snprintf(ret->run_dir, sizeof(ret->run_dir), "%s/%s", CLI_RUN_ROOT, node);
	slash = strrchr(ret->run_dir, '/');
	if (len >= (int)sizeof(ret->run_dir))
		return 0;
	return str_copy(ret->name, sizeof(ret->name),
			node    ? node
			: slash ? slash + 1
				: run_dir) == 0;
}

bool admin_is_remote(const char *node, const char *run_dir)
{
	struct admin_node first;

	if (run_dir)
		return false;
	if (kube_is_asked())
		return true;
	if (!kube_is_there())
		return false;
	return admin_find_local(node, NULL, &first, 1) == 0 || !has_sockets(first.run_dir);
}

size_t admin_find_nodes(const char *node, const char *run_dir, struct admin_node *ret, size_t max)
{
	int n;

	if (max == 0 || !admin_is_remote(node, run_dir))
		return admin_find_local(node, run_dir, ret, max);
	n = admin_remote_nodes(node, ret, max);
	return n < 0 ? 0 : (size_t)n;
}

bool admin_find_beside(const struct admin_node *n, const char *name, struct admin_node *ret)
{
	const char *slash = strrchr(n->run_dir, '/');
	struct admin_node found = {0};
	int len;

	if (n->pod[0])
		return *name && admin_find_nodes(name, NULL, ret, 1) == 1;
	if (!slash || *name == '\0' || strchr(name, '/') ||
	    str_copy(found.name, sizeof(found.name), name) < 0)
		return false;
	len = snprintf(found.run_dir, sizeof(found.run_dir), "%.*s/%s", (int)(slash - n->run_dir),
		       n->run_dir, name);
	if (len >= (int)sizeof(found.run_dir) || access(found.run_dir, F_OK) < 0)
		return false;
	*ret = found;
	return true;
}

int admin_none(void)
{
	if (kube_is_asked() || kube_is_there())
		return admin_remote_none();
	return cli_fail("no node runs here (nothing in " CLI_RUN_ROOT
			"); \"culvert node\" starts one");
}

int admin_find_one(const char *node, const char *run_dir, struct admin_node *ret)
{
	_cleanup_(freep) struct admin_node *found = calloc(ADMIN_NODES_MAX, sizeof(*found));
	size_t n;

	if (!found)
		return cli_fail("out of memory");
	n = admin_find_nodes(node, run_dir, found, ADMIN_NODES_MAX);
	if (n == 0)
		return admin_none();
	if (n > 1 && !streq(found[0].name, found[n - 1].name))
		return cli_fail("there are several nodes; choose one: --node %s, --node %s%s",
				found[0].name, found[1].name, n > 2 ? ", ..." : "");
	*ret = found[0];
	return 0;
}

int admin_fail(const struct admin_node *n, const char *part, int error)
{
	if (n->pod[0])
		return cli_fail("%s of node %s: %s", part, n->name, admin_remote_why());
	if (error == -ECONNREFUSED)
		return cli_fail("%s of node %s is not running (nobody listens on %s/%s/admin.sock)",
				part, n->name, n->run_dir, part);
	return cli_fail("%s of node %s %s", part, n->name,
			error == -EACCES ? "may only be asked by root" : "gave no usable answer");
}

static size_t on_data(char *data, size_t size, size_t n, void *arg)
{
	return buf_append(arg, data, size * n) == 0 ? size * n : 0;
}

static int perform(CURL *curl, struct buf *body)
{
	long status = 0;
	CURLcode code;
	long os_errno = 0;

	body->limit = ANSWER_MAX;
	(void)curl_easy_setopt(curl, CURLOPT_TIMEOUT, ANSWER_TIMEOUT_S);
	(void)curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
	(void)curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, on_data);
	(void)curl_easy_setopt(curl, CURLOPT_WRITEDATA, body);
	code = curl_easy_perform(curl);
	if (code == CURLE_OK) {
		(void)curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &status);
		return (int)status;
	}
	(void)curl_easy_getinfo(curl, CURLINFO_OS_ERRNO, &os_errno);
	if (os_errno == EACCES || os_errno == EPERM)
		return -EACCES;
	return code == CURLE_COULDNT_CONNECT ? -ECONNREFUSED : -EIO;
}

int admin_request(const struct admin_node *n, const char *part, const char *method,
		  const char *target, struct buf *body)
{
	_cleanup_(curl_easy_cleanupp) CURL *curl = curl_easy_init();
	_cleanup_(freep) char *path = str_format("%s/%s/admin.sock", n->run_dir, part);
	_cleanup_(freep) char *url = str_format("http://localhost%s", target);

	if (n->pod[0])
		return admin_remote_request(n, part, method, target, body);
	if (!curl || !path || !url)
		return -ENOMEM;
	(void)curl_easy_setopt(curl, CURLOPT_UNIX_SOCKET_PATH, path);
	(void)curl_easy_setopt(curl, CURLOPT_URL, url);
	if (streq(method, "POST")) {
		(void)curl_easy_setopt(curl, CURLOPT_POST, 1L);
		(void)curl_easy_setopt(curl, CURLOPT_POSTFIELDSIZE, 0L);
	}
	return perform(curl, body);
}

char *admin_escape(const char *s)
{
	static const char hex[] = "0123456789ABCDEF";
	char *out = s ? malloc(strlen(s) * 3 + 1) : NULL;
	char *o = out;

	for (; out && *s; s++) {
		unsigned char c = (unsigned char)*s;

		if (isalnum(c) || strchr("-_.~/:", c)) {
			*o++ = (char)c;
			continue;
		}
		*o++ = '%';
		*o++ = hex[c >> 4];
		*o++ = hex[c & 15];
	}
	if (out)
		*o = '\0';
	return out;
}

int admin_ask_json(const struct admin_node *n, const char *part, const char *target, json_t **ret)
{
	_cleanup_(buf_resetp) struct buf body = {0};
	json_t *v;
	int r;

	r = admin_request(n, part, "GET", target, &body);
	if (r < 0)
		return r;
	v = json_loadb((const char *)buf_head(&body), buf_len(&body), 0, NULL);
	if (!v)
		return -EBADMSG;
	*ret = v;
	return r;
}

int admin_get_json(const struct admin_node *n, const char *part, const char *target, json_t **ret)
{
	json_t *v;
	int r;

	r = admin_ask_json(n, part, target, &v);
	if (r < 0)
		return r;
	if (r != 200)
		return json_decref(v), -EBADMSG;
	*ret = v;
	return 0;
}

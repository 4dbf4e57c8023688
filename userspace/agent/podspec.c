/* SPDX-License-Identifier: Apache-2.0 */
#include "podspec.h"

#include <errno.h>
#include <inttypes.h>
#include <jansson.h>
#include <limits.h>
#include <stdint.h>
#include <string.h>

#include "base/str.h"
#include "net/addr.h"
#include "source/pod_facts.h"

#define ANNOTATION_NETNS  "culvert.io/netns"
#define ANNOTATION_PID    "culvert.io/pid"
#define ANNOTATION_RESOLV "culvert.io/resolv-conf"
#define RESOLV_CONF       "/root/etc/resolv.conf" /* below a process' folder in /proc */

static int path_check(const char *annotation, const char *value, char *err, size_t err_size)
{
	if (value[0] == '/' && strlen(value) < PATH_MAX)
		return 0;
	(void)snprintf(err, err_size,
		       "metadata.annotations[%s]: expected an absolute path, found \"%.100s\"",
		       annotation, value);
	return -EINVAL;
}

static int paths_from_netns(struct podspec *s, const char *path, char *err, size_t err_size)
{
	int r = path_check(ANNOTATION_NETNS, path, err, err_size);

	if (r < 0)
		return r;
	s->netns = strdup(path);
	return s->netns ? 0 : -ENOMEM;
}

static int paths_set(struct podspec *s, uint64_t pid)
{
	s->netns = str_format("/proc/%" PRIu64 "/ns/net", pid);
	s->resolv_conf = str_format("/proc/%" PRIu64 RESOLV_CONF, pid);
	return s->netns && s->resolv_conf ? 0 : -ENOMEM;
}

static int paths_from_pid(struct podspec *s, const char *text, char *err, size_t err_size)
{
	uint64_t pid;

	if (str_parse_u64(text, 1, INT_MAX, &pid) < 0) {
		(void)snprintf(err, err_size,
			       "metadata.annotations[" ANNOTATION_PID
			       "]: expected a process id, found \"%.100s\"",
			       text);
		return -EINVAL;
	}
	return paths_set(s, pid);
}

static int paths_read(struct podspec *s, const struct object *pod, char *err, size_t err_size)
{
	const char *netns = object_annotation(pod, ANNOTATION_NETNS);
	const char *pid = object_annotation(pod, ANNOTATION_PID);
	const char *resolv = object_annotation(pod, ANNOTATION_RESOLV);
	int r = 0;

	if (!netns && !pid) {
		(void)snprintf(err, err_size,
			       "metadata.annotations: expected " ANNOTATION_NETNS
			       " or " ANNOTATION_PID);
		return -EINVAL;
	}
	if (pid)
		r = paths_from_pid(s, pid, err, err_size);
	if (r == 0 && netns) {
		free(s->netns);
		s->netns = NULL;
		r = paths_from_netns(s, netns, err, err_size);
	}
	if (r < 0 || !resolv)
		return r;
	r = path_check(ANNOTATION_RESOLV, resolv, err, err_size);
	if (r < 0)
		return r;
	free(s->resolv_conf);
	s->resolv_conf = strdup(resolv);
	return s->resolv_conf ? 0 : -ENOMEM;
}

static int ip_add(struct podspec *s, const char *text, const char *field, char *err,
		  size_t err_size)
{
	struct cv_addr a;

	if (cv_addr_parse(text, &a) < 0) {
		(void)snprintf(err, err_size, "%s: expected an IP address, found \"%.60s\"", field,
			       text);
		return -EINVAL;
	}
	for (size_t i = 0; i < s->ip_count; i++)
		if (cv_addr_equal(&s->ips[i], &a))
			return 0;
	if (s->ip_count == POD_MAX_IPS) {
		(void)snprintf(err, err_size, "%s: expected at most %d addresses", field,
			       POD_MAX_IPS);
		return -EINVAL;
	}
	s->ips[s->ip_count++] = a;
	return 0;
}

static int ips_read(struct podspec *s, const struct object *pod, char *err, size_t err_size)
{
	const char *ip = object_string(pod, "status.podIP");
	json_t *list = object_value(pod, "status.podIPs"), *item;
	size_t i;
	int r;

	if (ip) {
		r = ip_add(s, ip, "status.podIP", err, err_size);
		if (r < 0)
			return r;
	}
	json_array_foreach (list, i, item) {
		const char *text = json_string_value(json_object_get(item, "ip"));

		if (!text)
			continue;
		r = ip_add(s, text, "status.podIPs", err, err_size);
		if (r < 0)
			return r;
	}
	return 0;
}

static int names_read(struct podspec *s, const struct object *pod)
{
	const char *account = object_string(pod, "spec.serviceAccountName");
	const char *uid = object_string(pod, "metadata.uid");

	s->has_dns = true;
	s->incarnation = pod_incarnation(uid ? uid : "");
	s->namespace_ = strdup(pod->namespace_);
	s->name = strdup(pod->name);
	s->key = str_format("%s/%s", pod->namespace_, pod->name);
	s->service_account = strdup(account ? account : "default");
	return s->namespace_ && s->name && s->key && s->service_account ? 0 : -ENOMEM;
}

int podspec_new(const struct object *pod, pid_t pid, struct podspec **ret, char *err,
		size_t err_size)
{
	_cleanup_(podspec_freep) struct podspec *s = calloc(1, sizeof(*s));
	int r;

	if (!s)
		return -ENOMEM;
	r = names_read(s, pod);
	if (r == 0)
		r = pid ? paths_set(s, (uint64_t)pid) : paths_read(s, pod, err, err_size);
	if (r == 0)
		r = ips_read(s, pod, err, err_size);
	if (r < 0)
		return r;
	*ret = TAKE_PTR(s);
	return 0;
}

int podspec_new_sandbox(const struct object *pod, int netns_fd, struct podspec **ret)
{
	_cleanup_(podspec_freep) struct podspec *s = calloc(1, sizeof(*s));
	int r;

	if (!s)
		return -ENOMEM;
	r = names_read(s, pod);
	if (r < 0)
		return r;
	s->is_unstarted = true;
	s->netns = str_format("/proc/self/fd/%d", netns_fd);
	if (!s->netns)
		return -ENOMEM;
	*ret = TAKE_PTR(s);
	return 0;
}

int podspec_follow(struct podspec *s, const char *netns)
{
	static const char end[] = "/ns/net";
	size_t len = strlen(netns), end_len = sizeof(end) - 1;
	bool is_process = len > end_len && streq(netns + len - end_len, end);
	_cleanup_(freep) char *path = strdup(netns), *resolv = NULL;

	if (is_process)
		resolv = str_format("%.*s" RESOLV_CONF, (int)(len - end_len), netns);
	if (!path || (is_process && !resolv))
		return -ENOMEM;
	free(s->netns);
	s->netns = TAKE_PTR(path);
	if (is_process) {
		free(s->resolv_conf);
		s->resolv_conf = TAKE_PTR(resolv);
	}
	return 0;
}

void podspec_exclude(struct podspec *s, struct exclusions *x)
{
	exclude_clear(&s->exclusions);
	s->exclusions = *x;
	s->has_dns = !x->is_dns_off;
	*x = (struct exclusions){0};
}

struct podspec *podspec_free(struct podspec *s)
{
	if (!s)
		return NULL;
	exclude_clear(&s->exclusions);
	free(s->namespace_);
	free(s->name);
	free(s->key);
	free(s->service_account);
	free(s->netns);
	free(s->resolv_conf);
	free(s);
	return NULL;
}

static bool is_same_text(const char *a, const char *b)
{
	return a == b || (a && b && streq(a, b));
}

bool podspec_is_same(const struct podspec *a, const struct podspec *b)
{
	return streq(a->key, b->key) && streq(a->service_account, b->service_account) &&
	       streq(a->netns, b->netns) && is_same_text(a->resolv_conf, b->resolv_conf) &&
	       a->incarnation == b->incarnation && a->has_dns == b->has_dns &&
	       a->is_encrypt == b->is_encrypt && a->ip_count == b->ip_count &&
	       memcmp(a->ips, b->ips, sizeof(a->ips)) == 0;
}

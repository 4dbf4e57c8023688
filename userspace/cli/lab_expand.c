/* SPDX-License-Identifier: Apache-2.0 */
#include "lab.h"

#include <arpa/inet.h>
#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "base/fnv1a.h"
#include "base/str.h"

#define NAME_MAX_POD 253

static uint64_t text_hash(const char *s)
{
	uint64_t h = fnv1a(FNV1A_START, s, strlen(s));

	return h ^ (h >> 29);
}

/* Kubernetes' own alphabet for generated names: no vowels, so no words. */
static void hash_to_name(uint64_t h, size_t n, char *ret)
{
	static const char alphabet[] = "bcdfghjklmnpqrstvwxz2456789";

	for (size_t i = 0; i < n; i++, h /= 27)
		ret[i] = alphabet[h % 27];
	ret[n] = '\0';
}

static uint64_t json_hash(const json_t *j)
{
	_cleanup_(freep) char *text =
		json_dumps(j, JSON_COMPACT | JSON_SORT_KEYS | JSON_ENCODE_ANY);

	return text ? text_hash(text) : 0;
}

static json_t *child_object(json_t *o, const char *key)
{
	json_t *v = json_object_get(o, key);

	if (!json_is_object(v)) {
		v = json_object();
		if (json_object_set_new(o, key, v) < 0)
			return NULL;
	}
	return v;
}

static int annotate(json_t *pod, const char *key, const char *value)
{
	json_t *a = child_object(lab_get(pod, "metadata"), "annotations");

	return a && json_object_set_new(a, key, json_string(value)) == 0 ? 0 : -ENOMEM;
}

static int set_default(json_t *o, const char *key, json_t *value)
{
	_cleanup_(json_decrefp) json_t *v = value;

	if (!o || !v)
		return -ENOMEM;
	return json_object_get(o, key) || json_object_set(o, key, v) == 0 ? 0 : -ENOMEM;
}

static int add_desired(struct lab *l, json_t *pod, uint64_t hash)
{
	char text[24];
	int r;

	(void)snprintf(text, sizeof(text), "%016" PRIx64, hash);
	r = annotate(pod, LAB_ANNOTATION_HASH, text);
	if (r == 0)
		r = set_default(lab_get(pod, "spec"), "serviceAccountName", json_string("default"));
	if (r == 0 && json_array_append(l->desired, pod) < 0)
		r = -ENOMEM;
	return r;
}

/* As the Deployment and ReplicaSet controllers would: name, labels and owner, so that the
 * workload's name can be told. */
static json_t *deployment_pod(const json_t *deployment, const char *template_hash,
			      unsigned int index)
{
	const json_t *template = lab_get(deployment, "spec.template");
	const char *name = lab_str(deployment, "metadata.name", "");
	char set_name[NAME_MAX_POD + 1], pod_name[NAME_MAX_POD + 16], suffix[8];
	_cleanup_(json_decrefp) json_t *pod = NULL, *meta = NULL;

	(void)snprintf(set_name, sizeof(set_name), "%s-%s", name, template_hash);
	(void)snprintf(pod_name, sizeof(pod_name), "%s-%u", set_name, index);
	hash_to_name(text_hash(pod_name), 5, suffix);
	(void)snprintf(pod_name, sizeof(pod_name), "%s-%s", set_name, suffix);
	meta = lab_get(template, "metadata") ? json_deep_copy(lab_get(template, "metadata"))
					     : json_object();
	if (!meta || !child_object(meta, "labels"))
		return NULL;
	json_object_set_new(meta, "name", json_string(pod_name));
	json_object_set_new(meta, "namespace",
			    json_string(lab_str(deployment, "metadata.namespace", "default")));
	json_object_set_new(meta, "generateName", json_sprintf("%s-", set_name));
	json_object_set_new(json_object_get(meta, "labels"), "pod-template-hash",
			    json_string(template_hash));
	json_object_set_new(meta, "ownerReferences",
			    json_pack("[{s:s,s:s,s:s,s:s,s:b}]", "apiVersion", "apps/v1", "kind",
				      "ReplicaSet", "name", set_name, "uid", set_name, "controller",
				      1));
	pod = json_pack("{s:s,s:s,s:O,s:o}", "apiVersion", "v1", "kind", "Pod", "metadata", meta,
			"spec", json_deep_copy(lab_get(template, "spec")));
	if (!pod || annotate(pod, "lab.culvert.io/deployment", name) < 0)
		return NULL;
	return TAKE_PTR(pod);
}

static int add_deployment(struct lab *l, const json_t *deployment)
{
	const json_t *template = lab_get(deployment, "spec.template");
	long replicas = lab_int(deployment, "spec.replicas", 1);
	uint64_t hash;
	char template_hash[16], key[LAB_PATH_MAX];
	int r = 0;

	if (!json_is_object(lab_get(template, "spec")))
		return lab_fail(-EINVAL, "Deployment %s: spec.template.spec: expected a mapping",
				lab_key(deployment, key, sizeof(key)));
	hash = json_hash(template);
	hash_to_name(hash, 10, template_hash);
	for (long i = 0; i < replicas && r == 0; i++) {
		_cleanup_(json_decrefp) json_t *pod =
			deployment_pod(deployment, template_hash, (unsigned int)i);

		r = pod ? add_desired(l, pod, hash) : -ENOMEM;
	}
	return r;
}

int lab_add_object(struct lab *l, json_t *body)
{
	const char *kind = lab_str(body, "kind", "");
	int r = 0;

	if (streq(kind, "Pod"))
		return add_desired(l, body, json_hash(lab_get(body, "spec")));
	if (streq(kind, "Service"))
		return json_array_append(l->services, body) < 0 ? -ENOMEM : 0;
	if (streq(kind, "Deployment"))
		r = add_deployment(l, body);
	if (r == 0 && json_array_append(l->objects, body) < 0)
		r = -ENOMEM;
	return r;
}

/* --- scheduling --- */

static bool address_is_used(const struct lab *l, const char *address)
{
	const char *key;
	json_t *pod;

	json_object_foreach (l->pods, key, pod)
		if (streq(lab_str(pod, "status.podIP", ""), address))
			return true;
	return false;
}

static unsigned int pods_on_node(const struct lab *l, const char *node)
{
	unsigned int n = 0;
	const char *key;
	json_t *pod;

	json_object_foreach (l->pods, key, pod)
		n += streq(lab_str(pod, "spec.nodeName", ""), node);
	return n;
}

static unsigned int choose_node(const struct lab *l, const json_t *pod)
{
	const json_t *selector = lab_get(pod, "spec.nodeSelector");
	const char *wanted = json_string_value(json_object_get(selector, "kubernetes.io/hostname"));
	unsigned int best = 0, best_count = 0;
	char name[16];

	wanted = lab_str(pod, "spec.nodeName", wanted);
	for (unsigned int i = 1; i <= l->node_count; i++) {
		unsigned int count;

		(void)snprintf(name, sizeof(name), "n%u", i);
		if (wanted && !streq(wanted, name))
			continue;
		count = pods_on_node(l, name);
		if (best == 0 || count < best_count) {
			best = i;
			best_count = count;
		}
	}
	return best;
}

static int set_status(json_t *pod, const char *ip4, const char *ip6, const char *host_ip)
{
	json_t *status = json_pack("{s:s,s:s,s:s,s:[{s:s},{s:s}],s:[{s:s,s:s}]}", "phase",
				   "Running", "hostIP", host_ip, "podIP", ip4, "podIPs", "ip", ip4,
				   "ip", ip6, "conditions", "type", "Ready", "status", "True");

	return status && json_object_set_new(pod, "status", status) == 0 ? 0 : -ENOMEM;
}

int lab_schedule(struct lab *l, json_t *pod)
{
	unsigned int node = choose_node(l, pod);
	char ip4[64], ip6[64], host[64], key[LAB_PATH_MAX], name[16];
	bool is_host_network = json_is_true(lab_get(pod, "spec.hostNetwork"));

	if (node == 0)
		return lab_fail(-EINVAL,
				"Pod %s: no node of this lab matches its nodeName or nodeSelector",
				lab_key(pod, key, sizeof(key)));
	(void)snprintf(name, sizeof(name), "n%u", node);
	if (json_object_set_new(lab_get(pod, "spec"), "nodeName", json_string(name)) < 0)
		return -ENOMEM;
	(void)snprintf(host, sizeof(host), "10.10.0.%u", node);
	if (is_host_network) {
		(void)snprintf(ip6, sizeof(ip6), "fd00:10:10::%x", node);
		return set_status(pod, host, ip6, host);
	}
	for (unsigned int i = LAB_POD_FIRST; i <= LAB_POD_LAST; i++) {
		(void)snprintf(ip4, sizeof(ip4), "10.244.%u.%u", node, i);
		(void)snprintf(ip6, sizeof(ip6), "fd00:10:244:%x::%x", node, i);
		if (!address_is_used(l, ip4))
			return set_status(pod, ip4, ip6, host);
	}
	return lab_fail(-ENOSPC, "node %s is full: %u pods", name,
			LAB_POD_LAST - LAB_POD_FIRST + 1);
}

/* --- cluster IPs --- */

#define SERVICES_FILE LAB_DIR "/services.json"

static bool wants_family(const json_t *service, const char *family)
{
	const json_t *families = lab_get(service, "spec.ipFamilies"), *f;
	const char *policy = lab_str(service, "spec.ipFamilyPolicy", "SingleStack");
	size_t i;

	if (!streq(policy, "SingleStack"))
		return true;
	json_array_foreach (families, i, f)
		if (i == 0)
			return streq(json_string_value(f) ? json_string_value(f) : "", family);
	return streq(family, "IPv4");
}

/* Numbers are kept over `lab up`, so that what an application resolved once stays right. */
static long service_number(json_t *numbers, const char *key)
{
	long max = LAB_SERVICE_FIRST - 1;
	const char *k;
	json_t *v;

	v = json_object_get(numbers, key);
	if (json_is_integer(v))
		return (long)json_integer_value(v);
	json_object_foreach (numbers, k, v)
		max = MAX(max, (long)json_integer_value(v));
	if (max >= LAB_SERVICE_LAST)
		return -ENOSPC;
	return json_object_set_new(numbers, key, json_integer(max + 1)) < 0 ? -ENOMEM : max + 1;
}

static int assign_one(json_t *numbers, json_t *service)
{
	json_t *spec = child_object(service, "spec"), *ips = json_array(), *families = json_array();
	char key[LAB_PATH_MAX], ip[64];
	long n;

	if (!spec || !ips || !families)
		return -ENOMEM;
	n = service_number(numbers, lab_key(service, key, sizeof(key)));
	if (n < 0)
		return (int)n;
	if (wants_family(service, "IPv4")) {
		(void)snprintf(ip, sizeof(ip), "10.96.%ld.%ld", n >> 8, n & 0xff);
		json_array_append_new(ips, json_string(ip));
		json_array_append_new(families, json_string("IPv4"));
	}
	if (wants_family(service, "IPv6")) {
		(void)snprintf(ip, sizeof(ip), "fd00:10:96::%lx", n);
		json_array_append_new(ips, json_string(ip));
		json_array_append_new(families, json_string("IPv6"));
	}
	json_object_set(spec, "clusterIP", json_array_get(ips, 0));
	json_object_set_new(spec, "clusterIPs", ips);
	return json_object_set_new(spec, "ipFamilies", families) < 0 ? -ENOMEM : 0;
}

int lab_assign_services(struct lab *l)
{
	_cleanup_(json_decrefp) json_t *numbers = json_load_file(SERVICES_FILE, 0, NULL);
	json_t *service;
	size_t i;
	int r;

	if (!numbers)
		numbers = json_object();
	json_array_foreach (l->services, i, service) {
		if (lab_get(service, "spec.clusterIP") ||
		    streq(lab_str(service, "spec.type", ""), "ExternalName"))
			continue;
		r = assign_one(numbers, service);
		if (r < 0)
			return lab_fail(r, "cannot give a Service its cluster IP: %s",
					strerror(-r));
	}
	return json_dump_file(numbers, SERVICES_FILE, 0) < 0 ? -EIO : 0;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* What the capture programs would do, in their order (bpf/capture.bpf.c), from the very maps that
 * they read. */
#include <arpa/inet.h>
#include <bpf/bpf.h>
#include <errno.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/str.h"
#include "culvert/abi/maps.h"
#include "explain.h"
#include "json.h"
#include "net/addr.h"

#define DNS_PORT  53
#define ADDR_BITS 128

/* One question. @error: 0 until a map could not be read. */
struct look {
	const char *pins;
	uint64_t cookie;
	struct cv_pod pod;
	struct cv_sockaddr to;
	int error;
};

/* What is known of the endpoints on this node that a connection could go to. */
struct verdicts {
	int allowed, denied, unknown;
	int tunnelled;  /* of these: an end wants a tunnel */
	bool is_part;   /* there are others, on other nodes */
	json_t *direct; /* "IP:port" of each that a connection would go to without a tunnel */
};

/* look_up() - is there an entry? @value as large as the map's. */
static bool look_up(struct look *l, const char *map, const void *key, void *value)
{
	_cleanup_(freep) char *path = str_format("%s/%s", l->pins, map);
	_cleanup_(close_fdp) int fd = path ? bpf_obj_get(path) : -ENOMEM;

	if (fd < 0) {
		l->error = -EIO;
		return false;
	}
	if (bpf_map_lookup_elem(fd, key, value) == 0)
		return true;
	if (errno != ENOENT)
		l->error = -errno;
	return false;
}

static json_t *path_of(const char *path, const char *name)
{
	return json_pack("{s:s, s:s}", "path", path, "name", name);
}

/* Loopback or one of the pod's own addresses: never captured. */
static bool is_self(struct look *l)
{
	struct cv_pod_addr_key key = {.netns_cookie = l->cookie, .addr = l->to.addr};
	__u32 value;

	return cv_addr_is_loopback(&l->to.addr) || cv_addr_is_any(&l->to.addr) ||
	       look_up(l, "cv_pod_addrs", &key, &value);
}

static bool has_outbound_rule(struct look *l, enum cv_outbound_kind range,
			      enum cv_outbound_kind port)
{
	struct cv_outbound_key key = {
		.prefix_len = CV_OUTBOUND_PREFIX + ADDR_BITS,
		.kind = range,
		.is_v4 = cv_addr_is_v4(&l->to.addr),
		.netns_cookie = l->cookie,
		.addr = l->to.addr,
	};
	__u32 value;

	if (look_up(l, "cv_outbound_rules", &key, &value))
		return true;
	key.kind = port;
	key.is_v4 = 0;
	key.addr = (struct cv_addr){.w = {ntohs(l->to.port)}};
	return look_up(l, "cv_outbound_rules", &key, &value);
}

static bool is_excluded(struct look *l)
{
	if (!(l->pod.flags & CV_POD_OUT_RULES))
		return false;
	if (has_outbound_rule(l, CV_OUT_EXCLUDE_RANGE, CV_OUT_EXCLUDE_PORT))
		return true;
	return l->pod.flags & CV_POD_OUT_LISTED &&
	       !has_outbound_rule(l, CV_OUT_INCLUDE_RANGE, CV_OUT_INCLUDE_PORT);
}

static bool find_workload(struct look *l, const struct cv_addr *addr, struct cv_dest *ret)
{
	return look_up(l, "cv_workloads", addr, ret) && ret->flags & CV_DEST_MESH;
}

static bool find_service(struct look *l, struct cv_dest *ret)
{
	struct cv_service_key key = {.addr = l->to.addr, .port = l->to.port};

	if (look_up(l, "cv_services", &key, ret) && ret->flags & CV_DEST_MESH)
		return true;
	if (!look_up(l, "cv_workloads", &l->to.addr, ret) || !(ret->flags & CV_DEST_NODE))
		return false;
	memset(&key.addr, 0, sizeof(key.addr)); /* a node port */
	return look_up(l, "cv_services", &key, ret) && ret->flags & CV_DEST_MESH;
}

static bool find_range_at(struct look *l, __be16 port, struct cv_dest *ret)
{
	struct cv_range_key key = {
		.prefix_len = CV_RANGE_PREFIX + ADDR_BITS,
		.port = port,
		.is_v4 = cv_addr_is_v4(&l->to.addr),
		.addr = l->to.addr,
	};

	return look_up(l, "cv_ranges", &key, ret);
}

static bool find_range(struct look *l, struct cv_dest *ret)
{
	return find_range_at(l, l->to.port, ret);
}

/* Of no pod that is known, but of a pod's kind, while nobody tells of new ones. */
static bool is_in_doubt(struct look *l)
{
	__u64 fresh_until = 0;
	struct cv_dest range;
	__u32 zero = 0;

	return !look_up(l, "cv_workloads", &l->to.addr, &range) &&
	       look_up(l, "cv_fresh_until", &zero, &fresh_until) &&
	       fresh_until < now_monotonic_us() * 1000 && find_range_at(l, 0, &range) &&
	       range.flags & CV_DEST_NODE;
}

static bool is_registered(struct look *l)
{
	struct cv_service_key key = {.addr = l->to.addr, .port = l->to.port};
	struct cv_dest range;
	__u32 value;

	if (look_up(l, "cv_registered", &key, &value) || find_range(l, &range))
		return true;
	key.port = 0;
	return look_up(l, "cv_registered", &key, &value);
}

/* Node and control plane agree on whose address it is. Return: the cookie of the pod that serves
 * @to; 0: none of this node's. */
static __u64 destination_find(struct look *l, const struct cv_sockaddr *to, __u32 *ret_flags)
{
	struct cv_dest dest;
	struct cv_pod pod;
	__u64 cookie;

	if (to->port == htons(CV_HBONE_PORT) || !look_up(l, "cv_locals", &to->addr, &cookie) ||
	    !find_workload(l, &to->addr, &dest) || !look_up(l, "cv_pods", &cookie, &pod))
		return 0;
	*ret_flags = pod.flags;
	return (pod.flags & CV_POD_CAPTURE) && memcmp(dest.name, pod.name, CV_NAME_LEN) == 0
		       ? cookie
		       : 0;
}

/* Return: false: no pod of this node. */
static bool judge(struct look *l, const struct cv_sockaddr *to, struct verdicts *v)
{
	struct cv_verdict_key key = {.src_cookie = l->cookie, .port = to->port};
	char text[CV_SOCKADDR_STRLEN];
	struct cv_verdict verdict;
	__u64 generation = 0;
	__u32 zero = 0, flags = 0;
	bool is_tunnel;

	key.dst_cookie = destination_find(l, to, &flags);
	if (!key.dst_cookie)
		return false;
	is_tunnel = !(l->pod.flags & flags & CV_POD_DIRECT);
	v->tunnelled += is_tunnel;
	(void)look_up(l, "cv_generation", &zero, &generation);
	if (!look_up(l, "cv_verdicts", &key, &verdict) || verdict.generation != generation)
		v->unknown++;
	else if (verdict.is_ztunnels)
		v->unknown++;
	else if (!verdict.is_allowed)
		v->denied++;
	else {
		v->allowed++;
		if (!is_tunnel)
			(void)json_array_append_new(v->direct,
						    json_string(cv_sockaddr_format(to, text)));
	}
	return true;
}

/* Return: false: not a destination of this node's. */
static bool judge_all(struct look *l, bool is_workload, struct verdicts *v)
{
	struct cv_service_key key = {.addr = l->to.addr, .port = l->to.port};
	struct cv_frontend f;

	if (is_workload)
		return judge(l, &l->to, v);
	if (!look_up(l, "cv_frontends", &key, &f))
		return false;
	for (__u32 i = 0; i < f.count && i < CV_FRONTEND_ENDS; i++) {
		if (!judge(l, &f.ends[i].to, v))
			v->unknown++;
		v->is_part = f.ends[i].weight_end < f.weight;
	}
	return true;
}

/* mesh_path() - ztunnel, or past it inside this node. A frontend's endpoints may differ. */
static json_t *mesh_path(struct look *l, bool is_workload, const char *name)
{
	struct verdicts v = {.direct = json_array()};
	bool is_here = judge_all(l, is_workload, &v), is_direct = is_here && !v.tunnelled;
	bool is_alive = l->pod.flags & CV_POD_ALIVE;
	const char *path = "tunnel";
	json_t *o;

	/* without a ztunnel those of other nodes are not chosen */
	if (is_direct && !is_alive)
		v.is_part = false;
	if (is_direct && v.allowed && !v.denied && !v.unknown && !v.is_part)
		path = "direct";
	else if (is_here && v.denied && !v.allowed && !v.unknown && !v.is_part)
		path = "policy";
	else if (!is_alive)
		path = "ztunnel_dead";
	o = path_of(path, name);
	if (json_array_size(v.direct) > 0)
		(void)json_object_set(o, "direct", v.direct);
	json_decref(v.direct);
	if (o && is_direct)
		(void)json_object_set_new(o, "verdicts",
					  json_pack("{s:i, s:i, s:i}", "allowed", v.allowed,
						    "denied", v.denied, "unknown", v.unknown));
	return o;
}

static json_t *other_path(struct look *l)
{
	bool is_dns = l->pod.flags & CV_POD_DNS && l->to.port == htons(DNS_PORT);
	struct cv_dest range;
	bool is_range = find_range(l, &range) && range.flags & CV_DEST_MESH;
	bool is_asked = l->pod.flags & CV_POD_UNKNOWN_TO_TUNNEL || is_in_doubt(l);

	if ((is_dns || is_range || is_asked) && !(l->pod.flags & CV_POD_ALIVE))
		return path_of("ztunnel_dead", "");
	if (is_dns)
		return path_of("dns", "");
	if (is_range) {
		range.name[sizeof(range.name) - 1] = '\0';
		return path_of("tunnel", range.name);
	}
	if (is_asked)
		return path_of("tunnel", "");
	if (l->pod.flags & CV_POD_REGISTRY_ONLY && !is_registered(l))
		return path_of("registry_only", "");
	return path_of("passthrough", "");
}

static json_t *path_find(struct look *l)
{
	struct cv_dest dest = {0};
	bool is_workload;

	if (!look_up(l, "cv_pods", &l->cookie, &l->pod) || !(l->pod.flags & CV_POD_CAPTURE))
		return path_of("uncaptured", "");
	if (is_self(l))
		return path_of("self", "");
	if (is_excluded(l))
		return path_of("excluded", "");
	is_workload = find_workload(l, &l->to.addr, &dest);
	if (!is_workload && !find_service(l, &dest))
		return other_path(l);
	dest.name[sizeof(dest.name) - 1] = '\0';
	if (dest.flags & CV_DEST_GONE && l->pod.flags & CV_POD_ALIVE)
		return path_of("gone", dest.name);
	return mesh_path(l, is_workload, dest.name);
}

static bool has_inbound_range(struct look *l, const struct cv_addr *source)
{
	struct cv_inbound_range_key key = {
		.prefix_len = CV_INBOUND_RANGE_PREFIX + ADDR_BITS,
		.local = l->to.addr,
		.source = *source,
	};
	__u32 value;

	return look_up(l, "cv_inbound_ranges", &key, &value);
}

int explain_inbound_is_excluded(const char *pins, const char *target, const char *source)
{
	struct look l = {.pins = pins};
	struct cv_service_key key = {0};
	struct cv_addr from;
	__u32 others, rule;
	bool is_excluded;

	if (cv_sockaddr_parse(target, &l.to) < 0 || (source && cv_addr_parse(source, &from) < 0))
		return -EINVAL;
	key.addr = l.to.addr;
	if (!look_up(&l, "cv_inbound_rules", &key, &others))
		return l.error;
	key.port = l.to.port;
	if (!look_up(&l, "cv_inbound_rules", &key, &rule))
		rule = others;
	is_excluded = rule & CV_IN_EXCLUDE ||
		      (source && others & CV_IN_RANGES && has_inbound_range(&l, &from));
	return l.error < 0 ? l.error : is_excluded;
}

json_t *explain_kernel(const char *pins, uint64_t cookie, const char *to)
{
	struct look l = {.pins = pins, .cookie = cookie};
	json_t *path;

	if (cv_sockaddr_parse(to, &l.to) < 0)
		return json_null();
	path = path_find(&l);
	if (l.error == 0)
		return path;
	json_decref(path);
	return json_null();
}

/* SPDX-License-Identifier: Apache-2.0 */
/* What the capture programs would do, from the very maps that they read. */
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

#define DNS_PORT 53

/* look_up() - an entry of a pinned map. Return: 0; -ENOENT no such entry; -errno. */
static int look_up(const char *pins, const char *map, const void *key, void *value)
{
	_cleanup_(freep) char *path = str_format("%s/%s", pins, map);
	_cleanup_(close_fdp) int fd = path ? bpf_obj_get(path) : -ENOMEM;

	if (fd < 0)
		return -EIO;
	return bpf_map_lookup_elem(fd, key, value) < 0 ? -errno : 0;
}

static json_t *path_of(const char *path, const char *name)
{
	return json_pack("{s:s, s:s}", "path", path, "name", name);
}

/* is_self() - one of the pod's own addresses: never captured. */
static bool is_self(const char *pins, uint64_t cookie, const struct cv_addr *addr)
{
	struct cv_pod_addr_key key = {.netns_cookie = cookie, .addr = *addr};
	__u32 value;

	return look_up(pins, "cv_pod_addrs", &key, &value) == 0;
}

/* find_dest() - by workload address, else by service frontend. Return: as look_up(). */
static int find_dest(const char *pins, const struct cv_sockaddr *to, struct cv_dest *ret)
{
	struct cv_service_key key = {.addr = to->addr, .port = to->port};
	int r = look_up(pins, "cv_workloads", &to->addr, ret);

	return r == -ENOENT ? look_up(pins, "cv_services", &key, ret) : r;
}

json_t *explain_kernel(const char *pins, uint64_t cookie, const json_t *answer)
{
	const char *text = json_text(json_object_get(answer, "to"), "address", "");
	struct cv_sockaddr to;
	struct cv_dest dest;
	struct cv_pod pod;
	bool is_mesh, is_dns;
	int r;

	if (cv_sockaddr_parse(text, &to) < 0)
		return json_null();
	r = look_up(pins, "cv_pods", &cookie, &pod);
	if (r < 0 && r != -ENOENT)
		return json_null();
	if (r == -ENOENT || !(pod.flags & CV_POD_CAPTURE))
		return path_of("uncaptured", "");
	if (is_self(pins, cookie, &to.addr))
		return path_of("self", "");
	r = find_dest(pins, &to, &dest);
	if (r < 0 && r != -ENOENT)
		return json_null();
	is_mesh = r == 0 && dest.flags & CV_DEST_MESH;
	is_dns = !is_mesh && pod.flags & CV_POD_DNS && to.port == htons(DNS_PORT);
	if (!is_mesh && !is_dns)
		return path_of("passthrough", "");
	if (!(pod.flags & CV_POD_ALIVE))
		return path_of("ztunnel_dead", "");
	if (is_dns)
		return path_of("dns", "");
	dest.name[sizeof(dest.name) - 1] = '\0';
	return path_of("tunnel", dest.name);
}

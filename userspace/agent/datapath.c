/* SPDX-License-Identifier: Apache-2.0 */
#include "datapath.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/bpf.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#include "base/log.h"
#include "base/str.h"
#include "datapath_attach.h"
#include "datapath_load.h"
#include "guard.h"
#include "map_keys.h"
#include "mounts.h"
#include "net/addr.h"
#include "pinlink.h"
#include "reroute.h"

#define LOOKUP_PREFIX "lookup_"
#define REFUSED                                                                                    \
	"this kernel refuses a BPF program (--log-level=debug has its words): tunnels only, no "   \
	"direct connections"
#define PATH_LEN 512

struct datapath {
	char *pin_dir;
	int lock_fd;
	struct culvert_bpf *skel;
	enum datapath_extent extent;
	int map_fds[DATAPATH_MAP_MAX]; /* borrowed from skel */
	uint64_t no_room[DATAPATH_MAP_MAX];
};

static const char *const map_names[DATAPATH_MAP_MAX] = {
	[DATAPATH_PODS] = "cv_pods",
	[DATAPATH_POD_ADDRS] = "cv_pod_addrs",
	[DATAPATH_WORKLOADS] = "cv_workloads",
	[DATAPATH_SERVICES] = "cv_services",
	[DATAPATH_FRONTENDS] = "cv_frontends",
	[DATAPATH_RANGES] = "cv_ranges",
	[DATAPATH_FRESH_UNTIL] = "cv_fresh_until",
	[DATAPATH_REGISTERED] = "cv_registered",
	[DATAPATH_OUTBOUND_RULES] = "cv_outbound_rules",
	[DATAPATH_INBOUND_RULES] = "cv_inbound_rules",
	[DATAPATH_INBOUND_RANGES] = "cv_inbound_ranges",
	[DATAPATH_CONNS] = "cv_conns",
	[DATAPATH_VOUCHED] = "cv_vouched",
	[DATAPATH_SHARES] = "cv_shares",
	[DATAPATH_STEER] = "cv_steer",
	[DATAPATH_SOCKETS] = "cv_sockets",
	[DATAPATH_NAMESERVERS] = "cv_nameservers",
	[DATAPATH_NAMESERVER_ADDRS] = "cv_nameserver_addrs",
	[DATAPATH_NAMESERVER_SLOTS] = "cv_nameserver_slots",
	[DATAPATH_LOCALS] = "cv_locals",
	[DATAPATH_VERDICTS] = "cv_verdicts",
	[DATAPATH_DENIED] = "cv_denied",
	[DATAPATH_GENERATION] = "cv_generation",
	[DATAPATH_DIRECTS] = "cv_directs",
	[DATAPATH_DIRECT_TOLD] = "cv_direct_told",
	[DATAPATH_DIRECT_UNTOLD] = "cv_direct_untold",
	[DATAPATH_REFUSED] = "cv_refused",
	[DATAPATH_DIRECT_EVENTS] = "cv_direct_events",
	[DATAPATH_LINKS] = "cv_links",
	[DATAPATH_POD_LINKS] = "cv_pod_links",
	[DATAPATH_EXEMPT] = "cv_exempt",
	[DATAPATH_GIVEN] = "cv_given",
	[DATAPATH_GIVEN_PODS] = "cv_given_pods",
	[DATAPATH_PASSED] = "cv_passed",
	[DATAPATH_COUNTERS] = "cv_counters",
	[DATAPATH_EVENTS] = "cv_events",
};

static int pin_path(const char *dir, const char *prefix, const char *name, char ret[PATH_LEN])
{
	int n = snprintf(ret, PATH_LEN, "%s/%s%s", dir, prefix, name);

	return n < 0 || n >= PATH_LEN ? -ENAMETOOLONG : 0;
}

static int lookup_path(const char *dir, uint64_t cookie, char ret[PATH_LEN])
{
	char name[24];

	(void)snprintf(name, sizeof(name), "%" PRIu64, cookie);
	return pin_path(dir, LOOKUP_PREFIX, name, ret);
}

/* A flock on the folder itself: it goes with the process, whatever becomes of it. */
static int pin_dir_lock(const char *dir, int *ret_fd)
{
	_cleanup_(close_fdp) int fd = -EBADF;

	fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	if (flock(fd, LOCK_EX | LOCK_NB) < 0)
		return errno == EWOULDBLOCK ? -EBUSY : -errno;
	*ret_fd = TAKE_FD(fd);
	return 0;
}

static int maps_find_fds(struct datapath *d)
{
	for (size_t i = 0; i < DATAPATH_MAP_MAX; i++) {
		d->map_fds[i] = bpf_object__find_map_fd_by_name(d->skel->obj, map_names[i]);
		if (d->map_fds[i] < 0)
			return log_error_errno("agent", d->map_fds[i], "no such BPF map map=%s",
					       map_names[i]);
	}
	return 0;
}

static int skel_load(struct datapath *d, const struct datapath_config *config)
{
	int r = datapath_load(config, d->pin_dir, &d->skel, &d->extent);

	if (r == -EUCLEAN)
		return r;
	if (r < 0)
		return log_error_errno("agent", r, "cannot load the BPF programs");
	if (datapath_shortfall(d))
		log_warn("agent", "%s", datapath_shortfall(d));
	return maps_find_fds(d);
}

static int datapath_lock(struct datapath *d, const struct datapath_config *config)
{
	int r;

	r = mounts_ensure_bpffs(d->pin_dir);
	if (r == -EMEDIUMTYPE)
		return log_error_errno("agent", r, "the pin folder is not on a bpffs dir=%s",
				       d->pin_dir);
	if (r < 0)
		return log_error_errno("agent", r,
				       "cannot mount a bpffs, or make the pin folder on it dir=%s",
				       d->pin_dir);
	do {
		r = pin_dir_lock(d->pin_dir, &d->lock_fd);
	} while (r == -EBUSY && config->on_busy && config->on_busy(config->on_busy_arg) == 0);
	if (r == -EBUSY)
		return log_error_errno("agent", r,
				       "another culvert-agent is running on this node dir=%s",
				       d->pin_dir);
	if (r < 0)
		return log_error_errno("agent", r, "cannot lock the pin folder dir=%s", d->pin_dir);
	return 0;
}

struct datapath *datapath_close(struct datapath *d)
{
	if (!d)
		return NULL;
	culvert_bpf__destroy(d->skel);
	close_fd(d->lock_fd);
	free(d->pin_dir);
	free(d);
	return NULL;
}

void datapath_unlock(struct datapath *d)
{
	(void)flock(d->lock_fd, LOCK_UN);
}

int datapath_relock(struct datapath *d)
{
	return flock(d->lock_fd, LOCK_EX | LOCK_NB) < 0 ? -EBUSY : 0;
}

const char *datapath_pin_dir(const struct datapath *d)
{
	return d->pin_dir;
}

static bool is_pin_name(const char *name)
{
	return str_has_prefix(name, "cv_") || str_has_prefix(name, "prog_") ||
	       str_has_prefix(name, "link_") || str_has_prefix(name, LOOKUP_PREFIX) ||
	       str_has_prefix(name, "guard_") || str_has_prefix(name, REROUTE_PREFIX);
}

static int clean_pins(const char *pin_dir)
{
	_cleanup_(closedirp) DIR *dir = opendir(pin_dir);
	char path[PATH_LEN];

	if (!dir)
		return -errno;
	guard_clean(pin_dir);
	reroute_clean(pin_dir);
	for (struct dirent *e = readdir(dir); e; e = readdir(dir)) {
		if (!is_pin_name(e->d_name) || pin_path(pin_dir, "", e->d_name, path) < 0)
			continue;
		if (str_has_prefix(e->d_name, "link_") ||
		    str_has_prefix(e->d_name, LOOKUP_PREFIX) ||
		    str_has_prefix(e->d_name, REROUTE_PREFIX))
			pinlink_destroy(path);
		else
			(void)unlink(path);
	}
	return 0;
}

/* Whether an earlier agent has left anything. When that cannot be told nothing of it is to go. */
static bool has_pins(const char *pin_dir)
{
	_cleanup_(closedirp) DIR *dir = opendir(pin_dir);

	if (!dir)
		return true;
	for (struct dirent *e = readdir(dir); e; e = readdir(dir))
		if (is_pin_name(e->d_name))
			return true;
	return false;
}

int datapath_open(const struct datapath_config *config, struct datapath **ret)
{
	_cleanup_(datapath_closep) struct datapath *d = NULL;
	bool is_fresh;
	int r;

	d = calloc(1, sizeof(*d));
	if (!d)
		return -ENOMEM;
	d->lock_fd = -EBADF;
	d->pin_dir = strdup(config->pin_dir);
	if (!d->pin_dir)
		return -ENOMEM;
	r = datapath_lock(d, config);
	if (r < 0)
		return r;
	is_fresh = !has_pins(d->pin_dir);
	r = skel_load(d, config);
	if (r == 0)
		r = datapath_attach(d->skel, d->pin_dir);
	if (r < 0 && is_fresh)
		(void)clean_pins(d->pin_dir);
	if (r < 0)
		return r;
	*ret = TAKE_PTR(d);
	return 0;
}

int datapath_clean(const char *pin_dir)
{
	_cleanup_(close_fdp) int lock_fd = -EBADF;
	int r;

	r = pin_dir_lock(pin_dir, &lock_fd);
	if (r == -ENOENT)
		return 0;
	if (r == -EBUSY)
		return log_error_errno("agent", r,
				       "a culvert-agent is running: stop it first dir=%s", pin_dir);
	if (r == 0)
		r = clean_pins(pin_dir);
	/* -EBUSY, -ENOTEMPTY: another node's folder may be in it. */
	if (r == 0 && rmdir(pin_dir) < 0 && errno != ENOTEMPTY && errno != EBUSY)
		r = -errno;
	if (r < 0)
		return log_error_errno("agent", r, "cannot remove the pins dir=%s", pin_dir);
	return 0;
}

bool datapath_has_direct(const struct datapath *d)
{
	return d->extent == DATAPATH_WHOLE;
}

bool datapath_has_guard(const struct datapath *d)
{
	return d->extent < DATAPATH_HOOKS;
}

const char *datapath_shortfall(const struct datapath *d)
{
	static const char *const lines[] = {
		[DATAPATH_WHOLE] = NULL,
		[DATAPATH_TUNNELS] = REFUSED ", no guard on the uplink, no machines inside pods",
		[DATAPATH_HOOKS] = REFUSED
		", no machines inside pods, no guards on the uplink and on pods' links: what goes "
		"round the hooks of sockets is not stopped",
	};

	return lines[d->extent];
}

int datapath_guard_fd(const struct datapath *d)
{
	return bpf_program__fd(d->skel->progs.cv_guard);
}

int datapath_guard_in_fd(const struct datapath *d)
{
	return bpf_program__fd(d->skel->progs.cv_guard_in);
}

int datapath_reroute_fd(const struct datapath *d)
{
	return bpf_program__fd(d->skel->progs.cv_reroute);
}

int datapath_reroute_back_fd(const struct datapath *d)
{
	return bpf_program__fd(d->skel->progs.cv_reroute_back);
}

int datapath_uplink_fd(const struct datapath *d)
{
	return bpf_program__fd(d->skel->progs.cv_uplink);
}

const char *datapath_map_name(enum datapath_map map)
{
	return map_names[map];
}

void datapath_no_room(struct datapath *d, enum datapath_map map)
{
	if (d->no_room[map]++ == 0)
		log_warn("agent", "no room in a map map=%s", map_names[map]);
}

int datapath_put(struct datapath *d, enum datapath_map map, const void *key, const void *value)
{
	int r = bpf_map_update_elem(d->map_fds[map], key, value, BPF_ANY);

	/* of a trie */
	if (r == -ENOSPC)
		r = -E2BIG;
	if (r == -E2BIG)
		datapath_no_room(d, map);
	return r;
}

const uint64_t *datapath_no_room_counts(const struct datapath *d)
{
	return d->no_room;
}

int datapath_map_fd(const struct datapath *d, enum datapath_map map)
{
	return d->map_fds[map];
}

int datapath_pod_set(struct datapath *d, uint64_t cookie, const struct cv_pod *pod)
{
	return datapath_put(d, DATAPATH_PODS, &cookie, pod);
}

int datapath_pod_get(struct datapath *d, uint64_t cookie, struct cv_pod *ret)
{
	struct cv_pod pod;
	int r = bpf_map_lookup_elem(d->map_fds[DATAPATH_PODS], &cookie, &pod);

	if (r < 0)
		return r;
	*ret = pod;
	return 0;
}

static bool addr_is_among(const struct cv_addr *a, const struct cv_addr *among, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (cv_addr_equal(a, &among[i]))
			return true;
	return false;
}

void datapath_pod_addrs_keep(struct datapath *d, uint64_t cookie, const struct cv_addr *addrs,
			     size_t n)
{
	int fd = d->map_fds[DATAPATH_POD_ADDRS];
	struct cv_pod_addr_key key, next;

	map_keys_each (fd, key, next)
		if (key.netns_cookie == cookie && !addr_is_among(&key.addr, addrs, n))
			(void)bpf_map_delete_elem(fd, &key);
}

void datapath_pod_del(struct datapath *d, uint64_t cookie)
{
	struct cv_nameserver_slot slot = {.netns_cookie = cookie};

	(void)bpf_map_delete_elem(d->map_fds[DATAPATH_PODS], &cookie);
	datapath_pod_addrs_keep(d, cookie, NULL, 0);
	for (slot.slot = 0; slot.slot < CV_DNS_PORTS; slot.slot++)
		(void)bpf_map_delete_elem(d->map_fds[DATAPATH_NAMESERVER_SLOTS], &slot);
}

bool datapath_pod_next(struct datapath *d, uint64_t *cookie)
{
	uint64_t next;

	if (bpf_map_get_next_key(d->map_fds[DATAPATH_PODS], *cookie ? cookie : NULL, &next) < 0)
		return false;
	*cookie = next;
	return true;
}

int datapath_pod_addr_set(struct datapath *d, uint64_t cookie, const struct cv_addr *addr)
{
	struct cv_pod_addr_key key = {.netns_cookie = cookie, .addr = *addr};
	uint32_t one = 1;

	return datapath_put(d, DATAPATH_POD_ADDRS, &key, &one);
}

void datapath_pod_addr_del(struct datapath *d, uint64_t cookie, const struct cv_addr *addr)
{
	struct cv_pod_addr_key key = {.netns_cookie = cookie, .addr = *addr};

	(void)bpf_map_delete_elem(d->map_fds[DATAPATH_POD_ADDRS], &key);
}

void datapath_local_set(struct datapath *d, uint64_t cookie, const struct cv_addr *addr)
{
	(void)datapath_put(d, DATAPATH_LOCALS, addr, &cookie);
}

void datapath_local_del(struct datapath *d, uint64_t cookie, const struct cv_addr *addr)
{
	uint64_t owner;

	if (bpf_map_lookup_elem(d->map_fds[DATAPATH_LOCALS], addr, &owner) == 0 && owner == cookie)
		(void)bpf_map_delete_elem(d->map_fds[DATAPATH_LOCALS], addr);
}

int datapath_steer_set(struct datapath *d, const struct cv_addr *addr, enum cv_steer_kind kind,
		       int fd)
{
	struct cv_steer_key key = {.local = *addr, .kind = kind};
	uint64_t value = (uint64_t)fd;

	return datapath_put(d, DATAPATH_STEER, &key, &value);
}

bool datapath_steer_has(const struct datapath *d, const struct cv_addr *addr)
{
	const struct cv_steer_key key = {.local = *addr, .kind = CV_STEER_PLAIN};
	uint64_t socket_cookie;

	return bpf_map_lookup_elem(d->map_fds[DATAPATH_STEER], &key, &socket_cookie) == 0;
}

void datapath_steer_del(struct datapath *d, const struct cv_addr *addr)
{
	struct cv_steer_key key = {.local = *addr, .kind = CV_STEER_PLAIN};

	(void)bpf_map_delete_elem(d->map_fds[DATAPATH_STEER], &key);
	key.kind = CV_STEER_HBONE;
	(void)bpf_map_delete_elem(d->map_fds[DATAPATH_STEER], &key);
}

int datapath_lookup_attach(struct datapath *d, uint64_t cookie, int netns_fd)
{
	char path[PATH_LEN];
	int r;

	r = lookup_path(d->pin_dir, cookie, path);
	if (r < 0)
		return r;
	return pinlink_make(path, bpf_program__fd(d->skel->progs.cv_lookup), netns_fd,
			    BPF_SK_LOOKUP, 0);
}

void datapath_lookup_detach(struct datapath *d, uint64_t cookie)
{
	char path[PATH_LEN];

	if (lookup_path(d->pin_dir, cookie, path) == 0)
		pinlink_destroy(path);
}

bool datapath_lookup_is_alone(int netns_fd)
{
	uint32_t ids[2], n = ARRAY_SIZE(ids), flags = 0;
	int r = bpf_prog_query(netns_fd, BPF_SK_LOOKUP, 0, &flags, ids, &n);

	return r < 0 ? r != -ENOSPC : n <= 1;
}

void datapath_lookup_sweep(struct datapath *d)
{
	_cleanup_(closedirp) DIR *dir = opendir(d->pin_dir);
	struct cv_pod pod;
	uint64_t cookie;

	if (!dir)
		return;
	for (struct dirent *e = readdir(dir); e; e = readdir(dir)) {
		if (!str_has_prefix(e->d_name, LOOKUP_PREFIX) ||
		    str_parse_u64(e->d_name + strlen(LOOKUP_PREFIX), 1, UINT64_MAX, &cookie) < 0)
			continue;
		if (datapath_pod_get(d, cookie, &pod) < 0)
			datapath_lookup_detach(d, cookie);
	}
}

int datapath_mark(struct datapath *d, int fd, enum cv_socket_kind kind)
{
	struct cv_socket socket = {.kind = kind};

	return bpf_map_update_elem(d->map_fds[DATAPATH_SOCKETS], &fd, &socket, BPF_ANY);
}

int datapath_counters(struct datapath *d, uint64_t ret[CV_REASON_MAX])
{
	_cleanup_(freep) uint64_t *cpus = NULL;
	int n = libbpf_num_possible_cpus();

	if (n < 0)
		return n;
	cpus = calloc((size_t)n, sizeof(*cpus));
	if (!cpus)
		return -ENOMEM;
	for (uint32_t reason = 0; reason < CV_REASON_MAX; reason++) {
		int r = bpf_map_lookup_elem(d->map_fds[DATAPATH_COUNTERS], &reason, cpus);

		if (r < 0)
			return r;
		ret[reason] = 0;
		for (int i = 0; i < n; i++)
			ret[reason] += cpus[i];
	}
	return 0;
}

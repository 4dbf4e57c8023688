/* SPDX-License-Identifier: Apache-2.0 */
#include "datapath_load.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <linux/bpf.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "features.h"

#define PATH_LEN 512

static int libbpf_print(enum libbpf_print_level level, const char *fmt, va_list ap)
{
	char line[2048];

	if (level == LIBBPF_DEBUG || log_get_level() < LOG_DEBUG)
		return 0;
	(void)vsnprintf(line, sizeof(line), fmt, ap);
	line[strcspn(line, "\n")] = '\0';
	log_debug("libbpf", "%s", line);
	return 0;
}

#define LAYOUT       "\"type %u, key %u, value %u, entries %u, flags %u\""
#define LAYOUT_OF(m) (m).type, (m).key_size, (m).value_size, (m).max_entries, (m).map_flags

/* libbpf takes a pinned map over when it has the same layout; else its -EINVAL is the verifier's,
 * too. A hash that an earlier agent made smaller, or larger, stays so until the node boots. */
static int layout_check(struct bpf_map *map, const char *dir, const char *path)
{
	_cleanup_(close_fdp) int fd = bpf_obj_get(path);
	struct bpf_map_info there = {0}, wanted = {.type = bpf_map__type(map),
						   .key_size = bpf_map__key_size(map),
						   .value_size = bpf_map__value_size(map),
						   .max_entries = bpf_map__max_entries(map),
						   .map_flags = bpf_map__map_flags(map)};
	uint32_t len = sizeof(there);

	if (fd < 0 || bpf_obj_get_info_by_fd(fd, &there, &len) < 0)
		return 0;
	if (there.type == wanted.type && there.key_size == wanted.key_size &&
	    there.value_size == wanted.value_size && there.map_flags == wanted.map_flags &&
	    (there.max_entries == wanted.max_entries || there.type == BPF_MAP_TYPE_HASH))
		return bpf_map__set_max_entries(map, there.max_entries);
	return log_error_errno("agent", -EUCLEAN,
			       "an earlier agent has left a map of another layout behind; to begin "
			       "anew: culvert-agent --clean --pin-dir %s map=%s pinned=" LAYOUT
			       " wanted=" LAYOUT,
			       dir, bpf_map__name(map), LAYOUT_OF(there), LAYOUT_OF(wanted));
}

/* Every map but the internal ones (.rodata) is pinned by its name. */
static int maps_set_pins(struct culvert_bpf *skel, const char *dir)
{
	struct bpf_map *map;
	char path[PATH_LEN];
	int r;

	bpf_object__for_each_map(map, skel->obj)
	{
		if (bpf_map__is_internal(map))
			continue;
		r = snprintf(path, sizeof(path), "%s/%s", dir, bpf_map__name(map));
		if (r < 0 || r >= (int)sizeof(path))
			return -ENAMETOOLONG;
		r = layout_check(map, dir, path);
		if (r == 0)
			r = bpf_map__set_pin_path(map, path);
		if (r < 0)
			return r;
	}
	return 0;
}

/* The programs need all of these together; kernels before 6.1 have none of them at these hooks. */
static bool has_cgroup_helpers(void)
{
	static const enum bpf_func_id helpers[] = {
		BPF_FUNC_set_retval, BPF_FUNC_get_current_pid_tgid, BPF_FUNC_get_current_comm};

	if (features_is_off("6.1"))
		return false;
	for (size_t i = 0; i < ARRAY_SIZE(helpers); i++)
		if (libbpf_probe_bpf_helper(BPF_PROG_TYPE_CGROUP_SOCK_ADDR, helpers[i], NULL) != 1)
			return false;
	return true;
}

int datapath_extent_choose(struct culvert_bpf *skel, enum datapath_extent extent)
{
	struct bpf_program *const side[] = {skel->progs.cv_uplink, skel->progs.cv_reroute,
					    skel->progs.cv_reroute_back};
	int r = 0;

	if (extent == DATAPATH_WHOLE)
		return 0;
	skel->rodata->is_tunnel_only = 1;
	skel->rodata->cfg.is_uplink_guarded = 0;
	for (size_t i = 0; r == 0 && i < ARRAY_SIZE(side); i++)
		r = bpf_program__set_autoload(side[i], false);
	if (r == 0 && extent == DATAPATH_HOOKS)
		r = bpf_program__set_autoload(skel->progs.cv_guard, false);
	if (r == 0 && extent == DATAPATH_HOOKS)
		r = bpf_program__set_autoload(skel->progs.cv_guard_in, false);
	return r;
}

static int load_extent(const struct datapath_config *config, const char *pin_dir,
		       enum datapath_extent extent, struct culvert_bpf **ret)
{
	struct culvert_bpf *skel = culvert_bpf__open();
	int r;

	if (!skel)
		return log_error_errno("agent", -errno, "cannot open the BPF object");
	skel->rodata->cfg.is_uplink_guarded = config->is_uplink_guarded;
	skel->rodata->cfg.is_congestion_own = config->is_congestion_own;
	skel->rodata->cfg.no_cgroup_helpers = !has_cgroup_helpers();
	skel->rodata->cfg.host_cookie = config->host_cookie;
	r = datapath_extent_choose(skel, extent);
	if (r == 0)
		r = maps_set_pins(skel, pin_dir);
	if (r == 0)
		r = culvert_bpf__load(skel);
	if (r < 0) {
		culvert_bpf__destroy(skel);
		return r;
	}
	*ret = skel;
	return 0;
}

int datapath_load(const struct datapath_config *config, const char *pin_dir,
		  struct culvert_bpf **ret, enum datapath_extent *ret_extent)
{
	int first = 0, r;

	(void)libbpf_set_print(libbpf_print);
	for (int extent = DATAPATH_WHOLE; extent <= DATAPATH_HOOKS; extent++) {
		r = load_extent(config, pin_dir, extent, ret);
		if (r == 0) {
			*ret_extent = extent;
			return 0;
		}
		first = first ? first : r;
		if (r == -ENOMEM || r == -EUCLEAN) /* no word of the verifier's */
			break;
	}
	return first;
}

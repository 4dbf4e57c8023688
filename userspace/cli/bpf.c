/* SPDX-License-Identifier: Apache-2.0 */
/* bpf - what a node has pinned in the kernel, as bpftool shows it, and what each piece is for. */
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <linux/bpf.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "admin.h"
#include "base/cleanup.h"
#include "base/str.h"
#include "bpf_words.h"
#include "cli.h"
#include "json.h"
#include "table.h"
#include "term.h"

#define DEFAULT_PINS "/sys/fs/bpf/culvert"
#define ENTRIES_MAX  300000 /* of a map that are counted */
#define KEY_MAX      256
#define PROG_PREFIX  "prog_"

struct bpf_options {
	const char *node, *run_dir, *pin_dir, *output;
};

#define IN_A_CLUSTER "kubectl exec -n istio-system POD-OF-ZTUNNEL -c agent -- culvert bpf maps"

static const struct option_def bpf_defs[] = {
	CLI_OPTION_NODE(offsetof(struct bpf_options, node),
			"only this node (default: every node on this machine)"),
	CLI_OPTION_RUN_DIR(offsetof(struct bpf_options, run_dir)),
	{.name = "pin-dir",
	 .type = OPTION_STRING,
	 .offset = offsetof(struct bpf_options, pin_dir),
	 .value_name = "DIR",
	 .help = "the pin folder (default: what the agent says, else " DEFAULT_PINS ")"},
	CLI_OPTION_OUTPUT(offsetof(struct bpf_options, output)),
	{0},
};

/* is_kind() - what a pinned descriptor is: "bpf-map", "bpf-prog". */
static bool is_kind(int fd, const char *kind)
{
	char path[64], target[64];
	ssize_t n;

	(void)snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	n = readlink(path, target, sizeof(target) - 1);
	if (n < 0)
		return false;
	target[n] = '\0';
	return strstr(target, kind) != NULL;
}

/* count_entries() - by walking the keys; -1 where a map cannot be walked or is too large to. */
static json_int_t count_entries(int fd, const struct bpf_map_info *info)
{
	char key[KEY_MAX], next[KEY_MAX];
	json_int_t n = 0;

	if (info->key_size == 0 || info->key_size > KEY_MAX)
		return -1;
	if (info->type != BPF_MAP_TYPE_HASH && info->type != BPF_MAP_TYPE_LRU_HASH &&
	    info->type != BPF_MAP_TYPE_SOCKHASH && info->type != BPF_MAP_TYPE_LPM_TRIE)
		return -1;
	while (n < ENTRIES_MAX && bpf_map_get_next_key(fd, n > 0 ? key : NULL, next) == 0) {
		memcpy(key, next, info->key_size);
		n++;
	}
	return n < ENTRIES_MAX ? n : -1;
}

/* add_map() - no record for what is no map. */
static int add_map(json_t *records, const char *path, const char *pin, int fd)
{
	struct bpf_map_info info = {0};
	__u32 len = sizeof(info);
	const char *type;
	json_int_t entries;
	json_t *o;

	if (!is_kind(fd, "bpf-map") || bpf_obj_get_info_by_fd(fd, &info, &len) < 0)
		return 0;
	type = libbpf_bpf_map_type_str((enum bpf_map_type)info.type);
	entries = count_entries(fd, &info);
	o = json_pack("{s:s, s:I, s:s, s:I, s:I, s:I, s:s, s:s}", "name", pin, "id",
		      (json_int_t)info.id, "type", type ? type : "?", "keyBytes",
		      (json_int_t)info.key_size, "valueBytes", (json_int_t)info.value_size,
		      "maxEntries", (json_int_t)info.max_entries, "meaning", bpf_map_word(pin),
		      "pinned", path);
	if (o && entries >= 0)
		(void)json_object_set_new(o, "entries", json_integer(entries));
	return json_array_append_new(records, o) < 0 ? -ENOMEM : 0;
}

static int add_prog(json_t *records, const char *path, const char *pin, int fd)
{
	struct bpf_prog_info info = {0};
	__u32 len = sizeof(info);
	const char *type, *name = pin;
	char tag[2 * BPF_TAG_SIZE + 1];

	if (!is_kind(fd, "bpf-prog") || bpf_obj_get_info_by_fd(fd, &info, &len) < 0)
		return 0;
	if (str_has_prefix(pin, PROG_PREFIX))
		name += strlen(PROG_PREFIX);
	for (size_t i = 0; i < BPF_TAG_SIZE; i++)
		(void)snprintf(tag + 2 * i, 3, "%02x", info.tag[i]);
	type = libbpf_bpf_prog_type_str((enum bpf_prog_type)info.type);
	return json_array_append_new(
		       records,
		       json_pack("{s:s, s:I, s:s, s:s, s:I, s:I, s:I, s:I, s:s, s:s}", "name", name,
				 "id", (json_int_t)info.id, "type", type ? type : "?", "tag", tag,
				 "instructions",
				 (json_int_t)(info.xlated_prog_len / sizeof(struct bpf_insn)),
				 "jitedBytes", (json_int_t)info.jited_prog_len, "runs",
				 (json_int_t)info.run_cnt, "runNs", (json_int_t)info.run_time_ns,
				 "meaning", bpf_prog_word(name), "pinned", path)) < 0
		       ? -ENOMEM
		       : 0;
}

static int compare_names(const void *a, const void *b)
{
	return strcmp((*(const struct dirent *const *)a)->d_name,
		      (*(const struct dirent *const *)b)->d_name);
}

static int compare_entries(const struct dirent **a, const struct dirent **b)
{
	return compare_names(a, b);
}

/* read_pins() - a folder's maps or programs. Return: 0; -errno. */
static int read_pins(const char *dir, bool is_maps, json_t *records)
{
	struct dirent **names = NULL;
	int n = scandir(dir, &names, NULL, compare_entries);
	int r = n < 0 ? -errno : 0;

	for (int i = 0; i < n; i++) {
		_cleanup_(freep) char *path = str_format("%s/%s", dir, names[i]->d_name);
		_cleanup_(close_fdp) int fd = -EBADF;

		if (path && names[i]->d_type == DT_REG)
			fd = bpf_obj_get(path);
		if (fd >= 0 && r == 0)
			r = (is_maps ? add_map : add_prog)(records, path, names[i]->d_name, fd);
		free(names[i]);
	}
	free(names);
	return r;
}

/* number() - "-" where it is not known. Return: @buf. */
static const char *number(const json_t *o, const char *key, char buf[TERM_NUMBER])
{
	if (!json_object_get(o, key))
		return "-";
	(void)snprintf(buf, TERM_NUMBER, "%" PRId64, (int64_t)json_number(o, key));
	return buf;
}

static int add_map_row(struct table *t, const json_t *o)
{
	char id[TERM_NUMBER], key[TERM_NUMBER], value[TERM_NUMBER], n[TERM_NUMBER],
		max[TERM_NUMBER];
	_cleanup_(freep) char *sizes =
		str_format("%s/%s", number(o, "keyBytes", key), number(o, "valueBytes", value));
	_cleanup_(freep) char *fill =
		str_format("%s/%s", number(o, "entries", n), number(o, "maxEntries", max));
	const char *cells[] = {number(o, "id", id),
			       json_text(o, "name", ""),
			       json_text(o, "type", ""),
			       sizes,
			       fill,
			       json_text(o, "meaning", "")};

	return table_row(t, cells);
}

static int print_maps(const json_t *records)
{
	static const char *const headers[] = {"ID",      "NAME",    "TYPE", "BYTES",
					      "ENTRIES", "MEANING", NULL};
	_cleanup_(table_freep) struct table *t = NULL;
	const json_t *o;
	size_t i;

	if (table_new(headers, &t) < 0)
		return -ENOMEM;
	json_array_foreach (records, i, o)
		if (add_map_row(t, o) < 0)
			return -ENOMEM;
	table_show(t);
	return 0;
}

static int print_progs(const json_t *records)
{
	static const char *const headers[] = {"ID",   "NAME",    "TYPE", "INSNS",
					      "RUNS", "MEANING", NULL};
	_cleanup_(table_freep) struct table *t = NULL;
	const json_t *o;
	size_t i;

	if (table_new(headers, &t) < 0)
		return -ENOMEM;
	json_array_foreach (records, i, o) {
		char id[32], insns[32], runs[32];
		const char *cells[] = {
			id,   json_text(o, "name", ""),   json_text(o, "type", ""), insns,
			runs, json_text(o, "meaning", "")};

		(void)snprintf(id, sizeof(id), "%" PRId64, (int64_t)json_number(o, "id"));
		(void)snprintf(insns, sizeof(insns), "%" PRId64,
			       (int64_t)json_number(o, "instructions"));
		(void)snprintf(runs, sizeof(runs), json_number(o, "runs") ? "%" PRId64 : "-",
			       (int64_t)json_number(o, "runs"));
		if (table_row(t, cells) < 0)
			return -ENOMEM;
	}
	table_show(t);
	return 0;
}

/* show() - one pin folder: a table now, or appended to @all for the end. */
static int show(const char *dir, bool is_maps, const struct bpf_options *o, json_t *all)
{
	_cleanup_(json_decrefp) json_t *records = json_array();
	int r = read_pins(dir, is_maps, records);

	if (r < 0)
		return cli_fail("%s: %s", dir,
				r == -ENOENT   ? "no such folder: is an agent running here? On a "
						 "node of a cluster:\n  " IN_A_CLUSTER
				: r == -EACCES ? "may only be read by root"
					       : strerror(-r));
	if (json_array_size(records) == 0)
		return cli_fail("%s: nothing of ours is pinned here (or only root may see it)",
				dir);
	if (!streq(o->output, "short"))
		return json_array_extend(all, records) < 0 ? cli_fail("out of memory") : 0;
	printf("%s%s%s\n", term_color(TERM_BOLD), dir, term_color(TERM_NO_COLOR));
	return (is_maps ? print_maps : print_progs)(records) < 0 ? cli_fail("out of memory") : 0;
}

/* pins_of() - what the agent says, else the default; caller frees. */
static char *pins_of(const struct admin_node *n)
{
	_cleanup_(json_decrefp) json_t *status = NULL;

	if (admin_get_json(n, "agent", "/status", &status) < 0)
		return strdup(DEFAULT_PINS);
	return strdup(json_text(status, "pin_dir", DEFAULT_PINS));
}

static int show_nodes(const struct bpf_options *o, bool is_maps, json_t *all)
{
	_cleanup_(freep) struct admin_node *found = calloc(ADMIN_NODES_MAX, sizeof(*found));
	int r = 0;
	size_t n;

	if (!found)
		return cli_fail("out of memory");
	n = admin_find_local(o->node, o->run_dir, found, ADMIN_NODES_MAX);
	if (n == 0)
		return show(DEFAULT_PINS, is_maps, o, all);
	for (size_t i = 0; i < n; i++) {
		_cleanup_(freep) char *dir = pins_of(&found[i]);
		int one = dir ? show(dir, is_maps, o, all) : cli_fail("out of memory");

		r = one ? one : r;
	}
	return r;
}

int cli_bpf(int argc, char **argv)
{
	static const struct cli_syntax syntax = {
		.defs = bpf_defs,
		.usage = "culvert bpf maps|progs [--node NAME | --pin-dir DIR] [-o "
			 "short|json|yaml]",
		.help = "Show the maps or programs that a node has pinned, with what each is for. "
			"\"bpftool map dump pinned DIR/NAME\" shows what is in one. RUNS is "
			"counted while the sysctl kernel.bpf_stats_enabled is 1. On a node of a "
			"cluster: " IN_A_CLUSTER,
	};
	bool is_maps = argc > 1 && (streq(argv[1], "maps") || streq(argv[1], "map"));
	bool is_progs = argc > 1 && (streq(argv[1], "progs") || streq(argv[1], "prog"));
	bool is_help = argc > 1 && (streq(argv[1], "--help") || streq(argv[1], "-h"));
	_cleanup_(json_decrefp) json_t *all = NULL;
	struct bpf_options o = {0};
	int r;

	if (is_help) {
		option_help(bpf_defs, syntax.usage, syntax.help);
		return 0;
	}
	if (!is_maps && !is_progs) {
		(void)cli_fail("bpf: maps or progs?\nUsage: %s", syntax.usage);
		return 2;
	}
	r = cli_parse(&syntax, &o, argc - 1, argv + 1);
	if (r <= 0)
		return r < 0 ? 2 : 0;
	if (cli_check_output("bpf", &o.output) > 0)
		return 2;
	all = json_array();
	r = o.pin_dir ? show(o.pin_dir, is_maps, &o, all) : show_nodes(&o, is_maps, all);
	if (!streq(o.output, "short") && json_array_size(all) > 0)
		json_print(all, o.output);
	return r;
}

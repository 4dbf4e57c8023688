/* SPDX-License-Identifier: Apache-2.0 */
#include "datapath_attach.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#include "base/log.h"
#include "base/str.h"
#include "holders.h"
#include "mounts.h"
#include "pinlink.h"

#define PATH_LEN 512
#define MADE_MAX 32 /* more than there are programs */

/* A new link is pinned when the last hook has taken its program: until then it goes with its
 * descriptor, also if the agent is killed. */
struct made {
	const struct bpf_program *prog;
	int fd;
};

struct attach {
	const struct culvert_bpf *skel;
	const char *pin_dir;
	int cgroup_fd;
	struct made made[MADE_MAX];
	size_t made_count;
};

typedef int program_fn(struct attach *a, struct bpf_program *prog);

static int pin_path(const struct attach *a, const char *prefix, const struct bpf_program *prog,
		    char ret[PATH_LEN])
{
	int n = snprintf(ret, PATH_LEN, "%s/%s%s", a->pin_dir, prefix, bpf_program__name(prog));

	return n < 0 || n >= PATH_LEN ? -ENAMETOOLONG : 0;
}

/* The others go into namespaces and onto links, pod by pod. */
static bool is_of_cgroup(const struct attach *a, const struct bpf_program *prog)
{
	const struct bpf_program *const others[] = {
		a->skel->progs.cv_lookup,       a->skel->progs.cv_guard,
		a->skel->progs.cv_guard_in,     a->skel->progs.cv_reroute,
		a->skel->progs.cv_reroute_back, a->skel->progs.cv_uplink};

	for (size_t i = 0; i < ARRAY_SIZE(others); i++)
		if (prog == others[i])
			return false;
	return bpf_program__autoload(prog);
}

/* cv_sockops first, as it knows connections without a record, which the others do not make for it:
 * those of an earlier agent are replaced one by one. */
static int programs_each(struct attach *a, program_fn *fn)
{
	struct bpf_program *first = a->skel->progs.cv_sockops, *prog;
	int r = fn(a, first);

	bpf_object__for_each_program(prog, a->skel->obj)
	{
		if (r < 0)
			break;
		if (prog != first)
			r = fn(a, prog);
	}
	return r;
}

/* ---- first: is there a place for each? ---- */

static int refused(const struct attach *a, const struct bpf_program *prog, int r)
{
	enum bpf_attach_type type = bpf_program__expected_attach_type(prog);
	char holders[HOLDERS_LEN] = "";

	if (r == -EPERM)
		holders_of_cgroup(a->cgroup_fd, type, holders);
	if (!holders[0])
		return log_error_errno("agent", r, "cannot attach program=%s",
				       bpf_program__name(prog));
	return log_error_errno(
		"agent", r,
		"another program keeps a hook of the cgroup root to itself (attached "
		"without BPF_F_ALLOW_MULTI, there or above): nothing of Culvert is "
		"attached beside it hook=%s program=%s held_by=\"%s\"",
		libbpf_bpf_attach_type_str(type), bpf_program__name(prog), holders);
}

static int link_make(struct attach *a, struct bpf_program *prog)
{
	char path[PATH_LEN];
	int fd, r;

	if (!is_of_cgroup(a, prog))
		return 0;
	r = pin_path(a, "link_", prog, path);
	if (r < 0)
		return refused(a, prog, r);
	if (pinlink_is_on_cgroup(path))
		return 0;
	fd = a->made_count < MADE_MAX
		     ? bpf_link_create(bpf_program__fd(prog), a->cgroup_fd,
				       bpf_program__expected_attach_type(prog), NULL)
		     : -E2BIG;
	if (fd < 0)
		return refused(a, prog, fd);
	a->made[a->made_count++] = (struct made){.prog = prog, .fd = fd};
	return 0;
}

/* ---- then: for good ---- */

static int link_keep(const struct attach *a, struct bpf_program *prog)
{
	char path[PATH_LEN];
	int r = pin_path(a, "link_", prog, path);

	for (size_t i = 0; r == 0 && i < a->made_count; i++)
		if (a->made[i].prog == prog)
			return pin_replace(a->made[i].fd, path);
	return r < 0 ? r
		     : pinlink_make(path, bpf_program__fd(prog), a->cgroup_fd,
				    bpf_program__expected_attach_type(prog), 0);
}

static int program_keep(struct attach *a, struct bpf_program *prog)
{
	char path[PATH_LEN];
	int r = pin_path(a, "prog_", prog, path);

	if (r == 0 && !bpf_program__autoload(prog)) {
		(void)unlink(path); /* an earlier agent's */
		return 0;
	}
	if (r == 0)
		r = pin_replace(bpf_program__fd(prog), path);
	if (r < 0)
		return log_error_errno("agent", r, "cannot pin a program program=%s",
				       bpf_program__name(prog));
	r = is_of_cgroup(a, prog) ? link_keep(a, prog) : 0;
	return r < 0 ? refused(a, prog, r) : 0;
}

int datapath_attach(const struct culvert_bpf *skel, const char *pin_dir)
{
	_cleanup_(freep) char *root = NULL;
	_cleanup_(close_fdp) int cgroup_fd = -EBADF;
	struct attach a = {.skel = skel, .pin_dir = pin_dir};
	int r;

	r = mounts_find_cgroup2(&root);
	if (r < 0)
		return log_error_errno("agent", r, "no cgroup2 file system is mounted");
	a.cgroup_fd = cgroup_fd = open(root, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (cgroup_fd < 0)
		return log_error_errno("agent", -errno, "cannot open the cgroup root path=%s",
				       root);
	r = programs_each(&a, link_make);
	if (r == 0)
		r = programs_each(&a, program_keep);
	for (size_t i = 0; i < a.made_count; i++)
		(void)close_fd(a.made[i].fd);
	return r;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* test-bpf - runs the tests of this folder, each in a process of its own. Arguments: parts of test
 * names. Each has a line with its number, and how long it took where that is long. Last line: "N
 * passed, N failed, N skipped". Exit code: 1 when one failed or the programs do not load.
 * test-bpf --instructions: no tests; for each program, how many instructions the verifier walked,
 * and for NAME.tunnel, the form without the code of direct connections.
 */
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/macros.h"
#include "base/str.h"
#include "harness.h"
#include "stage.h"
#include "userspace/agent/features.h"
#include "watch.h"

#define TEST_SECONDS 120
#define LONG_US      (5 * 1000 * 1000)
#define EXIT_SKIP    77

static struct test *tests, **tests_end = &tests;
static volatile sig_atomic_t is_stopped;
static volatile pid_t child;

void test_register(struct test *t)
{
	*tests_end = t;
	tests_end = &t->next;
}

static bool is_wanted(const struct test *t, int argc, char **argv)
{
	for (int i = 1; i < argc; i++)
		if (strstr(t->name, argv[i]))
			return true;
	return argc < 2;
}

/* Maps outlive a test: what the pod left behind must not reach the next one. */
static void maps_clear(void)
{
	const struct bpf_map *maps[] = {
		skel->maps.cv_conns,     skel->maps.cv_vouched,     skel->maps.cv_pods,
		skel->maps.cv_steer,     skel->maps.cv_nameservers, skel->maps.cv_nameserver_slots,
		skel->maps.cv_workloads, skel->maps.cv_locals,      skel->maps.cv_verdicts,
		skel->maps.cv_directs,   skel->maps.cv_pod_addrs,   skel->maps.cv_passed,
		skel->maps.cv_services,  skel->maps.cv_shares};
	uint32_t zero = 0;
	char key[64];

	for (size_t i = 0; i < sizeof(maps) / sizeof(maps[0]); i++)
		while (bpf_map_get_next_key(bpf_map__fd(maps[i]), NULL, key) == 0)
			if (bpf_map_delete_elem(bpf_map__fd(maps[i]), key) < 0)
				break;
	(void)bpf_map_update_elem(bpf_map__fd(skel->maps.cv_nameserver_last), &zero, &zero,
				  BPF_ANY);
}

static int run_one(const struct test *t)
{
	int status;
	pid_t pid;

	fflush(stdout);
	pid = fork();
	if (pid < 0)
		return 1;
	if (pid == 0) {
		alarm((unsigned int)(TEST_SECONDS * slowness()));
		stage_pod();
		watch_start();
		t->run();
		fflush(stdout);
		_exit(0);
	}
	child = pid;
	if (waitpid(pid, &status, 0) != pid)
		return 1;
	child = 0;
	maps_clear();
	if (WIFSIGNALED(status))
		printf("  %s\n", strsignal(WTERMSIG(status)));
	return WIFEXITED(status) ? WEXITSTATUS(status) : 1;
}

static int run_all(int argc, char **argv)
{
	unsigned passed = 0, failed = 0, skipped = 0, begun = 0, all = 0;
	uint64_t begin_us, took_us;
	int r;

	for (const struct test *t = tests; t; t = t->next)
		all += is_wanted(t, argc, argv);
	for (const struct test *t = tests; t && !is_stopped; t = t->next) {
		if (!is_wanted(t, argc, argv))
			continue;
		printf("%u/%u %s\n", ++begun, all, t->name);
		begin_us = now_monotonic_us();
		r = run_one(t);
		took_us = now_monotonic_us() - begin_us;
		if (took_us > LONG_US)
			printf("  %s took %.1f s\n", t->name, (double)took_us / 1e6);
		switch (r) {
		case 0:
			passed++;
			break;
		case EXIT_SKIP:
			skipped++;
			break;
		default:
			printf("  FAILED %s\n", t->name);
			failed++;
		}
	}
	printf("%u passed, %u failed, %u skipped\n", passed, failed, skipped);
	return failed || is_stopped ? 1 : 0;
}

/* Ends the test that runs, then the run: the cgroup is removed on the way out. */
static void on_signal(int nr)
{
	is_stopped = nr;
	if (child > 0)
		(void)kill(child, SIGKILL);
}

static void signals_catch(void)
{
	const int signals[] = {SIGTERM, SIGINT, SIGHUP};
	struct sigaction sa = {.sa_handler = on_signal, .sa_flags = SA_RESTART};

	for (size_t i = 0; i < sizeof(signals) / sizeof(signals[0]); i++)
		(void)sigaction(signals[i], &sa, NULL);
}

/* 0 where it is not loaded. */
static uint32_t instructions(const struct culvert_bpf *s, int program)
{
	struct bpf_prog_info info = {0};
	uint32_t len = sizeof(info);
	int fd = bpf_program__fd(*s->skeleton->progs[program].prog);

	return fd >= 0 && bpf_obj_get_info_by_fd(fd, &info, &len) == 0 ? info.verified_insns : 0;
}

/* Of the whole object, and of what the agent tries where that is refused: programs that are then
 * others by their names with `.tunnel`. */
static int print_instructions(void)
{
	struct culvert_bpf *tunnels = NULL;
	int r = stage_load_extent(is_old_kernel(), DATAPATH_TUNNELS, &tunnels);

	if (r < 0) {
		fprintf(stderr, "test-bpf: programs for tunnels alone do not load: %s\n",
			strerror(-r));
		return 1;
	}
	for (int i = 0; i < skel->skeleton->prog_cnt; i++) {
		const char *name = skel->skeleton->progs[i].name;
		uint32_t whole = instructions(skel, i), tunnel = instructions(tunnels, i);

		if (!whole)
			return 1;
		printf("%s %u\n", name, whole);
		if (tunnel && tunnel != whole)
			printf("%s.tunnel %u\n", name, tunnel);
	}
	culvert_bpf__destroy(tunnels);
	return 0;
}

int main(int argc, char **argv)
{
	int r;

	setvbuf(stdout, NULL, _IOLBF, 0);
	libbpf_set_strict_mode(LIBBPF_STRICT_ALL);
	r = stage_cgroup("culvert-test-bpf");
	if (r < 0) {
		fprintf(stderr, "test-bpf: no cgroup of its own: %s (root and cgroup2 needed)\n",
			strerror(-r));
		return 1;
	}
	atexit(stage_cgroup_leave);
	signals_catch();
	r = stage_load(features_is_off("6.1"), &skel);
	if (r < 0) {
		fprintf(stderr, "test-bpf: programs do not load: %s\n", strerror(-r));
		return 1;
	}
	if (argc == 2 && streq(argv[1], "--instructions"))
		r = print_instructions();
	else
		r = run_all(argc, argv);
	culvert_bpf__destroy(skel);
	return r;
}

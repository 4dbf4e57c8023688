/* SPDX-License-Identifier: Apache-2.0 */
/* procs - a pod's oldest process, by the UID in its cgroup, in a /proc of our own making. */
#include "userspace/agent/procs.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/str.h"

#define UID "8d5f1f3c-0a2b-4f5e-9a53-0d1f7a2b3c4d"

static void reads_uids_as_kubelets_write_them(void **state)
{
	static const struct {
		const char *text, *uid;
	} cases[] = {
		{"0::/kubepods/besteffort/pod" UID "/0123\n", UID},
		{"4:memory:/x/kubepods/pod" UID "\n0::/\n", UID},
		{"0::/kubepods.slice/kubepods-burstable.slice/"
		 "kubepods-burstable-pod8d5f1f3c_0a2b_4f5e_9a53_0d1f7a2b3c4d.slice/"
		 "cri-containerd-1.scope",
		 UID},
		{"0::/../../kubepods/pod0123456789abcdef0123456789abcdef/c",
		 "0123456789abcdef0123456789abcdef"},
		{"0::/system.slice/podman.service\n", NULL},
		{"0::/kubepods/podXYZ/c", NULL},
		{"0::/kubepods/pod12/c", NULL},
		{"0::/notpod" UID "/c", NULL},
		{"", NULL},
	};
	char uid[PROCS_UID_MAX];

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		int r = procs_uid_of_cgroup(cases[i].text, uid);

		assert_int_equal(r, cases[i].uid ? 0 : -ENOENT);
		if (cases[i].uid)
			assert_string_equal(uid, cases[i].uid);
	}
}

static void a_static_pod_goes_by_the_hash_of_its_manifest(void **state)
{
	static const struct {
		const char *metadata, *uid;
	} cases[] = {
		{"{\"name\": \"p\", \"uid\": \"" UID "\"}", UID},
		{"{\"name\": \"p\", \"uid\": \"" UID "\", \"annotations\": "
		 "{\"kubernetes.io/config.mirror\": \"0123456789abcdef0123456789abcdef\"}}",
		 "0123456789abcdef0123456789abcdef"},
		{"{\"name\": \"p\"}", NULL},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct object *pod;
		const char *uid;

		assert_int_equal(object_new_json(json_pack("{s:s,s:o}", "kind", "Pod", "metadata",
							   json_loads(cases[i].metadata, 0, NULL)),
						 &pod),
				 0);
		uid = procs_uid_of_pod(pod);
		assert_true(cases[i].uid ? uid && streq(uid, cases[i].uid) : !uid);
		(void)object_unref(pod);
	}
}

static void put(const char *root, int pid, const char *cgroup, int start)
{
	char path[256], text[512];

	(void)snprintf(path, sizeof(path), "%s/%d", root, pid);
	assert_int_equal(mkdir_p(path, 0755), 0);
	(void)snprintf(path, sizeof(path), "%s/%d/cgroup", root, pid);
	assert_int_equal(file_write_atomic(path, cgroup, strlen(cgroup), 0644), 0);
	(void)snprintf(path, sizeof(path), "%s/%d/stat", root, pid);
	(void)snprintf(text, sizeof(text),
		       "%d (a) b) c) S 1 1 1 0 -1 4 1 0 0 0 0 0 0 0 20 0 1 0 %d 1 1\n", pid, start);
	assert_int_equal(file_write_atomic(path, text, strlen(text), 0644), 0);
}

static bool is_it(void *arg, pid_t pid)
{
	return pid == *(const pid_t *)arg;
}

static void finds_the_oldest_process(void **state)
{
	char root[] = "/tmp/culvert-procs-XXXXXX", command[64];
	struct procs *p = NULL;

	assert_non_null(mkdtemp(root));
	assert_int_equal(procs_new(root, &p), 0);
	assert_int_equal(procs_find(p, UID, 1000000), 0);
	put(root, 40, "0::/kubepods/pod" UID "/app\n", 900);
	put(root, 77, "0::/kubepods/pod" UID "/pause\n", 500);
	put(root, 12, "0::/init.scope\n", 1);
	/* all are looked at anew at most every 100 ms */
	assert_int_equal(procs_find(p, UID, 1050000), 0);
	assert_int_equal(procs_find(p, UID, 1200000), 77);
	assert_int_equal(procs_find(p, "ffffffff-0a2b-4f5e-9a53-0d1f7a2b3c4d", 1500000), 0);
	assert_true(procs_any(p, UID, 1500000, is_it, &(pid_t){40}));
	assert_true(procs_any(p, UID, 1500000, is_it, &(pid_t){77}));
	assert_false(procs_any(p, UID, 1500000, is_it, &(pid_t){12}));
	/* the number is another process' now */
	put(root, 77, "0::/kubepods/pod" UID "/other\n", 5000);
	assert_int_equal(procs_find(p, UID, 2000000), 40);
	(void)procs_free(p);
	(void)snprintf(command, sizeof(command), "rm -rf %s", root);
	assert_int_equal(system(command), 0);
}

#define OTHER_UID "ffffffff-0a2b-4f5e-9a53-0d1f7a2b3c4d"

/* The files of all processes are not read for each. */
static void many_pods_are_asked_for_in_one_walk(void **state)
{
	char root[] = "/tmp/culvert-procs-XXXXXX", command[64];
	struct procs *p = NULL;

	assert_non_null(mkdtemp(root));
	assert_int_equal(procs_new(root, &p), 0);
	put(root, 40, "0::/kubepods/pod" UID "/app\n", 900);
	assert_true(procs_any(p, UID, 1000000, is_it, &(pid_t){40}));
	put(root, 77, "0::/kubepods/pod" OTHER_UID "/app\n", 900);
	assert_false(procs_any(p, OTHER_UID, 1050000, is_it, &(pid_t){77}));
	/* it is another pod's by now */
	put(root, 40, "0::/kubepods/pod" OTHER_UID "/app\n", 1000);
	assert_false(procs_any(p, UID, 1050000, is_it, &(pid_t){40}));
	assert_true(procs_any(p, OTHER_UID, 1100000, is_it, &(pid_t){77}));
	assert_true(procs_any(p, OTHER_UID, 1100000, is_it, &(pid_t){40}));
	(void)procs_free(p);
	(void)snprintf(command, sizeof(command), "rm -rf %s", root);
	assert_int_equal(system(command), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(reads_uids_as_kubelets_write_them),
		cmocka_unit_test(a_static_pod_goes_by_the_hash_of_its_manifest),
		cmocka_unit_test(finds_the_oldest_process),
		cmocka_unit_test(many_pods_are_asked_for_in_one_walk),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

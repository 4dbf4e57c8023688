/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* ca-dir - what tests of the control plane share: a folder of their own with a CA in it, and a
 * control plane's configuration. They assert. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "base/str.h"
#include "userspace/control/ca.h"
#include "userspace/control/control.h"

#define CA_DIR_SIZE 64

/** control_config_of_test() - of a mesh as most tests have it; nobody listens. */
static inline struct control_config control_config_of_test(void)
{
	return (struct control_config){
		.node = "",
		.trust_domain = "cluster.local",
		.cluster_id = "Kubernetes",
		.cluster_domain = "cluster.local",
		.namespace_ = "istio-system",
		.root_namespace = "istio-system",
		.revision = "",
		.mesh_config = "istio",
		.xds_fd = -EBADF,
	};
}

/** ca_dir_make() - @dir: gets its path. Return: the caller's. */
static inline struct ca *ca_dir_make(char dir[CA_DIR_SIZE])
{
	struct ca_material m = {0};
	struct ca *ca = NULL;
	char err[512];

	(void)snprintf(dir, CA_DIR_SIZE, "/tmp/culvert-unit-XXXXXX");
	assert_non_null(mkdtemp(dir));
	assert_int_equal(ca_files_load(dir, "cluster.local", &m, err, sizeof(err)), 0);
	assert_int_equal(ca_new(&m, &ca, err, sizeof(err)), 0);
	return ca;
}

static inline void ca_dir_remove(const char *dir)
{
	_cleanup_(freep) char *command = str_format("rm -rf -- %s", dir);

	assert_int_equal(system(command), 0); /* NOLINT(cert-env33-c): its own folder */
}

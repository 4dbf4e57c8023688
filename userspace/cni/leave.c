/* SPDX-License-Identifier: Apache-2.0 */
#include "leave.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/beside.h"
#include "base/cleanup.h"
#include "cni/cni_folder.h"
#include "culvert/cni.h"

static void on_left(void *arg, const char *path, int error)
{
	if (error < 0)
		(void)fprintf(stderr, "culvert-cni: %s: %s\n", path, strerror(-error));
	else
		printf("culvert-cni: taken away: %s\n", path);
}

int leave(const char *conf)
{
	_cleanup_(freep) char *bin = NULL;
	struct cni_dirs dirs = {.conf = conf};
	int r = beside_path(CNI_PLUGIN_TYPE, &bin);

	if (r == 0) {
		*strrchr(bin, '/') = '\0';
		dirs.bin = bin;
		r = cni_folder_leave(&dirs, on_left, NULL);
	}
	if (r < 0)
		(void)fprintf(stderr, "culvert-cni: it is not all taken away: %s\n", strerror(-r));
	return r < 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}

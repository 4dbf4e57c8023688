/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* told - what objects say to their user, as a text; and the kubeconfig of a fake API server. */
#include <stdio.h>
#include <string.h>

#include "userspace/agent/objects.h"

#define KUBECONFIG                                                                                 \
	"current-context: c\ncontexts: [{name: c, context: {cluster: c, user: u}}]\n"              \
	"clusters: [{name: c, cluster: {server: \"%s\"}}]\nusers: [{name: u, user: {}}]\n"

struct told {
	char calls[2048];  /* "+demo/a -demo/b " */
	char problem[512]; /* the last, "demo/a: ..." */
	int problems;
	int synced;
};

static void note(struct told *t, const char *sign, const char *key)
{
	size_t n = strlen(t->calls);

	(void)snprintf(t->calls + n, sizeof(t->calls) - n, "%s%s ", sign, key);
}

static void on_pod(void *arg, struct podspec *spec)
{
	note(arg, "+", spec->key);
	podspec_free(spec);
}

static void on_pod_gone(void *arg, const char *key)
{
	note(arg, "-", key);
}

static void on_problem(void *arg, const char *key, const char *message)
{
	struct told *t = arg;

	t->problems++;
	(void)snprintf(t->problem, sizeof(t->problem), "%s: %s", key, message);
}

static void on_synced(void *arg)
{
	((struct told *)arg)->synced++;
}

/* told_config() - of objects that tell @t. */
static struct objects_config told_config(struct loop *loop, struct told *t)
{
	return (struct objects_config){.loop = loop,
				       .node = "n1",
				       .on_pod = on_pod,
				       .on_pod_gone = on_pod_gone,
				       .on_problem = on_problem,
				       .on_synced = on_synced,
				       .arg = t};
}

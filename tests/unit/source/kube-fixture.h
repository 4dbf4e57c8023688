/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* kube-fixture - a source that lists and watches at a fake API server, and what lists and events
 * are written as. For the tests of this folder. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "base/str.h"
#include "source/kube_client.h"
#include "tests/unit/source/fake-api.h"
#include "tests/unit/source/heard.h"

#define TURNS_MAX 4000
#define NS(name, version)                                                                          \
	"{\"metadata\":{\"name\":\"" name "\",\"resourceVersion\":\"" version "\"}}"
#define NS_LABEL(name, version, value)                                                             \
	"{\"metadata\":{\"name\":\"" name "\",\"resourceVersion\":\"" version                      \
	"\",\"labels\":{\"l\":\"" value "\"}}}"
#define LIST(version, items)                                                                       \
	"{\"metadata\":{\"resourceVersion\":\"" version "\"},\"items\":[" items "]}"
#define PAGE(next, items)                                                                          \
	"{\"metadata\":{\"resourceVersion\":\"5\",\"continue\":\"" next "\"},\"items\":[" items "]}"
#define EVENT(type, object) "{\"type\":\"" type "\",\"object\":" object "}\n"

struct fixture {
	struct loop *loop;
	struct fake_api api;
	struct kube_config config;
	struct kube_client *client;
	struct source *source;
	struct heard heard;
};

static const char *const namespaces[] = {"Namespace", NULL};
static inline int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	assert_non_null(f);
	assert_int_equal(loop_new(&f->loop), 0);
	fake_start(&f->api, f->loop);
	f->config.server = strdup(f->api.url);
	assert_int_equal(kube_client_new(f->loop, &f->config, &f->client), 0);
	*state = f;
	return 0;
}

static inline int teardown(void **state)
{
	struct fixture *f = *state;

	(void)source_free(f->source);
	(void)kube_client_free(f->client);
	fake_stop(&f->api);
	(void)loop_free(f->loop);
	kube_config_clear(&f->config);
	free(f);
	return 0;
}

/* The credentials are this token, in a file of its own. Return: its path, the configuration's. */
static inline const char *token_file_make(struct fixture *f, const char *token)
{
	char path[] = "/tmp/culvert-token-XXXXXX";
	int fd = mkstemp(path);

	assert_true(fd >= 0);
	(void)close_fd(fd);
	f->config.token_file = strdup(path);
	assert_int_equal(file_write_atomic(path, token, strlen(token), 0600), 0);
	return f->config.token_file;
}

static inline void start(struct fixture *f, const char *const *kinds)
{
	const struct source_kube_config config = {
		.loop = f->loop, .client = f->client, .kinds = kinds};

	assert_int_equal(source_kube_new(&config, &heard_ops, &f->heard, &f->source), 0);
}

static inline bool has(const struct fixture *f, const char *line)
{
	return strstr(f->heard.text, line) != NULL;
}

static inline unsigned int count_of(const char *text, const char *word)
{
	unsigned int n = 0;

	for (const char *s = text; (s = strstr(s, word)); s += strlen(word))
		n++;
	return n;
}

/* Turn the loop until the condition holds. */
#define UNTIL(f, condition)                                                                        \
	do {                                                                                       \
		for (int turn = 0; !(condition); turn++) {                                         \
			assert_in_range(turn, 0, TURNS_MAX);                                       \
			(void)loop_run_once((f)->loop, 10);                                        \
		}                                                                                  \
	} while (0)

static inline void synced_with(struct fixture *f, const char *list)
{
	f->api.pages[0] = list;
	start(f, namespaces);
	UNTIL(f, f->heard.synced == 1 && f->api.n_watches == 1);
}

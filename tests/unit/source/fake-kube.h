/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* fake-kube - a loop with a client of a fake API server in it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/log.h"
#include "source/kube_client.h"
#include "tests/unit/source/fake-api.h"

/** struct fake_kube - embedded in a fixture. */
struct fake_kube {
	struct loop *loop;
	struct fake_api api;
	struct kube_config config;
	struct kube_client *client;
};

/** fake_kube_start() - silent but for what fails the test. @on_request, @arg: the API server's. */
static inline void fake_kube_start(struct fake_kube *k,
				   bool (*on_request)(struct fake_api *a, int fd,
						      const char *method, const char *path,
						      const char *body),
				   void *arg)
{
	log_set_level(LOG_OFF);
	assert_int_equal(loop_new(&k->loop), 0);
	fake_start(&k->api, k->loop);
	k->api.on_request = on_request;
	k->api.arg = arg;
	k->config.server = k->api.url;
	assert_int_equal(kube_client_new(k->loop, &k->config, &k->client), 0);
}

/** UNTIL() - turn the loop until @condition is true, 30 s at most. @k: struct fake_kube. */
#define UNTIL(k, condition)                                                                        \
	do {                                                                                       \
		for (int _i = 0; _i < 3000 && !(condition); _i++)                                  \
			assert_true(loop_run_once((k)->loop, 10) >= 0);                            \
		assert_true(condition);                                                            \
	} while (0)

/** fake_kube_stop() - after what uses the client. */
static inline void fake_kube_stop(struct fake_kube *k)
{
	k->client = kube_client_free(k->client);
	fake_stop(&k->api);
	k->loop = loop_free(k->loop);
}

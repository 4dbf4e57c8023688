/* SPDX-License-Identifier: Apache-2.0 */
/* fuzz-websocket - what exec gives back: frames cut where the first byte says; and what a
 * program for credentials prints. */
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/macros.h"
#include "tests/fuzz/fuzz.h"
#include "userspace/cli/kube_plugin.h"
#include "userspace/cli/redact.h"
#include "userspace/cli/redact_pairs.h"
#include "userspace/cli/websocket.h"

static int on_data(void *arg, const uint8_t *data, size_t len)
{
	size_t *sum = arg;

	for (size_t i = 0; i < len; i++)
		*sum += data[i];
	return 0;
}

static int on_close(void *arg)
{
	return 0;
}

static const struct websocket_ops ops = {on_data, on_data, on_close};

static void credentials(const uint8_t *data, size_t size)
{
	_cleanup_(kube_config_clear) struct kube_config config = {0};
	_cleanup_(freep) char *text = strndup((const char *)data, size);
	json_t *v = text ? json_loads(text, 0, NULL) : NULL;

	if (text && kube_plugin_read(text, &config) == 0 && !config.token && !config.cert_pem)
		abort();
	redact_json(v);
	json_decref(v);
	if (text)
		free(redact_pairs(text));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct websocket w = {0};
	size_t piece, n, sum = 0;

	if (size == 0)
		return 0;
	piece = 1 + data[0];
	for (size_t at = 1; at < size; at += n) {
		n = MIN(piece, size - at);
		if (websocket_feed(&w, data + at, n, &ops, &sum) != 0)
			break;
	}
	websocket_reset(&w);
	credentials(data, size);
	return 0;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* fuzz-pod - what a pod's owner writes and the agent reads: a resolv.conf, and annotations that
 * exclude ports and ranges or name interfaces. What was understood must be within its limits. */
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "model/exclude.h"
#include "tests/fuzz/fuzz.h"
#include "userspace/agent/resolvconf.h"

static const char *const keys[] = {
	"traffic.sidecar.istio.io/excludeOutboundPorts",
	"traffic.sidecar.istio.io/includeOutboundPorts",
	"traffic.sidecar.istio.io/excludeOutboundIPRanges",
	"traffic.sidecar.istio.io/includeOutboundIPRanges",
	"traffic.sidecar.istio.io/excludeInboundPorts",
	"traffic.sidecar.istio.io/includeInboundPorts",
	"ambient.istio.io/bypass-inbound-capture",
	"ambient.istio.io/dns-capture",
	"istio.io/reroute-virtual-interfaces",
	"culvert.io/excludeInboundIPRanges",
};

static void on_note(void *arg, const struct object *on, const char *annotation, const char *message,
		    bool is_warning)
{
}

static void read_annotation(const char *key, const char *value)
{
	const struct exclude_notes notes = {.fn = on_note};
	struct exclusions x = {0};
	json_t *text = json_string(value);
	struct object *pod;

	if (!text)
		return; /* not UTF-8: no manifest holds it */
	if (object_new_json(json_pack("{s:s, s:{s:s, s:s, s:{s:o}}}", "kind", "Pod", "metadata",
				      "name", "a", "namespace", "b", "annotations", key, text),
			    &pod) < 0)
		abort();
	if (exclude_read(pod, NULL, &notes, &x) == 0 &&
	    (x.count > EXCLUDE_RULES_MAX || x.reroute_count > EXCLUDE_REROUTE_MAX))
		abort();
	for (size_t i = 0; i < x.reroute_count; i++)
		if (strnlen(x.reroute[i], IF_NAMESIZE) == IF_NAMESIZE || !*x.reroute[i])
			abort();
	exclude_clear(&x);
	(void)object_unref(pod);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct resolvconf c;
	char *text;

	if (size == 0)
		return 0;
	text = strndup((const char *)data + 1, size - 1);
	if (!text)
		return 0;
	resolvconf_parse(text, &c);
	if (c.nameserver_count > ZDS_NAMESERVERS || c.search[RESOLVCONF_SEARCH_LEN - 1])
		abort();
	read_annotation(keys[data[0] % (sizeof(keys) / sizeof(*keys))], text);
	free(text);
	return 0;
}

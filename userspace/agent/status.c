/* SPDX-License-Identifier: Apache-2.0 */
#include "status.h"

#include <errno.h>
#include <jansson.h>
#include <stdlib.h>

#include "base/cleanup.h"
#include "events.h"
#include "net/addr.h"

static json_t *addrs_json(const struct cv_addr *addrs, size_t n)
{
	json_t *list = json_array();
	char text[CV_ADDR_STRLEN];

	for (size_t i = 0; i < n; i++)
		(void)json_array_append_new(list, json_string(cv_addr_format(&addrs[i], text)));
	return list;
}

static void line_json(void *arg, const char *line)
{
	(void)json_array_append_new(arg, json_string(line));
}

static json_t *exclusions_json(const struct pods_info *p)
{
	json_t *list = json_array();

	exclude_for_each(p->exclusions, line_json, list);
	if (p->reroute)
		reroute_for_each(p->reroute, line_json, list);
	if (p->rules_error)
		line_json(list, p->rules_error);
	return list;
}

static void pod_json(void *arg, const struct pods_info *p)
{
	json_t *list = arg;

	(void)json_array_append_new(
		list, json_pack("{s:s, s:s, s:s, s:o, s:I, s:o, s:s, s:b}", "namespace",
				p->namespace_, "name", p->name, "state", pods_state_name(p->state),
				"addresses", addrs_json(p->addrs, p->addr_count), "netns_cookie",
				(json_int_t)p->netns_cookie, "exclusions", exclusions_json(p),
				"error", p->error, "kept", p->is_kept));
}

/* What is worth a look at it; the pod is captured all the same. */
static void notice_json(void *arg, const struct pods_info *p)
{
	if (p->guard_notice)
		(void)json_array_append_new(arg, json_pack("{s:s, s:s, s:s, s:s, s:s}", "kind",
							   "Pod", "namespace", p->namespace_,
							   "name", p->name, "message",
							   p->guard_notice, "severity", "warning"));
}

static json_t *features_json(const struct feature *features)
{
	json_t *list = json_array();

	for (size_t i = 0; i < FEATURE_COUNT; i++)
		(void)json_array_append_new(
			list, json_pack("{s:s, s:b, s:s, s:s}", "name", features[i].name, "present",
					features[i].is_present, "since", features[i].since,
					"without", features[i].without));
	return list;
}

static json_t *counters_json(const uint64_t *counters)
{
	json_t *all = json_object();

	for (uint32_t i = CV_NONE + 1; counters && i < CV_REASON_MAX; i++)
		(void)json_object_set_new(all, reason_label(i),
					  json_integer((json_int_t)counters[i]));
	return all;
}

static void error_json(void *arg, const char *line, bool is_warning)
{
	(void)json_array_append_new(
		arg, is_warning ? json_pack("{s:s, s:s}", "message", line, "severity", "warning")
				: json_string(line));
}

int status_format(const struct status_input *in, struct buf *b)
{
	_cleanup_(json_decrefp) json_t *root = NULL;
	_cleanup_(freep) char *text = NULL;
	json_t *pods = json_array(), *errors = json_array();
	int r;

	pods_for_each(in->pods, pod_json, pods);
	pods_for_each_earlier(in->pods, pod_json, pods);
	objects_for_each_error(in->objects, error_json, errors);
	pods_for_each(in->pods, notice_json, errors);
	for (size_t i = 0; i < ARRAY_SIZE(in->problems); i++)
		if (in->problems[i])
			error_json(errors, in->problems[i], false);
	root = json_pack(
		"{s:s, s:s, s:s, s:s, s:s, s:o, s:I, s:o, s:o, s:o}", "node", in->node, "pin_dir",
		in->pin_dir, "ztunnel", in->is_ztunnel_connected ? "connected" : "absent",
		"control", in->is_control_connected ? "connected" : "absent", "control_error",
		in->control_failure, "pods", pods, "draining", (json_int_t)pods_draining(in->pods),
		"features", features_json(in->features), "counters", counters_json(in->counters),
		"errors", errors);
	if (!root)
		return -ENOMEM;
	text = json_dumps(root, JSON_INDENT(2));
	if (!text)
		return -ENOMEM;
	r = buf_append_str(b, text);
	return r < 0 ? r : buf_append_str(b, "\n");
}

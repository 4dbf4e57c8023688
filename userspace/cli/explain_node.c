/* SPDX-License-Identifier: Apache-2.0 */
/* explain_node - the kernel of a node: its maps are read here, or, in a cluster, by the same
 * program in the container of that node's agent, which may read them and prints what it has found.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "admin_remote.h"
#include "base/cleanup.h"
#include "base/str.h"
#include "cli.h"
#include "explain.h"
#include "json.h"

#define INBOUND "in"

/* read_there() - `culvert __kernel` at a node of a cluster. @who: a cookie, or INBOUND. @source: of
 * the latter; NULL. NULL: no usable answer. New reference. */
static json_t *read_there(const struct admin_node *n, const char *pins, const char *who,
			  const char *address, const char *source)
{
	const char *const command[] = {
		ADMIN_REMOTE_PROGRAM, "__kernel", pins, who, address, source, NULL};
	_cleanup_(buf_resetp) struct buf out = {0};

	if (admin_remote_run(n, "agent", command, &out) != 0)
		return NULL;
	return json_loadb((const char *)buf_head(&out), buf_len(&out), JSON_DECODE_ANY, NULL);
}

json_t *explain_node_kernel(const struct admin_node *n, const char *pins, uint64_t cookie,
			    const char *to)
{
	_cleanup_(freep) char *who = str_format("%" PRIu64, cookie);
	json_t *kernel;

	if (!n->pod[0])
		return explain_kernel(pins, cookie, to);
	kernel = who ? read_there(n, pins, who, to, NULL) : NULL;
	if (json_is_object(kernel))
		return kernel;
	json_decref(kernel);
	return json_null();
}

int explain_node_excludes(const struct admin_node *n, const char *pins, const char *target,
			  const char *source)
{
	_cleanup_(json_decrefp) json_t *answer = NULL;

	if (!n->pod[0])
		return explain_inbound_is_excluded(pins, target, source);
	answer = read_there(n, pins, INBOUND, target, source);
	return json_is_boolean(answer) ? json_is_true(answer) : -EIO;
}

int cli_kernel(int argc, char **argv)
{
	_cleanup_(json_decrefp) json_t *answer = NULL;
	uint64_t cookie;
	int r;

	if (argc < 4)
		return 2;
	/* culvert of a release before asks without a source */
	if (streq(argv[2], INBOUND) && argc <= 5) {
		r = explain_inbound_is_excluded(argv[1], argv[3], argv[4]);
		answer = r < 0 ? json_null() : json_boolean(r);
	} else if (argc == 4 && str_parse_u64(argv[2], 0, UINT64_MAX, &cookie) == 0) {
		answer = explain_kernel(argv[1], cookie, argv[3]);
	} else {
		return 2;
	}
	if (!answer || json_is_null(answer))
		return cli_fail("the maps in %s cannot be read", argv[1]);
	return json_dumpf(answer, stdout, JSON_ENCODE_ANY) < 0 ? 1 : 0;
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "ztunnel/signal_values.h"

#include <arpa/inet.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "net/addr.h"
#include "xds/signal_attributes.h"
#include "ztunnel/state.h"

/* What an expression is asked about; @end: NULL while it is open. */
struct subject {
	const struct conn_info *info;
	const struct conn_end *end;
};

static bool text(struct cel_value *ret, const char *value)
{
	ret->text = value;
	return value && *value;
}

static bool number(struct cel_value *ret, uint64_t value)
{
	ret->number = (int64_t)MIN(value, (uint64_t)INT64_MAX);
	return true;
}

static const struct cv_sockaddr *target(const struct conn_info *info)
{
	return info->has_hbone ? &info->hbone_addr : &info->dst;
}

static bool address(struct cel_value *ret, const struct cv_sockaddr *sa)
{
	_Static_assert(sizeof(ret->own) >= CV_SOCKADDR_STRLEN, "an address fits");
	return text(ret, cv_sockaddr_format(sa, ret->own));
}

/* The status that a CONNECT has, or would have. */
static uint64_t code(const struct conn_end *end)
{
	if (end->flags == CONN_OK)
		return 200;
	return conn_flags_is_answer(end->flags) ? 401 : 503;
}

static bool get_end(const struct conn_info *info, const struct conn_end *end, size_t attribute,
		    struct cel_value *ret)
{
	switch (attribute) {
	case SIGNAL_TERMINATION_DETAILS:
	case SIGNAL_CODE_DETAILS:
		return text(ret, end->error);
	case SIGNAL_CODE:
		return number(ret, code(end));
	case SIGNAL_REQUEST_SIZE:
		return number(ret, info->bytes_to_server);
	case SIGNAL_RESPONSE_SIZE:
		return number(ret, info->bytes_to_client);
	case SIGNAL_DURATION:
		return number(ret, end->now_us > info->opened_us
					   ? (end->now_us - info->opened_us) * 1000
					   : 0);
	default:
		return false;
	}
}

static bool get_workload(const struct workload *w, const char *principal, size_t attribute,
			 struct cel_value *ret)
{
	switch (attribute) {
	case SIGNAL_SOURCE_PRINCIPAL:
	case SIGNAL_DESTINATION_PRINCIPAL:
		return text(ret, principal);
	case SIGNAL_SOURCE_WORKLOAD:
	case SIGNAL_DESTINATION_WORKLOAD:
	case SIGNAL_SOURCE_PEER_WORKLOAD:
	case SIGNAL_DESTINATION_PEER_WORKLOAD:
		return text(ret, w ? w->workload_name : NULL);
	case SIGNAL_SOURCE_NAMESPACE:
	case SIGNAL_DESTINATION_NAMESPACE:
	case SIGNAL_SOURCE_PEER_NAMESPACE:
	case SIGNAL_DESTINATION_PEER_NAMESPACE:
		return text(ret, w ? w->app->namespace_ : NULL);
	case SIGNAL_SOURCE_CLUSTER:
	case SIGNAL_DESTINATION_CLUSTER:
	case SIGNAL_SOURCE_PEER_CLUSTER:
	case SIGNAL_DESTINATION_PEER_CLUSTER:
		return text(ret, w ? w->app->cluster : NULL);
	case SIGNAL_SOURCE_PEER_NAME:
	case SIGNAL_DESTINATION_PEER_NAME:
		return text(ret, w ? w->name : NULL);
	case SIGNAL_SOURCE_PEER_APP:
	case SIGNAL_DESTINATION_PEER_APP:
	case SIGNAL_SOURCE_PEER_SERVICE:
	case SIGNAL_DESTINATION_PEER_SERVICE:
		return text(ret, w ? w->app->canonical_name : NULL);
	default: /* ..._VERSION and ..._REVISION */
		return text(ret, w ? w->app->canonical_revision : NULL);
	}
}

static bool is_of_source(size_t attribute)
{
	return attribute <= SIGNAL_SOURCE_PORT || /* the first of the list */
	       (attribute >= SIGNAL_SOURCE_PEER_NAME && attribute <= SIGNAL_SOURCE_PEER_REVISION);
}

static bool get(void *arg, size_t attribute, struct cel_value *ret)
{
	const struct subject *x = arg;
	const struct conn_info *info = x->info;
	bool is_in = info->direction == CONN_INBOUND;
	const char *src_id = info->is_mtls ? info->src_identity : NULL;
	const char *dst_id = info->is_mtls ? info->dst_identity : NULL;

	switch (attribute) {
	case SIGNAL_SOURCE_ADDRESS:
		return address(ret, &info->src);
	case SIGNAL_SOURCE_PORT:
		return number(ret, ntohs(info->src.port));
	case SIGNAL_DESTINATION_ADDRESS:
		return address(ret, target(info));
	case SIGNAL_DESTINATION_PORT:
		return number(ret, ntohs(target(info)->port));
	case SIGNAL_DESTINATION_SERVICE:
		return text(ret, info->service ? info->service->def->hostname : NULL);
	case SIGNAL_MTLS:
		return number(ret, info->is_mtls);
	case SIGNAL_TLS_VERSION:
		return text(ret, info->is_mtls ? "TLSv1.3" : NULL);
	case SIGNAL_PEER_SAN:
		return text(ret, is_in ? src_id : dst_id);
	case SIGNAL_LOCAL_SAN:
		return text(ret, is_in ? dst_id : src_id);
	case SIGNAL_LISTENER_DIRECTION:
		return number(ret, is_in ? 1 : 2);
	default:
		break;
	}
	if (attribute >= SIGNAL_TERMINATION_DETAILS)
		return x->end && get_end(info, x->end, attribute, ret);
	if (is_of_source(attribute))
		return get_workload(info->src_workload, src_id, attribute, ret);
	return get_workload(info->dst_workload, dst_id, attribute, ret);
}

bool signal_passes(const struct cel *filter, const struct conn_info *info,
		   const struct conn_end *end)
{
	struct subject x = {.info = info, .end = end};
	const struct cel_env env = {.get = get, .arg = &x};
	struct cel_value value;

	return cel_eval(filter, &env, &value) == 0 && value.number;
}

const char *signal_text(const struct cel *c, const struct conn_info *info, struct cel_value *room)
{
	struct subject x = {.info = info};
	const struct cel_env env = {.get = get, .arg = &x};

	if (cel_eval(c, &env, room) < 0)
		return NULL;
	if (cel_result(c) == CEL_STRING)
		return room->text;
	if (cel_result(c) == CEL_BOOL)
		return room->number ? "true" : "false";
	(void)snprintf(room->own, sizeof(room->own), "%" PRId64, room->number);
	return room->own;
}

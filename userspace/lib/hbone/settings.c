/* SPDX-License-Identifier: Apache-2.0 */
/* settings - what a session says of itself when it begins, and how far nghttp2 may go. */
#include <errno.h>

#include "hbone/session_internal.h"

/* A peer that resets faster than this is attacking (rapid reset); applications that reset are not
 * that many. */
#define RESET_BURST 10000
#define RESET_RATE  10000

int session_make_options(nghttp2_option **ret)
{
	nghttp2_option *o;

	if (nghttp2_option_new(&o) < 0)
		return -ENOMEM;
	nghttp2_option_set_no_auto_window_update(o, 1);
	nghttp2_option_set_no_closed_streams(o, 1);
	nghttp2_option_set_peer_max_concurrent_streams(o, HBONE_CLIENT_STREAMS_MAX);
	nghttp2_option_set_stream_reset_rate_limit(o, RESET_BURST, RESET_RATE);
	*ret = o;
	return 0;
}

int session_submit_settings(struct hbone_session *s)
{
	const nghttp2_settings_entry client[] = {
		{NGHTTP2_SETTINGS_ENABLE_PUSH, 0},
		{NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, HBONE_STREAM_WINDOW},
		{NGHTTP2_SETTINGS_MAX_FRAME_SIZE, HBONE_FRAME_MAX},
		{NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE, HBONE_HEADER_LIST_MAX},
	};
	const nghttp2_settings_entry server[] = {
		{NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, HBONE_SERVER_STREAMS_MAX},
		{NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, HBONE_STREAM_WINDOW},
		{NGHTTP2_SETTINGS_MAX_FRAME_SIZE, HBONE_FRAME_MAX},
		{NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE, HBONE_HEADER_LIST_MAX},
	};
	int r;

	if (s->is_server)
		r = nghttp2_submit_settings(s->h2, NGHTTP2_FLAG_NONE, server, ARRAY_SIZE(server));
	else
		r = nghttp2_submit_settings(s->h2, NGHTTP2_FLAG_NONE, client, ARRAY_SIZE(client));
	if (r == 0)
		r = nghttp2_session_set_local_window_size(s->h2, NGHTTP2_FLAG_NONE, 0,
							  HBONE_CONNECTION_WINDOW);
	return r < 0 ? -ENOMEM : 0;
}

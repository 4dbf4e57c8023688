/* SPDX-License-Identifier: Apache-2.0 */
/* calm - how much a peer may make us do for nothing before it loses the connection. */
#include "hbone/session_internal.h"

/* Streams that the peer may reset before they were answered, requests that are no CONNECT, streams
 * past the limit, frames that are wrong for their stream. Each stream that is answered earns one
 * back; what the others made us do was for nothing. */
#define CALM_MAX 500
/* Frames that bring nobody anything: PING, SETTINGS, PRIORITY, DATA without bytes. (Types that are
 * not known are skipped and cost nothing.) DATA earns one back, and what is left is whole again
 * with each PING of ours. */
#define PATIENCE_MAX 2000

void session_calm_start(struct hbone_session *s)
{
	s->calm = CALM_MAX;
	s->patience = PATIENCE_MAX;
}

void session_patience_renew(struct hbone_session *s)
{
	s->patience = PATIENCE_MAX;
}

static void end(struct hbone_session *s)
{
	s->is_flooded = true;
	(void)nghttp2_session_terminate_session(s->h2, NGHTTP2_ENHANCE_YOUR_CALM);
}

void session_lose_calm(struct hbone_session *s)
{
	if (!s->is_server)
		return;
	if (s->calm > 0)
		s->calm--;
	else
		end(s);
}

void session_earn_calm(struct hbone_session *s)
{
	s->calm += s->calm < CALM_MAX;
}

static bool is_for_nothing(const nghttp2_frame_hd *head)
{
	switch (head->type) {
	case NGHTTP2_DATA:
		return head->length == 0 && !(head->flags & NGHTTP2_FLAG_END_STREAM);
	case NGHTTP2_HEADERS:
	case NGHTTP2_RST_STREAM:
	case NGHTTP2_GOAWAY:
	case NGHTTP2_WINDOW_UPDATE:
	case NGHTTP2_CONTINUATION:
		return false;
	default:
		return true;
	}
}

int session_on_begin_frame(nghttp2_session *h2, const nghttp2_frame_hd *head, void *arg)
{
	struct hbone_session *s = arg;

	s->frames++;
	if (!s->is_server)
		return 0;
	if (!is_for_nothing(head)) {
		s->patience += head->type == NGHTTP2_DATA && s->patience < PATIENCE_MAX;
		return 0;
	}
	if (s->patience > 0)
		s->patience--;
	else
		end(s);
	return s->is_flooded ? NGHTTP2_ERR_CALLBACK_FAILURE : 0;
}

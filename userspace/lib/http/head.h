/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* head - the head of an HTTP/1.1 request, as server.c reads it. */
#include "http/server.h"

/** struct http_head - points into the text that it was parsed from. */
struct http_head {
	struct http_request req;
	size_t body_len, body_max; /* @body_max is the caller's */
};

/** http_head_parse() - @s is NUL-terminated, ends before the empty line and is cut up. Return: 0 or
 * the status to refuse with. */
_must_check_ unsigned int http_head_parse(char *s, struct http_head *h);

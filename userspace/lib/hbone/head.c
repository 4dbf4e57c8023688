/* SPDX-License-Identifier: Apache-2.0 */
#include "hbone/head.h"

#include <errno.h>
#include <string.h>
#include <strings.h>

void hbone_head_reset(struct hbone_head *h)
{
	h->is_connect = false;
	h->is_too_big = false;
	h->status = 0;
	h->authority[0] = '\0';
	h->forwarded[0] = '\0';
	h->list_len = 0;
}

/* take_text() - copy printable ASCII; anything else leaves the field empty. Return: whether it was
 * taken. */
static bool take_text(char *dst, size_t size, const uint8_t *value, size_t len)
{
	dst[0] = '\0';
	if (len >= size)
		return false;
	for (size_t i = 0; i < len; i++)
		if (value[i] < 0x20 || value[i] > 0x7e)
			return false;
	memcpy(dst, value, len);
	dst[len] = '\0';
	return true;
}

static int parse_status(const uint8_t *value, size_t len)
{
	int status = 0;

	if (len != 3)
		return 0;
	for (size_t i = 0; i < 3; i++) {
		if (value[i] < '0' || value[i] > '9')
			return 0;
		status = status * 10 + (value[i] - '0');
	}
	return status;
}

static bool is_name(const uint8_t *name, size_t len, const char *want)
{
	return len == strlen(want) && memcmp(name, want, len) == 0;
}

void hbone_head_add(struct hbone_head *h, const uint8_t *name, size_t name_len,
		    const uint8_t *value, size_t value_len)
{
	h->list_len += name_len + value_len + 32;
	if (h->list_len > HBONE_HEADER_LIST_MAX) {
		h->is_too_big = true;
		return;
	}
	if (is_name(name, name_len, ":method"))
		h->is_connect = value_len == 7 && memcmp(value, "CONNECT", 7) == 0;
	else if (is_name(name, name_len, ":authority"))
		h->is_too_big |= !take_text(h->authority, sizeof(h->authority), value, value_len);
	else if (is_name(name, name_len, ":status"))
		h->status = parse_status(value, value_len);
	else if (is_name(name, name_len, "forwarded"))
		(void)take_text(h->forwarded, sizeof(h->forwarded), value, value_len);
}

/* value_end() - one past the value that starts at @p; inside quotes everything but a quote belongs
 * to it. */
static const char *value_end(const char *p)
{
	const char *end;

	if (*p != '"')
		return p + strcspn(p, ";,");
	end = strchr(p + 1, '"');
	return end ? end + 1 : NULL;
}

int hbone_forwarded_get(const char *forwarded, const char *parameter, char *ret_value, size_t size)
{
	const char *p = forwarded;
	size_t want = strlen(parameter);

	while (*p != '\0') {
		const char *eq, *end;

		p += strspn(p, " \t;,");
		eq = p + strcspn(p, "=;,");
		if (*eq != '=') {
			p = eq;
			continue;
		}
		end = value_end(eq + 1);
		if (!end)
			return -EINVAL;
		if ((size_t)(eq - p) == want && strncasecmp(p, parameter, want) == 0) {
			const char *from = eq + 1;
			size_t len = (size_t)(end - from);

			if (*from == '"') {
				from++;
				len -= 2;
			}
			if (len >= size)
				return -ENOBUFS;
			memcpy(ret_value, from, len);
			ret_value[len] = '\0';
			return 0;
		}
		p = end;
	}
	return -ENOENT;
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "source/kube_frames.h"

#include <errno.h>
#include <string.h>

#include "source/kube_json.h"

typedef int (*event_fn)(void *arg, enum kube_event event, json_t *object);

static const char *const event_names[KUBE_EVENT_MAX] = {
	[KUBE_ADDED] = "ADDED",       [KUBE_MODIFIED] = "MODIFIED", [KUBE_DELETED] = "DELETED",
	[KUBE_BOOKMARK] = "BOOKMARK", [KUBE_ERROR] = "ERROR",
};

static enum kube_event event_of(const char *name)
{
	int i = 0;

	while (name && i < KUBE_EVENT_MAX && !streq(event_names[i], name))
		i++;
	return name ? (enum kube_event)i : KUBE_EVENT_MAX;
}

static int line_read(const char *line, size_t len, event_fn on_event, void *arg)
{
	enum kube_event event;
	json_t *body, *object;
	int r = -EBADMSG;

	body = kube_json_load(line, len);
	event = event_of(json_string_value(json_object_get(body, "type")));
	object = json_object_get(body, "object");
	if (event != KUBE_EVENT_MAX && json_is_object(object))
		r = on_event(arg, event, object);
	json_decref(body);
	return r;
}

/* A line that ends in this part; what came before may wait in f->line. */
static int line_end(struct kube_frames *f, const char *data, size_t len, event_fn on_event,
		    void *arg)
{
	int r;

	if (buf_len(&f->line) == 0)
		return len ? line_read(data, len, on_event, arg) : 0;
	r = buf_append(&f->line, data, len);
	if (r == 0)
		r = line_read((const char *)buf_head(&f->line), buf_len(&f->line), on_event, arg);
	buf_reset(&f->line);
	return r == -ENOBUFS ? -EMSGSIZE : r;
}

int kube_frames_feed(struct kube_frames *f, const char *data, size_t len, event_fn on_event,
		     void *arg)
{
	int r;

	f->line.limit = KUBE_FRAME_MAX;
	while (len > 0) {
		const char *end = memchr(data, '\n', len);
		size_t n = end ? (size_t)(end - data) : len;

		if (!end) {
			r = buf_append(&f->line, data, n);
			return r == -ENOBUFS ? -EMSGSIZE : r;
		}
		r = line_end(f, data, n, on_event, arg);
		if (r != 0)
			return r;
		data += n + 1;
		len -= n + 1;
	}
	return 0;
}

void kube_frames_reset(struct kube_frames *f)
{
	buf_reset(&f->line);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* fuzz-kube - the body of an API server's watch or list, cut where the first byte says, to the
 * objects that the mesh keeps. */
#include <stdlib.h>

#include "source/json_pool.h"
#include "source/kube_frames.h"
#include "source/kube_list.h"
#include "source/kube_prune.h"
#include "source/object.h"
#include "tests/fuzz/fuzz.h"

static struct json_pool *pool;

static int on_event(void *arg, enum kube_event event, json_t *object)
{
	static const char *const kinds[] = {"Pod", "Node", "Service", "EndpointSlice"};
	const char *kind = json_string_value(json_object_get(object, "kind"));
	struct object *o = NULL;

	kube_prune(kind ? kind : kinds[event % ARRAY_SIZE(kinds)], object);
	if (object_new_json(json_incref(object), &o) < 0)
		return 0;
	(void)!object_reduce(o, pool);
	object_unref(o);
	return 0;
}

static int on_item(void *arg, json_t *item)
{
	return on_event(arg, KUBE_ADDED, item);
}

static void list_read(const uint8_t *data, size_t size, size_t piece)
{
	struct kube_list l = {.kind = "Pod"};

	for (size_t at = 0, n; at < size; at += n) {
		n = MIN(piece, size - at);
		if (kube_list_feed(&l, (const char *)data + at, n, on_item, NULL) != 0)
			break;
	}
	json_decref(kube_list_end(&l));
	kube_list_reset(&l);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct kube_frames f = {0};
	size_t piece, n;

	if (size == 0 || (!pool && json_pool_new(&pool) < 0))
		return 0;
	free(kube_prune_text("Pod", (const char *)data, size, &n));
	piece = 1 + data[0] * 4;
	for (size_t at = 1; at < size; at += n) {
		n = MIN(piece, size - at);
		if (kube_frames_feed(&f, (const char *)data + at, n, on_event, NULL) != 0)
			break;
	}
	kube_frames_reset(&f);
	list_read(data + 1, size - 1, piece);
	return 0;
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "direct_untold.h"

#include <bpf/bpf.h>

#include "culvert/abi/maps.h"
#include "direct_news.h"
#include "map_keys.h"

/* What a program counts in the moment between its finding an entry and our taking that out is
 * lost: nanoseconds, of what is an exception. */
void direct_untold_tell(int fd, struct direct_news *news)
{
	struct cv_untold_key key, next;

	map_keys_each (fd, key, next) {
		struct zds_direct m = {.what = ZDS_DIRECT_UNTOLD};
		struct cv_untold n;

		if (bpf_map_lookup_and_delete_elem(fd, &key, &n) < 0)
			continue;
		m.src_cookie = key.src_cookie;
		m.dst_cookie = key.dst_cookie;
		m.dst = key.dst;
		m.asked = key.asked;
		m.opened = n.opened;
		m.closed = n.closed;
		m.failed = n.failed;
		m.new_sent = n.sent;
		m.new_received = n.received;
		direct_news_add(news, &m);
	}
}

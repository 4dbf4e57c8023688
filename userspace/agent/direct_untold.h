/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* direct_untold - the direct connections that the programs could only count, because the ring of
 * their events was full: into ztunnel's metrics, and out of cv_direct_untold. Owner: direct.
 * Thread: loop only. */

struct direct_news;

/** direct_untold_tell() - @fd: cv_direct_untold. */
void direct_untold_tell(int fd, struct direct_news *news);

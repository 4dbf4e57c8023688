/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* file_watch - a folder whose files are replaced now and then: tells when something in it changed,
 * once per burst. The folder is what is watched, because a file that is replaced, or that a
 * volume's symlink points to, is another one each time. Thread: the loop's. */
#include "base/loop.h"
#include "base/macros.h"

/** struct file_watch - embedded; zeroed before file_watch_start(). */
struct file_watch {
	struct loop_fd _inotify;
	struct loop_timer _settle;
	struct loop *_loop;
	void (*_on_change)(struct file_watch *w);
};

/** file_watch_start() - @folder must exist. Return: 0; -ENOENT; -errno of inotify; -ENOMEM. */
_must_check_ int file_watch_start(struct file_watch *w, struct loop *l, const char *folder,
				  void (*on_change)(struct file_watch *w));
/** file_watch_stop() - harmless when it was not started. */
void file_watch_stop(struct file_watch *w);

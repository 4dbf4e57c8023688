/* SPDX-License-Identifier: Apache-2.0 */
#include "base/drop.h"

#include <cap-ng.h>
#include <errno.h>
#include <fcntl.h>
#include <pwd.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/str.h"

#define PASSWD_BUFFER 16384

int user_lookup(const char *name, struct user *ret)
{
	_cleanup_(freep) char *buf = malloc(PASSWD_BUFFER);
	struct passwd pw, *found = NULL;
	int r;

	if (!buf)
		return -ENOMEM;
	r = getpwnam_r(name, &pw, buf, PASSWD_BUFFER, &found);
	if (!found)
		return r > 0 ? -r : -ENOENT;
	ret->uid = pw.pw_uid;
	ret->gid = pw.pw_gid;
	return 0;
}

int drop_to_user(const char *name, const int *keep_caps, size_t n)
{
	struct user user = {.uid = (uid_t)-1, .gid = (gid_t)-1};
	int r;

	capng_clear(CAPNG_SELECT_BOTH);
	for (size_t i = 0; i < n; i++)
		if (capng_update(CAPNG_ADD, CAPNG_EFFECTIVE | CAPNG_PERMITTED | CAPNG_BOUNDING_SET,
				 (unsigned int)keep_caps[i]) < 0)
			return -EINVAL;
	if (name) {
		r = user_lookup(name, &user);
		if (r < 0)
			return r;
		if (capng_change_id((int)user.uid, (int)user.gid,
				    CAPNG_DROP_SUPP_GRP | CAPNG_CLEAR_BOUNDING) < 0)
			return -EPERM;
	}
	/* Again after the change of user: it re-adds nothing, but leaves the bounding set of kept
	 * capabilities alone. */
	if (capng_apply(name ? CAPNG_SELECT_CAPS : CAPNG_SELECT_BOTH) < 0)
		return -EPERM;
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
		return -errno;
	return 0;
}

int mkdir_for_user(const char *path, unsigned int mode, const char *name)
{
	_cleanup_(close_fdp) int fd = -EBADF;
	struct user user = {.uid = (uid_t)-1, .gid = (gid_t)-1};
	int r;

	r = user_lookup(name, &user);
	if (r < 0)
		return r;
	r = mkdir_p(path, mode);
	if (r < 0)
		return r;
	fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
	if (fd < 0)
		return -errno;
	if (fchown(fd, user.uid, user.gid) < 0 || fchmod(fd, mode) < 0)
		return -errno;
	return 0;
}

void memory_protect(void)
{
	const struct rlimit none = {0, 0};

	(void)setrlimit(RLIMIT_CORE, &none);
	(void)prctl(PR_SET_DUMPABLE, 0);
}

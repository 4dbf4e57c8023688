/* SPDX-License-Identifier: Apache-2.0 */
#include "uplink.h"

#include <dirent.h>
#include <errno.h>
#include <linux/bpf.h>
#include <linux/if_link.h>
#include <net/if.h>
#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "base/str.h"
#include "holders.h"
#include "pinlink.h"

#define PIN_PREFIX "guard_uplink_"
#define PATH_LEN   512

static void pins_drop_others(const char *pin_dir, const char *keep)
{
	_cleanup_(closedirp) DIR *dir = opendir(pin_dir);
	char path[PATH_LEN];

	if (!dir)
		return;
	for (struct dirent *e = readdir(dir); e; e = readdir(dir)) {
		if (!str_has_prefix(e->d_name, PIN_PREFIX) || streq(e->d_name, keep))
			continue;
		(void)snprintf(path, sizeof(path), "%s/%s", pin_dir, e->d_name);
		pinlink_destroy(path);
	}
}

static int attach(const struct datapath *d, const char *name, unsigned int ifindex,
		  const char *path)
{
	int r = pinlink_make(path, datapath_uplink_fd(d), (int)ifindex, BPF_XDP, 0);

	if (r != -EOPNOTSUPP && r != -EINVAL)
		return r;
	log_info("agent", "the uplink's driver has no XDP: its guard runs behind it uplink=%s",
		 name);
	return pinlink_make(path, datapath_uplink_fd(d), (int)ifindex, BPF_XDP, XDP_FLAGS_SKB_MODE);
}

/* The name is an administrator's word: a pair of quotes keeps it together. */
static void trouble_tell(const char *name, unsigned int ifindex, int r,
			 char ret[UPLINK_TROUBLE_LEN])
{
	char holders[HOLDERS_LEN] = "";

	/* -EEXIST: in the other one of the two modes, driver and generic */
	if (r == -EBUSY || r == -EEXIST)
		holders_of_xdp(ifindex, holders);
	if (holders[0])
		(void)snprintf(ret, UPLINK_TROUBLE_LEN,
			       "another XDP program is on the uplink, which is not guarded "
			       "uplink=\"%s\" held_by=\"%s\"",
			       name, holders);
	else
		(void)snprintf(ret, UPLINK_TROUBLE_LEN, "cannot guard the uplink uplink=\"%s\": %s",
			       name, strerror(-r));
	log_error("agent", "%s", ret);
}

/* By number: a bpffs takes no name with a dot, as VLAN interfaces have. */
void uplink_attach(struct datapath *d, const char *name, char ret[UPLINK_TROUBLE_LEN])
{
	unsigned int ifindex = name ? if_nametoindex(name) : 0;
	char pin[64], path[PATH_LEN];
	int r = ifindex ? 0 : -ENODEV;

	ret[0] = '\0';
	(void)snprintf(pin, sizeof(pin), PIN_PREFIX "%u", ifindex);
	pins_drop_others(datapath_pin_dir(d), pin);
	if (!name)
		return;
	(void)snprintf(path, sizeof(path), "%s/%s", datapath_pin_dir(d), pin);
	if (r == 0)
		r = attach(d, name, ifindex, path);
	if (r < 0)
		trouble_tell(name, ifindex, r, ret);
}

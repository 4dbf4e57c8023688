/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "agent.h"
#include "base/buf.h"
#include "base/cleanup.h"
#include "config.h"
#include "leave.h"
#include "plugin.h"

#define READ_SIZE 65536

/* Standard input, no more than CONFIG_MAX of it. */
static int input_read(struct buf *b)
{
	for (;;) {
		ssize_t n;
		int r = buf_reserve(b, READ_SIZE);

		if (r < 0)
			return r;
		n = read(STDIN_FILENO, buf_tail(b), READ_SIZE);
		if (n == 0)
			return 0;
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		buf_produce(b, (size_t)n);
		if (buf_len(b) > CONFIG_MAX)
			return -EFBIG;
	}
}

static int output_write(const struct buf *b)
{
	for (size_t done = 0; done < buf_len(b);) {
		ssize_t n = write(STDOUT_FILENO, buf_head(b) + done, buf_len(b) - done);

		if (n < 0 && errno != EINTR)
			return -errno;
		done += n > 0 ? (size_t)n : 0;
	}
	return 0;
}

/* run() - for a container runtime. */
static int run(void)
{
	static const struct plugin_world world = {.ask = agent_ask, .is_let_go = agent_is_let_go};
	const struct plugin_env env = {
		.command = getenv("CNI_COMMAND"),
		.container = getenv("CNI_CONTAINERID"),
		.netns = getenv("CNI_NETNS"),
		.ifname = getenv("CNI_IFNAME"),
		.args = getenv("CNI_ARGS"),
	};
	_cleanup_(buf_resetp) struct buf in = {0}, out = {0};
	int r = input_read(&in), code;

	if (r < 0)
		code = plugin_error(&out, "1.1.0", CONFIG_ERROR_IO,
				    r == -EFBIG ? "standard input: expected at most 1 MiB"
						: "standard input: cannot read",
				    "");
	else
		code = plugin_run(&env, (const char *)buf_head(&in), buf_len(&in), &world, &out);
	return output_write(&out) < 0 ? EXIT_FAILURE : code;
}

int main(int argc, char **argv)
{
	if (argc < 2)
		return run();
	if (argc == 3 && streq(argv[1], "--remove"))
		return leave(argv[2]);
	(void)fputs("culvert-cni is started by a container runtime. By hand:\n"
		    "  culvert-cni --remove DIR   take it out of the configurations in DIR, "
		    "and from its own folder\n",
		    stderr);
	return 2;
}

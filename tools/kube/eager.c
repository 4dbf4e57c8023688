/* SPDX-License-Identifier: Apache-2.0 */
/* eager - first process of a container that cannot wait: connects from its first instruction on,
 * says its word whenever it gets through, and goes on. Static: no library is loaded before.
 *
 * usage: eager ADDRESS PORT WORD */
#include <arpa/inet.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define EAGER_TRIES 3000 /* without a pause; then a hundred a second */

static void attempt(const struct sockaddr_in *to, const char *word)
{
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (fd < 0)
		return;
	if (connect(fd, (const struct sockaddr *)to, sizeof(*to)) == 0)
		(void)!write(fd, word, strlen(word));
	(void)close(fd);
}

int main(int argc, char **argv)
{
	const struct timespec pause = {.tv_nsec = 10 * 1000 * 1000};
	struct sockaddr_in to = {.sin_family = AF_INET};

	if (argc != 4 || inet_pton(AF_INET, argv[1], &to.sin_addr) != 1)
		return EXIT_FAILURE;
	to.sin_port = htons((uint16_t)strtoul(argv[2], NULL, 10));
	for (unsigned int i = 0;; i++) {
		attempt(&to, argv[3]);
		if (i > EAGER_TRIES)
			(void)nanosleep(&pause, NULL);
	}
}

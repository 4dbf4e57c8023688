/* SPDX-License-Identifier: Apache-2.0 */
/* pause - first process of a pod: reaps its orphans, ends when told. Linked statically. */
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

static void on_end(int signo)
{
	_exit(0);
}

static void on_child(int signo)
{
	while (waitpid(-1, NULL, WNOHANG) > 0)
		;
}

int main(void)
{
	(void)signal(SIGTERM, on_end);
	(void)signal(SIGINT, on_end);
	(void)signal(SIGCHLD, on_child);
	for (;;)
		(void)pause();
}

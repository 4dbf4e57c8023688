/* SPDX-License-Identifier: Apache-2.0 */
#include "base/process_metrics.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/cleanup.h"

void process_metrics_init(struct process_metrics *p, const char *component, bool is_openmetrics)
{
	struct rlimit limit;

	p->component = component;
	p->is_openmetrics = is_openmetrics;
	p->started = time(NULL);
	p->fds_max = getrlimit(RLIMIT_NOFILE, &limit) == 0 ? limit.rlim_cur : 0;
	p->statm_fd = open("/proc/self/statm", O_RDONLY | O_CLOEXEC);
	p->fds_fd = open("/proc/self/fd", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
}

void process_metrics_clear(struct process_metrics *p)
{
	p->statm_fd = close_fd(p->statm_fd);
	p->fds_fd = close_fd(p->fds_fd);
}

/* Resident pages, from the second number of statm. */
static uint64_t resident_bytes(const struct process_metrics *p)
{
	char text[128];
	ssize_t n = p->statm_fd >= 0 ? pread(p->statm_fd, text, sizeof(text) - 1, 0) : -1;
	const char *second;

	if (n <= 0)
		return 0;
	text[n] = '\0';
	second = strchr(text, ' ');
	return second ? strtoull(second, NULL, 10) * (uint64_t)sysconf(_SC_PAGESIZE) : 0;
}

static int gauge(struct buf *into, const char *name, const char *help, uint64_t value)
{
	return buf_printf(into, "# HELP %s %s.\n# TYPE %s gauge\n%s %" PRIu64 "\n", name, help,
			  name, name, value);
}

static int write_fds(const struct process_metrics *p, struct buf *into)
{
	struct stat st;
	int r = 0;

	/* the size of that folder is the number of descriptors, since Linux 6.2 */
	if (p->fds_fd >= 0 && fstat(p->fds_fd, &st) == 0 && st.st_size > 0)
		r = gauge(into, "process_open_fds", "Number of open file descriptors",
			  (uint64_t)st.st_size);
	if (r == 0)
		r = gauge(into, "process_max_fds", "Maximum number of file descriptors",
			  p->fds_max);
	return r;
}

int process_metrics_write(const struct process_metrics *p, struct buf *into)
{
	const char *suffix = p->is_openmetrics ? "" : "_total";
	struct rusage use;
	double cpu_s;
	int r;

	if (getrusage(RUSAGE_SELF, &use) < 0)
		return -errno;
	cpu_s = (double)(use.ru_utime.tv_sec + use.ru_stime.tv_sec) +
		(double)(use.ru_utime.tv_usec + use.ru_stime.tv_usec) / 1e6;
	r = buf_printf(into,
		       "# HELP istio_build Istio component build info.\n# TYPE istio_build gauge\n"
		       "istio_build{component=\"%s\",tag=\"%s\"} 1\n"
		       "# HELP process_cpu_seconds%s Total user and system CPU time spent in "
		       "seconds.\n# TYPE process_cpu_seconds%s counter\n"
		       "process_cpu_seconds_total %.3f\n",
		       p->component, CULVERT_VERSION, suffix, suffix, cpu_s);
	if (r == 0)
		r = gauge(into, "process_resident_memory_bytes", "Resident memory size in bytes",
			  resident_bytes(p));
	if (r == 0)
		r = gauge(into, "process_start_time_seconds",
			  "Start time of the process since unix epoch in seconds",
			  (uint64_t)p->started);
	return r == 0 ? write_fds(p, into) : r;
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "agent_private.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>

#include "adopt.h"
#include "base/beside.h"
#include "base/drop.h"
#include "base/log.h"
#include "base/str.h"
#include "maker_link.h"
#include "net/unix.h"
#include "status.h"

#define ADMIN_MODE     0600
#define RUN_DIR_PREFIX "/run/culvert/"
#define TRIM_US        (60 * 1000 * 1000ULL) /* its timers run the same code every second */

static int on_mark(void *arg, int fd, enum cv_socket_kind kind)
{
	struct agent *a = arg;

	return datapath_mark(a->datapath, fd, kind);
}

/* ---- events ---- */

static void on_nameserver(void *arg, const struct cv_event *ev)
{
	struct agent *a = arg;

	nameservers_announce(&a->nameservers, ev);
}

/* What sk_lookup tells has no cookie: it cannot know its namespace. */
static const char *on_pod_name(void *arg, const struct cv_event *ev)
{
	const struct agent *a = arg;

	if (ev->netns_cookie == 0)
		return pods_name_by_addr(a->pods, &ev->local.addr);
	return pods_name(a->pods, ev->netns_cookie);
}

static void on_drop(void *arg, const struct cv_event *ev, const char *pod)
{
	agent_past_drop(arg, ev, pod);
}

static void on_events_read(void *arg)
{
	struct agent *a = arg;

	direct_flush(a->direct);
}

static void on_direct(void *arg, const struct cv_direct_event *ev)
{
	struct agent *a = arg;

	direct_event(a->direct, ev);
}

/* ---- control plane and source ---- */

static void on_mesh_synced(void *arg)
{
	struct agent *a = arg;

	pods_dests_synced(a->pods, true);
}

static void on_incomplete(void *arg, bool is_incomplete)
{
	struct agent *a = arg;

	if (a->enrolment.is_incomplete && !is_incomplete)
		log_info("agent", "every mesh destination has its place in the maps again");
	a->enrolment.is_incomplete = is_incomplete;
	pods_flags_changed(a->pods);
}

static void on_registry_only(void *arg, bool is_registry_only)
{
	struct agent *a = arg;

	if (a->enrolment.is_registry_only == is_registry_only)
		return;
	log_info("agent", "outboundTrafficPolicy mode=%s",
		 is_registry_only ? "REGISTRY_ONLY" : "ALLOW_ANY");
	a->enrolment.is_registry_only = is_registry_only;
	pods_flags_changed(a->pods);
}

static void agent_changed(struct agent *a)
{
	agent_cni_changed(a);
	redirection_changed(a->kube.redirection);
}

static void on_pods_changed(void *arg)
{
	struct agent *a = arg;

	direct_void(a->direct);
	agent_changed(a);
}

static bool is_awaited(void *arg, const char *name)
{
	const struct agent *a = arg;

	return a->objects && objects_awaits(a->objects, name, CV_NAME_LEN - 1);
}

static bool is_outside(void *arg, const char *name, const struct netns_file *file)
{
	const struct agent *a = arg;

	return !a->objects || objects_is_outside(a->objects, name, CV_NAME_LEN - 1, file);
}

static bool elsewhere(void *arg, const char *key, bool (*fn)(void *fn_arg, const char *netns),
		      void *fn_arg)
{
	const struct agent *a = arg;

	return a->objects && objects_elsewhere(a->objects, key, fn, fn_arg);
}

static void on_pod(void *arg, struct podspec *spec)
{
	struct agent *a = arg;

	if (pods_put(a->pods, spec) < 0)
		log_error_errno("agent", -ENOMEM, "cannot take a pod");
}

static void on_pod_gone(void *arg, const char *key)
{
	struct agent *a = arg;

	pods_remove(a->pods, key);
}

static void on_pod_left(void *arg, const char *key, const char *left_key)
{
	struct agent *a = arg;

	pods_leave(a->pods, key, left_key);
}

static bool is_left(void *arg, const char *left_key)
{
	const struct agent *a = arg;

	return pods_has(a->pods, left_key);
}

static void on_objects_synced(void *arg)
{
	struct agent *a = arg;

	pods_synced(a->pods);
	agent_cni_synced(a);
	agent_ready_synced(a);
}

static void on_objects_changed(void *arg)
{
	agent_changed(arg);
}

static void on_problem(void *arg, const char *key, const char *message)
{
	agent_kube_warn(arg, key, "MeshPodInvalid", message);
}

static void on_failed(void *arg, const char *key, const char *message)
{
	agent_kube_warn(arg, key, "MeshEnrolmentFailed", message);
}

/* ---- admin ---- */

static int status_answer(struct agent *a, struct buf *b)
{
	uint64_t counters[CV_REASON_MAX];
	struct status_input in = {
		.node = a->node,
		.pin_dir = datapath_pin_dir(a->datapath),
		.is_ztunnel_connected = zds_is_connected(a->zds),
		.is_control_connected = mesh_is_connected(a->mesh),
		.control_failure = mesh_failure(a->mesh),
		.pods = a->pods,
		.objects = a->objects,
		.features = a->features,
		/* two rights are all that it needs to write */
		.problems = {agent_cni_error(a), kube_write_missing(a->kube.write, 0),
			     kube_write_missing(a->kube.write, 1), objects_trouble(a->objects),
			     datapath_shortfall(a->datapath),
			     a->uplink_trouble[0] ? a->uplink_trouble : NULL},
		.counters = datapath_counters(a->datapath, counters) == 0 ? counters : NULL,
	};

	return status_format(&in, b);
}

static void on_request(const struct http_request *req, struct http_response *resp, void *arg)
{
	static const struct {
		const char *path;
		int (*answer)(struct agent *a, struct buf *b);
	} pages[] = {{"/status", status_answer}, {"/past", agent_past_format}};
	size_t i = 0;

	while (i < ARRAY_SIZE(pages) && !streq(req->path, pages[i].path))
		i++;
	if (i == ARRAY_SIZE(pages)) {
		resp->status = 404;
		(void)buf_printf(&resp->body, "not found; there are /status and /past\n");
		return;
	}
	if (!streq(req->method, "GET") && !streq(req->method, "HEAD")) {
		resp->status = 405;
		return;
	}
	resp->content_type = "application/json";
	if (pages[i].answer(arg, &resp->body) < 0)
		resp->status = 500;
}

/* ---- start ---- */

static void on_signal(int signo, void *arg)
{
	struct agent *a = arg;

	log_info("agent", "stopping; what is captured stays captured signal=%d", signo);
	if (!agent_retired_waits(a))
		loop_stop(a->loop, 0);
}

/* A lock that goes with the process; the pin folder has one too, since either could be shared by
 * mistake. */
static int run_dir_make(struct agent *a, const struct agent_options *o)
{
	_cleanup_(freep) char *dir = NULL, *lock = NULL;
	int r;

	a->run_dir = o->run_dir ? strdup(o->run_dir) : str_format(RUN_DIR_PREFIX "%s", o->node);
	if (!a->run_dir)
		return -ENOMEM;
	dir = str_format("%s/agent", a->run_dir);
	lock = str_format("%s/agent/lock", a->run_dir);
	if (!dir || !lock)
		return -ENOMEM;
	r = mkdir_p(dir, 0755);
	if (r < 0)
		return log_error_errno("agent", r, "cannot make a folder path=%s", dir);
	a->lock_fd = open(lock, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	if (a->lock_fd < 0)
		return log_error_errno("agent", -errno, "cannot open the lock file path=%s", lock);
	if (flock(a->lock_fd, LOCK_EX | LOCK_NB) < 0)
		return log_error_errno("agent", -EBUSY,
				       "another culvert-agent is running on this node path=%s",
				       lock);
	return 0;
}

static int start_kernel_side(struct agent *a, const struct agent_options *o)
{
	struct datapath_config datapath = {
		.pin_dir = o->pin_dir,
		.is_uplink_guarded = o->uplink != NULL,
		.is_congestion_own = streq(o->local_congestion, "own"),
		.on_busy = o->handover ? handover_wait : NULL,
		.on_busy_arg = (void *)o->handover,
	};
	int r;

	r = netns_home_open(o->is_kubernetes ? 1 : 0, &a->home);
	if (r < 0)
		return log_error_errno("agent", r, "cannot learn the own network namespace");
	features_probe(a->features);
	r = features_check(a->features);
	if (r < 0)
		return r;
	datapath.host_cookie = o->is_kubernetes ? a->home.cookie : 0;
	r = datapath_open(&datapath, &a->datapath);
	if (r < 0)
		return r;
	uplink_attach(a->datapath, datapath_has_direct(a->datapath) ? o->uplink : NULL,
		      a->uplink_trouble);
	a->enrolment = (struct enrolment_context){
		.is_direct = datapath_has_direct(a->datapath) && direct_is_wanted(o->same_node),
		.bypass = guard_bypass_from_string(o->host_bypass),
		.datapath = a->datapath,
		.home = &a->home,
		.marker = {.mark = on_mark, .arg = a},
	};
	if (a->enrolment.is_direct && a->enrolment.bypass == GUARD_BYPASS_OFF)
		log_warn("agent", "--host-bypass is off: pods use tunnels inside the node");
	r = beside_path(MAKER_PROGRAM, &a->maker_program);
	if (r < 0)
		return log_error_errno("agent", r, "cannot learn the own program's path");
	a->stock = (struct stock){
		.program = a->maker_program,
		.home = &a->home,
		.marker = &a->enrolment.marker,
		.mark_fd = datapath_map_fd(a->datapath, DATAPATH_SOCKETS),
	};
	return 0;
}

static int start_zds(struct agent *a, const struct agent_options *o)
{
	_cleanup_(freep) char *path = str_format("%s/agent/zds.sock", a->run_dir);
	struct zds_config config = {
		.loop = a->loop, .path = path, .node = a->node, .ops = &agent_zds_ops, .arg = a};
	struct user user;
	int r;

	if (!path)
		return -ENOMEM;
	r = user_lookup(o->ztunnel_user, &user);
	if (r < 0)
		return log_error_errno(
			"agent", r,
			"no such user; tools/setup makes it, or see --ztunnel-user user=%s",
			o->ztunnel_user);
	config.uid = user.uid;
	config.gid = user.gid;
	r = zds_new(&config, &a->zds);
	if (r < 0)
		return log_error_errno("agent", r, "cannot listen path=%s", path);
	a->nameservers = (struct nameservers){.datapath = a->datapath, .zds = a->zds};
	return 0;
}

static int start_mesh(struct agent *a, const struct agent_options *o)
{
	_cleanup_(freep) char *path = str_format("%s/control/xds.sock", a->run_dir);
	struct mesh_config config = {
		.loop = a->loop,
		.datapath = a->datapath,
		.target = dial_options_target(&o->control, NULL, path),
		.node = a->node,
		.on_synced = on_mesh_synced,
		.on_incomplete = on_incomplete,
		.on_registry_only = on_registry_only,
		.arg = a,
	};
	int r;

	if (!path)
		return -ENOMEM;
	r = mesh_new(&config, &a->mesh);
	return r < 0 ? log_error_errno("agent", r, "cannot start the control plane's client") : 0;
}

static int start_pods(struct agent *a, const struct agent_options *o)
{
	struct pods_config config = {
		.loop = a->loop,
		.enrolment = &a->enrolment,
		.zds = a->zds,
		.stock = &a->stock,
		.dests = mesh_dests(a->mesh),
		.on_changed = on_pods_changed,
		.is_awaited = is_awaited,
		.is_outside = o->config_dir ? NULL : is_outside,
		.elsewhere = elsewhere,
		.on_failed = on_failed,
		.arg = a,
	};
	struct direct_config direct = {.loop = a->loop,
				       .datapath = a->datapath,
				       .zds = a->zds,
				       .home = &a->home,
				       .is_host_vouched = o->is_kubernetes};
	int r;

	a->enrolment.is_incomplete = adopt_has_flag(a->datapath, CV_POD_UNKNOWN_TO_TUNNEL);
	a->enrolment.is_registry_only = adopt_has_flag(a->datapath, CV_POD_REGISTRY_ONLY);
	r = guard_thread_new(a->loop, a->datapath, &a->enrolment.guards);
	if (r == 0)
		r = pods_new(&config, &a->pods);
	if (r < 0)
		return r;
	a->enrolment.others = &pods_others;
	a->enrolment.others_arg = a->pods;
	direct.pods = a->pods;
	r = direct_new(&direct, &a->direct);
	if (r < 0)
		return r;
	/* What an earlier agent learnt of the mesh is in the maps. */
	if (adopt_has_flag(a->datapath, CV_POD_CAPTURE))
		pods_dests_synced(a->pods, false);
	return 0;
}

static int start_objects(struct agent *a, const struct agent_options *o)
{
	struct objects_config config = {
		.loop = a->loop,
		.config_dir = o->config_dir,
		.kubeconfig = o->kubeconfig,
		.node = a->node,
		.enrolment = &a->enrolment,
		.on_pod = on_pod,
		.on_pod_gone = on_pod_gone,
		.on_pod_left = on_pod_left,
		.is_left = is_left,
		.on_synced = on_objects_synced,
		.on_changed = on_objects_changed,
		.on_problem = on_problem,
		.arg = a,
	};
	int r;

	r = objects_new(&config, &a->objects);
	if (r < 0 && o->config_dir)
		return log_error_errno("agent", r, "cannot read the manifests dir=%s",
				       o->config_dir);
	return r < 0 ? log_error_errno("agent", r, "cannot read the pods of the cluster") : 0;
}

static int start_events(struct agent *a)
{
	struct events_config config = {
		.loop = a->loop,
		.ring_fd = datapath_map_fd(a->datapath, DATAPATH_EVENTS),
		.direct_fd = datapath_map_fd(a->datapath, DATAPATH_DIRECT_EVENTS),
		.pod_name = on_pod_name,
		.on_nameserver = on_nameserver,
		.on_drop = on_drop,
		.on_direct = on_direct,
		.on_read = on_events_read,
		.arg = a,
	};
	int r;

	r = agent_past_start(a);
	if (r == 0)
		r = events_new(&config, &a->events);
	if (r == 0)
		r = sweep_new(a->loop, a->datapath, &a->sweep);
	if (r == 0)
		r = agent_metrics_start(a);
	if (r < 0)
		return log_error_errno("agent", r, "cannot read the BPF events");
	return 0;
}

static int start_admin(struct agent *a)
{
	_cleanup_(freep) char *path = str_format("%s/agent/admin.sock", a->run_dir);
	_cleanup_(close_fdp) int fd = -EBADF;
	int r;

	if (!path)
		return -ENOMEM;
	r = unix_stream_listen(path, ADMIN_MODE, &fd);
	if (r == 0)
		r = http_server_new(a->loop, fd, on_request, a, &a->admin);
	if (r < 0)
		return log_error_errno("agent", r, "cannot listen path=%s", path);
	(void)TAKE_FD(fd);
	return 0;
}

/* DESIGN 3. Files are reached by ownership from here on: there is no DAC_OVERRIDE. */
static int give_up_privileges(void)
{
	static const int keep[] = {CAP_BPF, CAP_PERFMON, CAP_NET_ADMIN, CAP_SYS_ADMIN,
				   CAP_SYS_PTRACE};
	int r = drop_to_user(NULL, keep, ARRAY_SIZE(keep));

	if (r < 0)
		return log_error_errno("agent", r, "cannot drop privileges");
	return 0;
}

static int start_loop(struct agent *a)
{
	int r;

	r = loop_new(&a->loop);
	if (r == 0)
		r = loop_signal(a->loop, SIGTERM, on_signal, a);
	if (r == 0)
		r = loop_signal(a->loop, SIGINT, on_signal, a);
	if (r < 0)
		return log_error_errno("agent", r, "cannot make the event loop");
	return 0;
}

static int start_all(struct agent *a, const struct agent_options *o)
{
	int r;

	r = run_dir_make(a, o);
	/* Before signals are taken: it may wait long for another agent to let go. */
	if (r == 0)
		r = start_kernel_side(a, o);
	if (r == 0)
		r = start_loop(a);
	if (r == 0)
		r = start_zds(a, o);
	if (r == 0)
		r = start_mesh(a, o);
	if (r == 0)
		r = start_pods(a, o);
	if (r == 0)
		r = start_events(a);
	if (r == 0)
		r = start_admin(a);
	if (r == 0)
		r = agent_cni_start(a, o);
	if (r == 0)
		r = agent_handover_start(a, o->handover);
	if (r == 0)
		r = give_up_privileges();
	/* Last, so that what it reads is read with the rights that the agent runs with. */
	if (r == 0)
		r = start_objects(a, o);
	if (r == 0)
		r = agent_kube_start(a, o->daemonset);
	return r;
}

int agent_new(const struct agent_options *options, struct agent **ret)
{
	_cleanup_(agent_freep) struct agent *a = calloc(1, sizeof(*a));
	int r;

	if (!a)
		return -ENOMEM;
	a->lock_fd = a->home.fd = -EBADF;
	a->node = strdup(options->node);
	if (!a->node)
		return -ENOMEM;
	r = start_all(a, options);
	if (r < 0)
		return r;
	trim_start(&a->trim, a->loop, TRIM_US);
	*ret = TAKE_PTR(a);
	return 0;
}

struct agent *agent_free(struct agent *a)
{
	if (!a)
		return NULL;
	agent_handover_end(a);
	agent_ready_stop(a, true);
	agent_cni_stop(a);
	http_server_free(a->admin);
	sweep_free(a->sweep);
	events_free(a->events);
	refusals_free(a->refusals);
	agent_kube_stop(a);
	objects_free(a->objects);
	direct_free(a->direct);
	pods_free(a->pods);
	a->enrolment.guards = guard_thread_free(a->enrolment.guards);
	mesh_free(a->mesh);
	zds_free(a->zds);
	stock_ztunnel_lost(&a->stock);
	datapath_close(a->datapath);
	netns_home_close(&a->home);
	loop_timer_del(&a->trim.timer);
	loop_free(a->loop);
	close_fd(a->lock_fd);
	free(a->maker_program);
	free(a->run_dir);
	free(a->node);
	free(a);
	return NULL;
}

int agent_run(struct agent *a)
{
	int r;

	log_info("agent", "ready node=%s", a->node);
	r = loop_run(a->loop);
	if (r < 0)
		return r;
	return agent_leave(a);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* culvert-control - the control plane of a node. */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/drop.h"
#include "base/files_limit.h"
#include "base/log.h"
#include "base/loop.h"
#include "base/option.h"
#include "base/str.h"
#include "base/timeslice.h"
#include "bootstrap.h"
#include "ca.h"
#include "ca_options.h"
#include "ca_secret.h"
#include "ca_watch.h"
#include "cacerts.h"
#include "control.h"
#include "csr_signer.h"
#include "metrics.h"
#include "net/unix.h"
#include "pod_ranges.h"
#include "readiness.h"
#include "source/kube_client.h"
#include "source/mesh_config.h"
#include "source/schema.h"
#include "status.h"

#define FILES_WANTED        65536 /* a connection for each node of the cluster */
#define PATH_BYTES          108   /* of sun_path */
#define EXTERNAL_KUBERNETES "ISTIOD_RA_KUBERNETES_API" /* Istio's word */
#define REFUSED_LOG_US      10000000ULL

struct options {
	const char *node, *config_dir, *run_dir, *ca_dir, *user, *allow_user;
	const char *trust_domain, *cluster_id, *cluster_domain, *namespace_, *root_namespace;
	const char *log_level, *log_format;
	const char *kubeconfig, *revision, *pod_ranges, *untaint_key, *external_ca, *k8s_signer;
	struct ca_options ca;
	uint64_t xds_port, webhook_port, ready_port, metrics_port, admin_port;
	bool is_kubernetes, is_untainting;
};

#define STRING_OPTION(long_name, field, value, name_of_value, text)                                \
	{                                                                                          \
		.name = long_name, .type = OPTION_STRING,                                          \
		.offset = offsetof(struct options, field), .default_value = value,                 \
		.value_name = name_of_value, .help = text                                          \
	}

#define ENV_OPTION(long_name, field, value, variable, name_of_value, text)                         \
	{                                                                                          \
		.name = long_name, .type = OPTION_STRING,                                          \
		.offset = offsetof(struct options, field), .default_value = value,                 \
		.env = variable, .value_name = name_of_value, .help = text                         \
	}

#define PORT_OPTION(long_name, field, value, least, variable, text)                                \
	{                                                                                          \
		.name = long_name, .type = OPTION_U64, .offset = offsetof(struct options, field),  \
		.default_value = value, .min = least, .max = 65535, .env = variable,               \
		.value_name = "PORT", .help = text                                                 \
	}

static const struct option_def option_defs[] = {
	STRING_OPTION("node", node, NULL, "NAME",
		      "name of this node, as in spec.nodeName; required"),
	STRING_OPTION("config-dir", config_dir, NULL, "DIR", "folder of manifests"),
	{.name = "kubernetes",
	 .type = OPTION_BOOL,
	 .offset = offsetof(struct options, is_kubernetes),
	 .env = "CULVERT_KUBERNETES",
	 .help = "instead of a folder: the API server; nodes connect by TLS and are known by their "
		 "tokens"},
	ENV_OPTION("kubeconfig", kubeconfig, NULL, "KUBECONFIG", "FILE",
		   "with --kubernetes: how to reach the API server from outside a pod"),
	ENV_OPTION("revision", revision, NULL, "REVISION", "NAME",
		   "with --kubernetes: which of several control planes this is"),
	PORT_OPTION("xds-port", xds_port, "15012", 1, NULL,
		    "with --kubernetes: where nodes connect"),
	PORT_OPTION("webhook-port", webhook_port, "15017", 0, NULL,
		    "with --kubernetes: where the API server asks of objects; 0: nowhere"),
	PORT_OPTION("ready-port", ready_port, "8080", 0, NULL,
		    "with --kubernetes: where the kubelet asks for /ready and /live; 0: nowhere"),
	PORT_OPTION("metrics-port", metrics_port, "0", 0, "CULVERT_CONTROL_METRICS_PORT",
		    "where Prometheus asks for /metrics (istiod's: 15014); 0: nowhere"),
	PORT_OPTION("admin-port", admin_port, "0", 0, NULL,
		    "/status on 127.0.0.1, too (ControlZ's: 9876); 0: on the socket only"),
	STRING_OPTION("run-dir", run_dir, NULL, "DIR", "sockets (default: /run/culvert/NAME)"),
	STRING_OPTION("ca-dir", ca_dir, "/var/lib/culvert/ca", "DIR",
		      "ca-cert.pem, ca-key.pem, root-cert.pem, cert-chain.pem; made if missing"),
	ENV_OPTION("root-ttl", ca.root_ttl, "87600h", "CITADEL_SELF_SIGNED_CA_CERT_TTL", "TIME",
		   "of a root that we make"),
	{.name = "root-rsa-bits",
	 .type = OPTION_U64,
	 .offset = offsetof(struct options, ca.root_rsa_bits),
	 .env = "CITADEL_SELF_SIGNED_CA_RSA_KEY_SIZE",
	 .max = 4096,
	 .value_name = "N",
	 .help = "key of a root that we make: RSA of 2048..4096 bits; 0: ECDSA P-256"},
	ENV_OPTION("cert-ttl", ca.cert_ttl, "24h", "DEFAULT_WORKLOAD_CERT_TTL", "TIME",
		   "of a workload's certificate, where the request names none"),
	ENV_OPTION("max-cert-ttl", ca.cert_ttl_max, "2160h", "MAX_WORKLOAD_CERT_TTL", "TIME",
		   "longest: a request for more gets this"),
	ENV_OPTION("external-ca", external_ca, NULL, "EXTERNAL_CA", "NAME",
		   "with --kubernetes: " EXTERNAL_KUBERNETES
		   ": workloads' certificates come from a signer of CertificateSigningRequests"),
	ENV_OPTION("k8s-signer", k8s_signer, NULL, "K8S_SIGNER", "NAME",
		   "which one; its root is in " CSR_SIGNER_CACERTS),
	STRING_OPTION("user", user, NULL, "USER", "user to become"),
	STRING_OPTION("allow-user", allow_user, NULL, "USER",
		      "who may use xds.sock besides root and ourselves"),
	STRING_OPTION("trust-domain", trust_domain, NULL, "NAME",
		      "of SPIFFE IDs (default: MeshConfig's, else cluster.local)"),
	STRING_OPTION("cluster-id", cluster_id, "Kubernetes", "NAME", "of workloads"),
	STRING_OPTION("cluster-domain", cluster_domain, "cluster.local", "NAME",
		      "of Service names"),
	STRING_OPTION("namespace", namespace_, "istio-system", "NAME",
		      "where the mesh is installed: MeshConfig, ztunnels, Leases, Secrets"),
	STRING_OPTION("root-namespace", root_namespace, NULL, "NAME",
		      "where mesh-wide policies live (default: MeshConfig's, else --namespace)"),
	ENV_OPTION("pod-ranges", pod_ranges, NULL, "CULVERT_POD_RANGES", "RANGES",
		   "what addresses pods have, where Nodes' spec.podCIDRs do not say it"),
	{.name = "untaint",
	 .type = OPTION_BOOL,
	 .offset = offsetof(struct options, is_untainting),
	 .env = "PILOT_ENABLE_NODE_UNTAINT_CONTROLLERS",
	 .help = "with --kubernetes: take a taint from Nodes on which the mesh is ready"},
	ENV_OPTION("untaint-key", untaint_key, "cni.istio.io/not-ready",
		   "PILOT_NODE_UNTAINT_CONTROLLERS_TAINT_NAME", "KEY", "which one"),
	STRING_OPTION("log-level", log_level, "info", "LEVEL", "error, warn, info, debug, trace"),
	STRING_OPTION("log-format", log_format, "text", "FORMAT", "text or json"),
	{.name = NULL},
};

struct daemon {
	struct loop *loop;
	struct kube_client *kube; /* NULL with a folder */
	char *ca_dir;             /* of a cluster's own CA */
	struct ca *ca;
	struct ca_settings settings;
	struct ca_root root;       /* how one is made */
	struct csr_signer *signer; /* NULL: our CA signs */
	char *signer_roots;
	struct ca_secret *ca_secret; /* NULL: the CA is in files */
	struct ca_watch *ca_watch;   /* NULL: a change is taken over at the next start */
	struct cacerts *cacerts;     /* NULL: it is used, or cannot come */
	struct control *control;
	struct http_server *admin[2], *readiness;
	struct metrics *metrics;
	struct mesh_config mesh; /* as it was at the start */
	char mesh_name[128];     /* of its ConfigMap */
	uid_t allowed_uid;
	uint64_t refused_at_us; /* when a stranger was last logged */
	int xds_fd, admin_fd;
};

static void on_stop_signal(int signo, void *arg)
{
	struct daemon *d = arg;

	log_info("control", "stopping signal=%d", signo);
	loop_stop(d->loop, 0);
}

static bool is_allowed(void *arg, const struct grpc_peer *peer)
{
	struct daemon *d = arg;
	uint64_t now = loop_now_us(d->loop);

	if (peer->uid == 0 || peer->uid == getuid() || peer->uid == d->allowed_uid)
		return true;
	/* a stranger that tries for ever must not fill the log */
	if (d->refused_at_us && now - d->refused_at_us < REFUSED_LOG_US)
		return false;
	d->refused_at_us = now;
	log_warn("control", "connection refused uid=%u pid=%d", (unsigned int)peer->uid,
		 (int)peer->pid);
	return false;
}

static int ca_start(struct daemon *d, const struct options *o)
{
	struct ca_material material = {0};
	char err[512];
	int r = ca_files_load_or_make(o->ca_dir, &d->root, &material, err, sizeof(err));

	if (r == 0)
		r = ca_new(&material, &d->ca, err, sizeof(err));
	if (r < 0)
		log_error("ca", "no signing key: %s", err);
	ca_material_clear(&material);
	return r;
}

static int folder_make(const struct options *o, const char *path)
{
	int r = o->user ? mkdir_for_user(path, 0755, o->user) : mkdir_p(path, 0755);

	return r < 0 ? log_error_errno("control", r, "cannot make folder=%s", path) : 0;
}

static int socket_make(const char *folder, const char *name, unsigned int mode, int *ret)
{
	char path[PATH_BYTES];
	int n = snprintf(path, sizeof(path), "%s/%s", folder, name);
	int r = n < 0 || (size_t)n >= sizeof(path) ? -ENAMETOOLONG
						   : unix_stream_listen(path, mode, ret);

	if (r == -EADDRINUSE)
		log_error("control", "socket=%s/%s: another culvert-control runs on this node",
			  folder, name);
	else if (r < 0)
		log_error_errno("control", r, "cannot listen socket=%s/%s", folder, name);
	return r;
}

static int user_check(const char *option, const char *name, uid_t *ret)
{
	struct user user;
	int r = user_lookup(name, &user);

	if (r < 0)
		return log_error_errno("control", r, "no such user: %s=%s (run tools/setup)",
				       option, name);
	*ret = user.uid;
	return 0;
}

static int users_check(struct daemon *d, const struct options *o)
{
	uid_t ours;
	int r = 0;

	if (o->allow_user)
		r = user_check("--allow-user", o->allow_user, &d->allowed_uid);
	if (r == 0 && o->user)
		r = user_check("--user", o->user, &ours);
	return r;
}

static int user_become(const struct options *o)
{
	int r = o->user ? drop_to_user(o->user, NULL, 0) : 0;

	if (r < 0)
		return log_error_errno("control", r, "cannot become --user=%s", o->user);
	memory_protect(); /* whoever reads it has the CA's key */
	(void)files_limit_raise(FILES_WANTED);
	return 0;
}

static int sockets_open(struct daemon *d, const struct options *o)
{
	_cleanup_(freep) char *run_dir = NULL;
	_cleanup_(freep) char *folder = NULL;
	int r;

	run_dir = o->run_dir ? strdup(o->run_dir)
			     : str_format("/run/culvert/%s", o->node ? o->node : "");
	folder = run_dir ? str_format("%s/control", run_dir) : NULL;
	if (!folder)
		return -ENOMEM;
	r = folder_make(o, folder);
	if (r == 0)
		r = user_become(o);
	if (r == 0)
		r = o->is_kubernetes ? 0 : socket_make(folder, "xds.sock", 0666, &d->xds_fd);
	return r < 0 ? r : socket_make(folder, "admin.sock", 0600, &d->admin_fd);
}

static void on_ca_change(void *arg, struct ca *ca)
{
	struct daemon *d = arg;

	control_set_ca(d->control, ca);
	(void)ca_free(d->ca);
	d->ca = ca;
}

static int ca_follow(struct daemon *d, const struct options *o)
{
	const struct ca_watch_config config = {.loop = d->loop,
					       .dir = o->ca_dir,
					       .ca = d->ca,
					       .on_change = on_ca_change,
					       .arg = d};
	int r = ca_watch_new(&config, &d->ca_watch);

	/* readable for root alone, say: certificates are signed all the same */
	if (r < 0 && r != -ENOMEM)
		log_warn_errno("ca", r, "changes are taken over at the next start only: folder=%s",
			       o->ca_dir);
	return r == -ENOMEM ? r : 0;
}

static void on_cacerts(void *arg, const struct source_error *err, bool is_waiting)
{
	const struct daemon *d = arg;

	control_set_problem(d->control, err, is_waiting);
}

/* Only where we sign with a CA of our own, and where the Secret would be mounted. */
static int cacerts_follow(struct daemon *d, const struct options *o)
{
	const struct cacerts_config config = {.loop = d->loop,
					      .folder = CA_SECRET_CACERTS,
					      .namespace_ = o->namespace_,
					      .on_change = on_cacerts,
					      .arg = d};
	int r = d->ca_dir ? cacerts_new(&config, &d->cacerts) : 0;

	if (r < 0 && r != -ENOMEM && r != -ENOENT)
		log_warn_errno("ca", r, "not told when Secret cacerts comes: folder=%s",
			       config.folder);
	return r == -ENOMEM ? r : 0;
}

static const struct ca *ca_now(void *arg)
{
	return ((const struct daemon *)arg)->ca;
}

static int ca_secret_start(struct daemon *d, const struct options *o)
{
	const struct ca_secret_config config = {.loop = d->loop,
						.kube = d->kube,
						.namespace_ = o->namespace_,
						.dir = d->ca_dir,
						.root = d->root,
						.ca = ca_now,
						.arg = d};

	return d->ca_dir ? ca_secret_new(&config, &d->ca_secret) : 0;
}

static void on_leader(void *arg, bool is_leader)
{
	const struct daemon *d = arg;

	if (d->ca_secret)
		ca_secret_lead(d->ca_secret, is_leader);
}

static int signer_start(struct daemon *d, const struct options *o)
{
	if (!o->external_ca || !*o->external_ca)
		return 0;
	return csr_signer_open(d->loop, d->kube, o->k8s_signer, &d->signer_roots, &d->signer);
}

static int control_start(struct daemon *d, const struct options *o)
{
	struct control_config config = {
		.loop = d->loop,
		.node = o->node ? o->node : "",
		.config_dir = o->config_dir,
		.kube = d->kube,
		.revision = o->revision,
		.mesh_config = d->mesh_name,
		.mesh_at_start = &d->mesh,
		.untaint_key = o->is_untainting ? o->untaint_key : NULL,
		.pod_ranges = o->pod_ranges,
		.xds_port = (uint16_t)o->xds_port,
		.webhook_port = (uint16_t)o->webhook_port,
		.trust_domain = o->trust_domain,
		.cluster_id = o->cluster_id,
		.cluster_domain = o->cluster_domain,
		.namespace_ = o->namespace_,
		.root_namespace = o->root_namespace,
		.ca = d->ca,
		.ca_settings = d->settings,
		.signer = d->signer,
		.signer_roots = d->signer_roots,
		.xds_fd = d->xds_fd,
		.is_allowed = is_allowed,
		.on_leader = on_leader,
		.arg = d,
	};
	int r = control_new(&config, &d->control);

	if (r < 0)
		return log_error_errno("control", r, "cannot read the configuration");
	d->xds_fd = -EBADF;
	r = status_serve(d->loop, d->admin_fd, (uint16_t)o->admin_port, d->control, d->admin);
	if (r < 0)
		return log_error_errno("control", r, "cannot serve the status");
	d->admin_fd = -EBADF;
	return 0;
}

static void on_mesh_error(void *arg, const struct source_error *err)
{
	if (err->is_warning) /* told in the status, when it is followed */
		return;
	log_error("control", "MeshConfig not used file=%s line=%u field=%s: %s", err->file,
		  err->line, err->field, err->message);
}

/* The trust domain and the root namespace are needed before objects are followed. */
static int mesh_config_start(struct daemon *d, struct options *o)
{
	const struct bootstrap b = {.loop = d->loop,
				    .kube = d->kube,
				    .folder = o->config_dir,
				    .namespace_ = o->namespace_,
				    .mesh_config = d->mesh_name};
	int r = bootstrap_mesh_config(&b, on_mesh_error, d, &d->mesh);

	if (r == -EINTR)
		return r;
	if (r < 0)
		return log_error_errno("control", r, "cannot read the configuration");
	if (!o->trust_domain)
		o->trust_domain = d->mesh.trust_domain ? d->mesh.trust_domain : "cluster.local";
	d->root.trust_domain = o->trust_domain;
	if (!o->root_namespace)
		o->root_namespace = d->mesh.root_namespace ? d->mesh.root_namespace : o->namespace_;
	return 0;
}

static int kube_start(struct daemon *d, const struct options *o)
{
	char err[512] = "";
	int r = kube_client_open(d->loop, o->kubeconfig, &d->kube, err, sizeof(err));

	if (r < 0)
		log_error("control", "no API server: %s", err[0] ? err : strerror(-r));
	return r;
}

/* Secret cacerts, where it is mounted, else the CA that the replicas share. */
static int cluster_ca_start(struct daemon *d, struct options *o)
{
	const struct bootstrap b = {.loop = d->loop, .kube = d->kube, .namespace_ = o->namespace_};
	int r;

	if (access(CA_SECRET_CACERTS "/ca-cert.pem", F_OK) == 0) {
		o->ca_dir = CA_SECRET_CACERTS;
		return 0;
	}
	d->ca_dir = str_format("%s/ca", o->run_dir ? o->run_dir : "/run/culvert");
	if (!d->ca_dir)
		return -ENOMEM;
	o->ca_dir = d->ca_dir;
	r = ca_secret_fetch(&b, d->ca_dir, &d->root);
	return r < 0 && r != -EINTR ? log_error_errno("ca", r, "no Secret istio-ca-secret") : r;
}

static int loop_start(struct daemon *d)
{
	int r = loop_new(&d->loop);

	if (r == 0)
		r = loop_signal(d->loop, SIGTERM, on_stop_signal, d);
	if (r == 0)
		r = loop_signal(d->loop, SIGINT, on_stop_signal, d);
	return r < 0 ? log_error_errno("control", r, "cannot start the event loop") : 0;
}

static int daemon_start(struct daemon *d, struct options *o)
{
	int r = users_check(d, o);
	if (r == 0)
		r = loop_start(d);
	if (r == 0 && o->is_kubernetes)
		r = readiness_serve(d->loop, (uint16_t)o->ready_port, &d->control, &d->readiness);
	if (r == 0)
		r = metrics_new(d->loop, (uint16_t)o->metrics_port, &d->control, &d->metrics);
	if (r == 0 && o->is_kubernetes)
		r = kube_start(d, o);
	if (r == 0)
		r = mesh_config_start(d, o);
	if (r == 0 && d->kube)
		r = cluster_ca_start(d, o);
	if (r == 0)
		r = ca_start(d, o);
	if (r == 0)
		r = sockets_open(d, o);
	if (r == 0)
		r = signer_start(d, o);
	if (r == 0)
		r = control_start(d, o);
	if (r == 0)
		r = ca_follow(d, o);
	if (r == 0)
		r = cacerts_follow(d, o);
	return r < 0 ? r : ca_secret_start(d, o);
}

static int daemon_run(struct daemon *d, struct options *o)
{
	int r = daemon_start(d, o);

	/* told to stop while it waited for the API server, or for a MeshConfig without mistakes */
	if (r == -EINTR)
		return 0;
	if (r == 0)
		r = loop_run(d->loop);
	if (r == 0)
		control_release(d->control);
	return r;
}

static void daemon_clear(struct daemon *d)
{
	(void)http_server_free(d->admin[0]);
	(void)http_server_free(d->admin[1]);
	(void)http_server_free(d->readiness);
	(void)metrics_free(d->metrics);
	(void)ca_secret_free(d->ca_secret);
	(void)ca_watch_free(d->ca_watch);
	(void)cacerts_free(d->cacerts);
	(void)control_free(d->control);
	(void)csr_signer_free(d->signer);
	free(d->signer_roots);
	(void)ca_free(d->ca);
	(void)kube_client_free(d->kube);
	free(d->ca_dir);
	(void)loop_free(d->loop);
	(void)close_fd(d->xds_fd);
	(void)close_fd(d->admin_fd);
	mesh_config_clear(&d->mesh);
}

static int options_check(const struct options *o, const char *rest, char *err, size_t size)
{
	if (rest)
		(void)snprintf(err, size, "%s: not an option", rest);
	else if (o->is_kubernetes ? o->config_dir != NULL : !o->node || !o->config_dir)
		(void)snprintf(
			err, size,
			"expected --node and --config-dir, or --kubernetes without --config-dir");
	else if (o->external_ca && *o->external_ca &&
		 (!streq(o->external_ca, EXTERNAL_KUBERNETES) || !o->is_kubernetes ||
		  !o->k8s_signer || !*o->k8s_signer))
		(void)snprintf(err, size,
			       "--external-ca: expected " EXTERNAL_KUBERNETES
			       ", with --kubernetes and --k8s-signer");
	else if (*o->revision && !word_is_label(o->revision))
		(void)snprintf(err, size, "--revision: expected lower-case letters, digits and -");
	else if (log_level_from_string(o->log_level) == LOG_LEVEL_INVALID)
		(void)snprintf(err, size, "--log-level: %s is not a level", o->log_level);
	else
		return 0;
	return -EINVAL;
}

static int options_read(struct daemon *d, struct options *o, int argc, char **argv)
{
	char err[256];
	int rest;
	int r = option_parse(option_defs, o, argc, argv, &rest, err, sizeof(err));

	if (r == -ECANCELED) {
		option_help(
			option_defs,
			"culvert-control {--node NAME --config-dir DIR | --kubernetes} [OPTION...]",
			"Reads manifests, tells the node's ztunnel and agent about workloads, "
			"services and policies, and signs workload certificates.");
		return r;
	}
	if (!o->revision || !o->is_kubernetes) /* $REVISION of somebody's shell is not ours */
		o->revision = "";
	(void)snprintf(d->mesh_name, sizeof(d->mesh_name), MESH_CONFIG_NAME "%s%s",
		       *o->revision ? "-" : "", o->revision);
	if (r == 0)
		r = options_check(o, rest < argc ? argv[rest] : NULL, err, sizeof(err));
	if (r == 0)
		r = pod_ranges_check(o->pod_ranges, err, sizeof(err));
	if (r == 0)
		r = ca_options_read(&o->ca, &d->settings, &d->root, err, sizeof(err));
	if (r < 0)
		(void)fprintf(stderr, "culvert-control: %s\n", err);
	return r;
}

int main(int argc, char **argv)
{
	struct daemon d = {.allowed_uid = 0, .xds_fd = -EBADF, .admin_fd = -EBADF};
	struct options o = {0};
	int r = options_read(&d, &o, argc, argv);

	if (r < 0)
		return r == -ECANCELED ? 0 : 1;
	log_set_level(log_level_from_string(o.log_level));
	log_open();
	log_set_format_json(streq(o.log_format, "json"));
	(void)signal(SIGPIPE, SIG_IGN);
	timeslice_shorten();
	r = daemon_run(&d, &o);
	daemon_clear(&d);
	return r < 0 ? 1 : 0;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* One block: the struct, the addresses, the host's ports, the ports, then the texts one after the
 * other. */
#include "source/pod_facts.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "base/str.h"
#include "net/addr.h"
#include "source/object.h"

enum text {
	TEXT_NODE,
	TEXT_ACCOUNT,
	TEXT_UID,
	TEXT_HOSTNAME,
	TEXT_SUBDOMAIN,
	TEXT_OWNER_KIND,
	TEXT_OWNER_NAME,
	TEXT_MAX,
};

/** struct reading - what is found before it is known how much room it takes. */
struct reading {
	const char *texts[TEXT_MAX];
	struct cv_addr addrs[POD_ADDRESSES_MAX];
	const char *port_names[POD_PORTS_MAX];
	uint16_t ports[POD_PORTS_MAX];
	struct pod_host_port host_ports[POD_HOST_PORTS_MAX];
	size_t n_addrs, n_ports, n_host_ports;
};

static void addr_add(struct reading *x, const json_t *text)
{
	struct cv_addr a;

	if (!json_is_string(text) || x->n_addrs == POD_ADDRESSES_MAX ||
	    cv_addr_parse(json_string_value(text), &a) < 0)
		return;
	if (cv_addr_is_any(&a) || cv_addr_is_loopback(&a))
		return;
	for (size_t i = 0; i < x->n_addrs; i++)
		if (cv_addr_equal(&x->addrs[i], &a))
			return;
	x->addrs[x->n_addrs++] = a;
}

static bool is_tcp(const json_t *port)
{
	const char *protocol = json_text(port, "protocol", "");

	return !*protocol || streq(protocol, "TCP");
}

static void host_port_add(struct reading *x, const json_t *port, const char *host_ip)
{
	struct pod_host_port p = {.host_port = json_port(port, "hostPort"),
				  .port = json_port(port, "containerPort")};

	if (p.host_port && p.port && x->n_host_ports < POD_HOST_PORTS_MAX &&
	    cv_addr_parse(host_ip, &p.host_ip) == 0)
		x->host_ports[x->n_host_ports++] = p;
}

static void host_ports_add(struct reading *x, const json_t *container)
{
	const json_t *port;
	size_t i;

	json_array_foreach (json_object_get(container, "ports"), i, port) {
		const char *host_ip = json_text(port, "hostIP", "");

		if (!is_tcp(port))
			continue;
		host_port_add(x, port, *host_ip ? host_ip : "0.0.0.0");
		if (!*host_ip)
			host_port_add(x, port, "::");
	}
}

/* An init container has them while it runs beside the others. */
static void all_host_ports_add(struct reading *x, const json_t *spec)
{
	const json_t *container;
	size_t i;

	json_array_foreach (json_object_get(spec, "containers"), i, container)
		host_ports_add(x, container);
	json_array_foreach (json_object_get(spec, "initContainers"), i, container)
		if (streq(json_text(container, "restartPolicy", ""), "Always"))
			host_ports_add(x, container);
}

static void ports_add(struct reading *x, const json_t *containers)
{
	const json_t *container, *port;
	size_t i, j;

	json_array_foreach (containers, i, container) {
		json_array_foreach (json_object_get(container, "ports"), j, port) {
			const char *name = json_text(port, "name", "");
			uint16_t n = json_port(port, "containerPort");

			if (!*name || !is_tcp(port) || !n || x->n_ports == POD_PORTS_MAX)
				continue;
			x->port_names[x->n_ports] = name;
			x->ports[x->n_ports++] = n;
		}
	}
}

/* The owner that manages the pod. */
static const json_t *controller_of(const json_t *metadata)
{
	const json_t *owners = json_object_get(metadata, "ownerReferences"), *one;
	size_t i;

	json_array_foreach (owners, i, one)
		if (json_is_true(json_object_get(one, "controller")))
			return one;
	return json_array_get(owners, 0);
}

static void metadata_read(struct reading *x, const json_t *metadata)
{
	const json_t *owner = controller_of(metadata);

	x->texts[TEXT_UID] = json_text(metadata, "uid", "");
	x->texts[TEXT_OWNER_KIND] = json_text(owner, "kind", "");
	x->texts[TEXT_OWNER_NAME] = json_text(owner, "name", "");
}

static void spec_read(struct reading *x, const json_t *spec)
{
	const char *account = json_text(spec, "serviceAccountName", "");

	if (!*account)
		account = json_text(spec, "serviceAccount", "");
	x->texts[TEXT_NODE] = json_text(spec, "nodeName", "");
	x->texts[TEXT_ACCOUNT] = *account ? account : "default";
	x->texts[TEXT_HOSTNAME] = json_text(spec, "hostname", "");
	x->texts[TEXT_SUBDOMAIN] = json_text(spec, "subdomain", "");
	ports_add(x, json_object_get(spec, "containers"));
	ports_add(x, json_object_get(spec, "initContainers"));
	if (!json_is_true(json_object_get(spec, "hostNetwork")))
		all_host_ports_add(x, spec);
}

static void status_read(struct reading *x, const json_t *status)
{
	const json_t *one;
	size_t i;

	addr_add(x, json_object_get(status, "podIP"));
	json_array_foreach (json_object_get(status, "podIPs"), i, one)
		addr_add(x, json_object_get(one, "ip"));
}

/* What its kubelet says. Return: NULL: nothing yet. */
static const char *ready_read(const json_t *status)
{
	const json_t *one;
	size_t i;

	json_array_foreach (json_object_get(status, "conditions"), i, one)
		if (streq(json_text(one, "type", ""), "Ready"))
			return json_string_value(json_object_get(one, "status"));
	return NULL;
}

static bool has_ended(const json_t *status)
{
	const char *phase = json_text(status, "phase", "");

	return streq(phase, "Succeeded") || streq(phase, "Failed");
}

/* Return: where the next one goes. */
static char *text_put(char *to, const char *text)
{
	size_t size = strlen(text) + 1;

	memcpy(to, text, size);
	return to + size;
}

static size_t texts_size(const struct reading *x)
{
	size_t size = 0;

	for (size_t i = 0; i < TEXT_MAX; i++)
		size += strlen(x->texts[i]) + 1;
	for (size_t i = 0; i < x->n_ports; i++)
		size += strlen(x->port_names[i]) + 1;
	return size;
}

static void texts_fill(const struct reading *x, struct pod_facts *f, struct pod_port *ports,
		       char *to)
{
	const char **const places[TEXT_MAX] = {
		[TEXT_NODE] = &f->node,
		[TEXT_ACCOUNT] = &f->service_account,
		[TEXT_UID] = &f->uid,
		[TEXT_HOSTNAME] = &f->hostname,
		[TEXT_SUBDOMAIN] = &f->subdomain,
		[TEXT_OWNER_KIND] = &f->owner_kind,
		[TEXT_OWNER_NAME] = &f->owner_name,
	};

	for (size_t i = 0; i < TEXT_MAX; i++) {
		*places[i] = to;
		to = text_put(to, x->texts[i]);
	}
	f->port_names = to;
	for (size_t i = 0; i < x->n_ports && to - f->port_names <= UINT16_MAX; i++) {
		ports[f->ports_count++] =
			(struct pod_port){x->ports[i], (uint16_t)(to - f->port_names)};
		to = text_put(to, x->port_names[i]);
	}
}

static int facts_make(const struct reading *x, struct pod_facts **ret)
{
	size_t addrs = x->n_addrs * sizeof(*x->addrs), ports = x->n_ports * sizeof(struct pod_port);
	size_t host_ports = x->n_host_ports * sizeof(*x->host_ports);
	size_t size = addrs + host_ports + ports + texts_size(x);
	struct pod_facts *f = calloc(1, sizeof(*f) + size);
	char *to;

	if (!f)
		return -ENOMEM;
	f->size = (uint32_t)size;
	to = (char *)(f + 1);
	memcpy(to, x->addrs, addrs);
	f->addrs = (const struct cv_addr *)(const void *)to;
	f->addrs_count = (uint16_t)x->n_addrs;
	to += addrs;
	memcpy(to, x->host_ports, host_ports);
	f->host_ports = (const struct pod_host_port *)(const void *)to;
	f->host_ports_count = (uint16_t)x->n_host_ports;
	to += host_ports;
	f->ports = (const struct pod_port *)(const void *)to;
	texts_fill(x, f, (struct pod_port *)(void *)to, to + ports);
	*ret = f;
	return 0;
}

int pod_facts_read(const struct object *pod, struct pod_facts **ret)
{
	const json_t *metadata = json_object_get(pod->body, "metadata");
	const json_t *spec = json_object_get(pod->body, "spec");
	const json_t *status = json_object_get(pod->body, "status");
	const json_t *deleted = json_object_get(metadata, "deletionTimestamp");
	bool is_going = deleted && !json_is_null(deleted);
	const char *ready = ready_read(status);
	struct reading x;
	struct pod_facts *f;
	int r;

	x.n_addrs = x.n_ports = x.n_host_ports = 0;
	metadata_read(&x, metadata);
	spec_read(&x, spec);
	status_read(&x, status);
	r = facts_make(&x, &f);
	if (r < 0)
		return r;
	f->is_host_network = json_is_true(json_object_get(spec, "hostNetwork"));
	f->is_ready = !is_going && (!ready || streq(ready, "True"));
	f->is_said_ready = !is_going && ready && streq(ready, "True");
	f->has_ended = has_ended(status);
	*ret = f;
	return 0;
}

struct pod_facts *pod_facts_free(struct pod_facts *f)
{
	free(f);
	return NULL;
}

static bool is_state_equal(const struct pod_facts *a, const struct pod_facts *b)
{
	return a->is_host_network == b->is_host_network && a->is_ready == b->is_ready &&
	       a->is_said_ready == b->is_said_ready && a->has_ended == b->has_ended;
}

bool pod_facts_is_equal(const struct pod_facts *a, const struct pod_facts *b)
{
	return a->size == b->size && a->addrs_count == b->addrs_count &&
	       a->host_ports_count == b->host_ports_count && a->ports_count == b->ports_count &&
	       is_state_equal(a, b) && memcmp(a + 1, b + 1, a->size) == 0;
}

uint32_t pod_incarnation(const char *uid)
{
	uint32_t hash = *uid ? str_hash(uid) : 0;

	return *uid && !hash ? 1 : hash;
}

uint16_t pod_facts_port(const struct pod_facts *f, const char *name)
{
	for (size_t i = 0; i < f->ports_count; i++)
		if (streq(f->port_names + f->ports[i].name, name))
			return f->ports[i].port;
	return 0;
}

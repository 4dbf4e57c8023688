/* SPDX-License-Identifier: Apache-2.0 */
#include "status.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/cleanup.h"
#include "base/str.h"
#include "cluster.h"
#include "control_internal.h"
#include "net/tcp.h"
#include "xds/client_id.h"

static void client_add(void *arg, const struct xds_server_client *client)
{
	bool is_agent = client_id_is_agent(client->node_id);

	(void)json_array_append_new(
		arg, json_pack("{s:s,s:s,s:s,s:s,s:I,s:I,s:s}", "node", client->node_name, "type",
			       is_agent ? "agent" : "ztunnel", "id", client->node_id, "version",
			       client->version, "acked", (json_int_t)client->acked, "nacked",
			       (json_int_t)client->nacked, "error", client->nack_detail));
}

static void kind_add(void *arg, const char *kind, const struct kinds_count *n)
{
	if (n->objects > 0)
		(void)json_object_set_new(arg, kind, json_integer((json_int_t)n->objects));
}

static json_t *ca_status(const struct control *c)
{
	struct ca_service_counts n = ca_service_counts(c->ca_service);
	size_t refused = n.strangers + n.malformed + n.failed;
	time_t t = ca_root_not_after(c->config.ca);
	char text[32] = "";
	struct tm tm;

	if (gmtime_r(&t, &tm))
		(void)strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%SZ", &tm);
	return json_pack("{s:s,s:I,s:I}", "root_not_after", text, "signed", (json_int_t)n.granted,
			 "refused", (json_int_t)refused);
}

json_t *control_status(struct control *c)
{
	json_t *objects = json_object();
	json_t *clients = json_array();

	kinds_for_each(c->kinds, kind_add, objects);
	xds_server_for_each_client(c->xds, client_add, clients);
	return json_pack("{s:s,s:b,s:o,s:{s:I,s:I},s:o,s:o,s:o,s:o*}", "node", c->config.node,
			 "synced", c->is_synced, "objects", objects, "resources", "addresses",
			 (json_int_t)xds_server_count(c->xds, XDS_ADDRESS), "authorizations",
			 (json_int_t)xds_server_count(c->xds, XDS_AUTHORIZATION), "errors",
			 problems_to_json(c->problems), "clients", clients, "ca", ca_status(c),
			 "cluster", c->cluster ? cluster_status(c->cluster) : NULL);
}

static void answer_status(struct http_response *resp, struct control *control)
{
	json_t *json = control_status(control);
	_cleanup_(freep) char *text = json ? json_dumps(json, JSON_INDENT(2)) : NULL;

	json_decref(json);
	if (!text) {
		http_response_text(resp, 500, "out of memory\n");
		return;
	}
	resp->content_type = "application/json";
	http_response_text(resp, 200, text);
	if (buf_append_str(&resp->body, "\n") < 0)
		resp->status = 500;
}

static void on_request(const struct http_request *req, struct http_response *resp, void *arg)
{
	if (!streq(req->method, "GET") && !streq(req->method, "HEAD"))
		http_response_text(resp, 405, "only GET\n");
	else if (streq(req->path, "/status"))
		answer_status(resp, arg);
	else
		http_response_text(resp, 404, "there is only /status\n");
}

static int serve_port(struct loop *loop, uint16_t port, struct control *control,
		      struct http_server **ret)
{
	const struct cv_addr loopback = cv_addr_from_v4(htonl(INADDR_LOOPBACK));
	_cleanup_(close_fdp) int fd = -EBADF;
	int r = tcp_listen(&loopback, port, &fd);

	if (r == 0)
		r = http_server_new(loop, fd, on_request, control, ret);
	if (r == 0)
		(void)TAKE_FD(fd);
	return r;
}

int status_serve(struct loop *loop, int listen_fd, uint16_t port, struct control *control,
		 struct http_server *ret[2])
{
	int r = port > 0 ? serve_port(loop, port, control, &ret[1]) : 0;

	return r < 0 ? r : http_server_new(loop, listen_fd, on_request, control, &ret[0]);
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "source/kube_curl.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "base/str.h"

#define TOKEN_MAX (64 * 1024)
#define SCHEME    "https://"

/* Tokens are replaced on disk while we run: each request reads it anew. */
int kube_curl_token(const struct kube_config *config, char **ret)
{
	_cleanup_(freep) char *token = NULL;
	char *line;
	int r = 0;

	if (config->token_file)
		r = file_read(config->token_file, TOKEN_MAX, &token, NULL);
	else if (config->token)
		token = strdup(config->token);
	*ret = NULL;
	/* without one the server answers 401, which says what is missing */
	if (r < 0 || !token)
		return r == -ENOMEM ? r : 0;
	token[strcspn(token, " \r\n\t")] = '\0';
	line = str_format("Authorization: Bearer %s", token);
	explicit_bzero(token, strlen(token));
	if (!line)
		return -ENOMEM;
	*ret = line;
	return 0;
}

static struct curl_blob blob_of(char *pem)
{
	return (struct curl_blob){.data = pem, .len = strlen(pem), .flags = CURL_BLOB_COPY};
}

void kube_curl_trust(CURL *easy, const struct kube_config *config)
{
	struct curl_blob blob;

	if (config->is_insecure) {
		(void)curl_easy_setopt(easy, CURLOPT_SSL_VERIFYPEER, 0L);
		(void)curl_easy_setopt(easy, CURLOPT_SSL_VERIFYHOST, 0L);
	} else if (config->ca_pem) { /* which client-go takes before a file, too */
		blob = blob_of(config->ca_pem);
		(void)curl_easy_setopt(easy, CURLOPT_CAINFO_BLOB, &blob);
	} else if (config->ca_file) {
		(void)curl_easy_setopt(easy, CURLOPT_CAINFO, config->ca_file);
	}
	if (config->cert_file)
		(void)curl_easy_setopt(easy, CURLOPT_SSLCERT, config->cert_file);
	if (config->key_file)
		(void)curl_easy_setopt(easy, CURLOPT_SSLKEY, config->key_file);
	if (config->cert_pem) {
		blob = blob_of(config->cert_pem);
		(void)curl_easy_setopt(easy, CURLOPT_SSLCERT_BLOB, &blob);
	}
	if (config->key_pem) {
		blob = blob_of(config->key_pem);
		(void)curl_easy_setopt(easy, CURLOPT_SSLKEY_BLOB, &blob);
	}
}

int kube_curl_host(const struct kube_config *config, const char **ret)
{
	const char *host = strstr(config->server, "://");

	*ret = host ? host + strlen("://") : config->server;
	return (int)strcspn(*ret, "/");
}

/* Whoever has a proxy for all has none for this machine: as Go's clients see it. */
static bool is_here(const struct kube_config *config)
{
	static const char name[] = "localhost";
	const char *host;

	(void)kube_curl_host(config, &host);
	if (str_has_prefix(host, name))
		return strchr(":/", host[strlen(name)]) != NULL;
	return str_has_prefix(host, "127.") || str_has_prefix(host, "[::1]");
}

void kube_curl_proxy(CURL *easy, const struct kube_config *config)
{
	if (config->proxy_url) {
		(void)curl_easy_setopt(easy, CURLOPT_PROXY, config->proxy_url);
		(void)curl_easy_setopt(easy, CURLOPT_NOPROXY, "");
	} else if (!config->has_environment || is_here(config)) {
		(void)curl_easy_setopt(easy, CURLOPT_PROXY, "");
	}
}

/* The URL has the name that is to be in the certificate; the connection goes to the server. */
static int route_by_name(CURL *easy, const struct kube_config *config, const char *path,
			 struct curl_slist **ret)
{
	const char *host;
	int n = kube_curl_host(config, &host);
	const char *end = memchr(host, ']', (size_t)n); /* of an IPv6 address */
	const char *port = memchr(end ? end : host, ':', (size_t)(host + n - (end ? end : host)));
	_cleanup_(freep) char *to = str_format("::%.*s%s", n, host, port ? "" : ":443");
	_cleanup_(freep) char *url =
		str_format(SCHEME "%s%.*s%s%s", config->tls_server_name,
			   port ? (int)(host + n - port) : 0, port ? port : "", host + n, path);

	*ret = to ? curl_slist_append(NULL, to) : NULL;
	if (!*ret || !url)
		return -ENOMEM;
	(void)curl_easy_setopt(easy, CURLOPT_CONNECT_TO, *ret);
	(void)curl_easy_setopt(easy, CURLOPT_URL, url);
	return 0;
}

int kube_curl_route(CURL *easy, const struct kube_config *config, const char *path,
		    struct curl_slist **ret)
{
	_cleanup_(freep) char *url = NULL;

	*ret = NULL;
	if (config->tls_server_name && str_has_prefix(config->server, SCHEME))
		return route_by_name(easy, config, path, ret);
	url = str_format("%s%s", config->server, path);
	if (!url)
		return -ENOMEM;
	(void)curl_easy_setopt(easy, CURLOPT_URL, url);
	return 0;
}

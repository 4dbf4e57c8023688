/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* kube_config - how to reach an API server: a pod's service account, or a kubeconfig file. No
 * state. */
#include <stdbool.h>
#include <stddef.h>

#include <jansson.h>

#include "base/cleanup.h"
#include "base/macros.h"

#define KUBE_ACCOUNT_DIR "/var/run/secrets/kubernetes.io/serviceaccount"

/** struct kube_config - NULL: not set. Zero it before use. Files are read again for each
 * connection or request, since tokens and certificates are replaced under us. */
struct kube_config {
	char *server;  /* "https://10.96.0.1:443", without a slash at the end */
	char *ca_file; /* whom to trust; both NULL: the system's */
	char *ca_pem;
	char *token_file; /* bearer token */
	char *token;
	char *cert_file, *key_file; /* client certificate */
	char *cert_pem, *key_pem;
	json_t *act_as;        /* whom requests are made as: the lines of their heads, strings */
	char *tls_server_name; /* name in the server's certificate, when not that of @server */
	bool is_insecure;      /* its certificate is not looked at: a kubeconfig may say so */
	char *proxy_url;       /* as libcurl has it, of a kubeconfig */
	/* without a @proxy_url $HTTPS_PROXY and its like count, as for kubectl: for who types, who
	 * has this set, not for daemons */
	bool has_environment;
	char *namespace_; /* our own, of the service account; of the context */
	char *context;    /* its name, of a kubeconfig */
	json_t *exec; /* a program that gives the credentials, as a kubeconfig has it: whoever may
			 run programs runs it and fills in the rest */
};

void kube_config_clear(struct kube_config *c);

/**
 * kube_config_in_cluster() - from the environment of a pod
 * @dir: KUBE_ACCOUNT_DIR, or another in tests.
 * @err: a sentence on failure.
 * Return: 0; -ENOENT not in a pod; -ENOMEM.
 */
_must_check_ int kube_config_in_cluster(const char *dir, struct kube_config *ret, char *err,
					size_t err_size);

/**
 * kube_config_load() - a context of a kubeconfig, or of several as one
 * @paths:   files with ':' between, as $KUBECONFIG has them: what two of them have is taken from
 * the first. One alone must be there, of several those that are.
 * @context: NULL or "": the current one.
 * @err: a sentence that names file and field, on failure. Not supported, and said so:
 * auth-provider, user names with passwords.
 * Return: 0; -errno of reading it; -EINVAL; -ENOMEM.
 */
_must_check_ int kube_config_load(const char *paths, const char *context, struct kube_config *ret,
				  char *err, size_t err_size);

/**
 * kube_config_act_as() - make requests as somebody else: a line more for their heads
 * @header: "Impersonate-User", "Impersonate-Uid", "Impersonate-Group", "Impersonate-Extra-KEY".
 * Return: 0; -EINVAL @value is no line; -ENOMEM.
 */
_must_check_ int kube_config_act_as(struct kube_config *c, const char *header, const char *value);

/** kube_config_parse() - the same of the text of one file that is called @path. */
#define KUBE_CONFIG_ERROR_MAX 512
_must_check_ int kube_config_parse(const char *path, const char *text, const char *context,
				   struct kube_config *ret, char err[KUBE_CONFIG_ERROR_MAX]);

/* SPDX-License-Identifier: Apache-2.0 */
/* What stands for container images: Debian's own programs, with the file layout that the images are
 * known for. */
#include "lab.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#include "base/str.h"

static int write_text(const char *path, const char *text, mode_t mode)
{
	return file_write_atomic(path, text, strlen(text), mode);
}

/* --- nginx --- */

static const char nginx_conf[] =
	"user www-data;\nworker_processes 1;\npid /run/nginx.pid;\nerror_log "
	"/var/log/nginx/error.log notice;\n"
	"events { worker_connections 1024; }\n"
	"http {\n  include /etc/nginx/mime.types;\n  default_type application/octet-stream;\n"
	"  log_format main '$remote_addr [$time_iso8601] \"$request\" $status $body_bytes_sent "
	"\"$http_user_agent\"';\n"
	"  access_log /var/log/nginx/access.log main;\n  sendfile on;\n  keepalive_timeout 65;\n"
	"  include /etc/nginx/conf.d/*.conf;\n}\n";

static const char nginx_default[] =
	"server {\n  listen 80;\n  listen [::]:80;\n  server_name localhost;\n"
	"  location / { root /usr/share/nginx/html; index index.html index.htm; }\n}\n";

static const char nginx_mime[] =
	"types {\n  text/html html htm;\n  text/plain txt;\n  text/css css;\n"
	"  application/javascript js;\n  application/json json;\n}\n";

static int prepare_nginx(void)
{
	int r;

	r = mkdir_p("/etc/nginx/conf.d", 0755);
	if (r == 0)
		r = mkdir_p("/var/log/nginx", 0755);
	if (r == 0)
		r = mkdir_p("/var/lib/nginx", 0755);
	if (r == 0)
		r = write_text("/etc/nginx/nginx.conf", nginx_conf, 0644);
	if (r == 0)
		r = write_text("/etc/nginx/mime.types", nginx_mime, 0644);
	return r == 0 ? write_text("/etc/nginx/conf.d/default.conf", nginx_default, 0644) : r;
}

/* --- httpd --- */

#define APACHE_MODULES "/usr/lib/apache2/modules/"
#define APACHE_LOAD(m) "LoadModule " m "_module " APACHE_MODULES "mod_" m ".so\n"

static const char httpd_conf[] =
	"ServerRoot /usr/local/apache2\nServerName localhost\nPidFile /run/httpd.pid\nListen "
	"80\n" APACHE_LOAD("mpm_event") APACHE_LOAD("authz_core") APACHE_LOAD("dir") APACHE_LOAD(
		"mime") "User www-data\nGroup www-data\nStartServers 1\nThreadsPerChild "
			"32\nMinSpareThreads 1\nMaxSpareThreads 64\n"
			"MaxRequestWorkers 64\nTypesConfig /usr/local/apache2/conf/mime.types\n"
			"DocumentRoot /usr/local/apache2/htdocs\nDirectoryIndex index.html\n"
			"<Directory />\n  Require all granted\n</Directory>\n"
			"ErrorLog /usr/local/apache2/logs/error_log\n"
			"LogFormat \"%a [%t] \\\"%r\\\" %>s %b \\\"%{User-Agent}i\\\"\" common\n"
			"CustomLog /usr/local/apache2/logs/access_log common\n";

/* The image's own page. */
static const char httpd_page[] = "<html><body><h1>It works!</h1></body></html>\n";
static const char httpd_wrapper[] =
	"#!/bin/sh\nexec /usr/sbin/apache2 -f /usr/local/apache2/conf/httpd.conf \"$@\"\n";
static const char httpd_foreground[] =
	"#!/bin/sh\nrm -f /run/httpd.pid\nexec httpd -DFOREGROUND \"$@\"\n";

static int prepare_httpd(void)
{
	static const char *const dirs[] = {"/usr/local/apache2/conf", "/usr/local/apache2/htdocs",
					   "/usr/local/apache2/logs", "/usr/local/bin"};
	static const struct {
		const char *path, *text;
		mode_t mode;
	} files[] = {
		{"/usr/local/apache2/conf/httpd.conf", httpd_conf, 0644},
		{"/usr/local/apache2/conf/mime.types", "text/html html htm\ntext/plain txt\n",
		 0644},
		{"/usr/local/apache2/htdocs/index.html", httpd_page, 0644},
		{"/usr/local/bin/httpd", httpd_wrapper, 0755},
		{"/usr/local/bin/httpd-foreground", httpd_foreground, 0755},
	};
	int r = 0;

	for (size_t i = 0; i < ARRAY_SIZE(dirs) && r == 0; i++)
		r = mkdir_p(dirs[i], 0755);
	for (size_t i = 0; i < ARRAY_SIZE(files) && r == 0; i++)
		r = write_text(files[i].path, files[i].text, files[i].mode);
	return r;
}

/* --- table --- */

static const char *const nginx_argv[] = {"nginx", "-g", "daemon off;", NULL};
static const char *const httpd_argv[] = {"httpd-foreground", NULL};
static const char *const sleep_argv[] = {"sleep", "infinity", NULL};

static const struct lab_image images[] = {
	{"nginx", nginx_argv, prepare_nginx},
	{"httpd", httpd_argv, prepare_httpd},
	{"pause", sleep_argv, NULL},
};

const struct lab_image *lab_image_find(const char *reference)
{
	static const struct lab_image other = {"", NULL, NULL};
	const char *slash = strrchr(reference, '/'), *base = slash ? slash + 1 : reference;
	size_t n = strcspn(base, ":@");

	for (size_t i = 0; i < ARRAY_SIZE(images); i++)
		if (strlen(images[i].name) == n && strncmp(base, images[i].name, n) == 0)
			return &images[i];
	return &other;
}

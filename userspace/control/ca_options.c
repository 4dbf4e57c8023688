/* SPDX-License-Identifier: Apache-2.0 */
#include "ca_options.h"

#include <errno.h>
#include <stdio.h>

#include "base/str.h"

#define TTL_MAX_MS   (100ULL * 365 * 24 * 3600 * 1000)
#define RSA_BITS_MIN 2048

struct reading {
	char *err;
	size_t err_size;
};

static int ttl_read(const struct reading *x, const char *option, const char *text, int64_t *ret_s)
{
	uint64_t ms;

	if (str_parse_duration(text, TTL_MAX_MS, &ms) == 0 && ms >= 1000) {
		*ret_s = (int64_t)(ms / 1000);
		return 0;
	}
	(void)snprintf(
		x->err, x->err_size,
		"%s: %s: expected a time such as 24h or 1h30m, of a second to a hundred years",
		option, text);
	return -EINVAL;
}

int ca_options_read(const struct ca_options *o, struct ca_settings *ret, struct ca_root *ret_root,
		    char *err, size_t err_size)
{
	const struct reading x = {.err = err, .err_size = err_size};
	struct ca_settings settings = {0};
	int64_t root_s = 0;
	int r = ttl_read(&x, "--root-ttl", o->root_ttl, &root_s);

	if (r == 0)
		r = ttl_read(&x, "--cert-ttl", o->cert_ttl, &settings.ttl_s);
	if (r == 0)
		r = ttl_read(&x, "--max-cert-ttl", o->cert_ttl_max, &settings.ttl_max_s);
	if (r == 0 && o->root_rsa_bits && o->root_rsa_bits < RSA_BITS_MIN) {
		(void)snprintf(err, err_size,
			       "--root-rsa-bits: %u: expected 2048..4096, or 0 for ECDSA P-256",
			       (unsigned int)o->root_rsa_bits);
		r = -EINVAL;
	}
	if (r < 0)
		return r;
	*ret = settings;
	ret_root->ttl_s = root_s;
	ret_root->rsa_bits = (unsigned int)o->root_rsa_bits;
	return 0;
}

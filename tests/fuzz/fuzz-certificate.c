/* SPDX-License-Identifier: Apache-2.0 */
/* fuzz-certificate - revocation lists, certificates of peers, and requests for one. First byte:
 * which. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <openssl/x509.h>

#include "tests/fuzz/fuzz.h"
#include "tls/trust.h"
#include "tls/verify.h"
#include "userspace/control/ca.h"

#define TEXT_MAX_LEN 32768

static struct ca *ca;
static struct tls_trust *trust;

/* One CA for all runs, from a folder that is removed at once. */
int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	char dir[] = "/tmp/culvert-fuzz-ca-XXXXXX", command[64], err[256];
	struct ca_material m = {0};

	if (!mkdtemp(dir) || ca_files_load(dir, "cluster.local", &m, err, sizeof(err)) < 0 ||
	    ca_new(&m, &ca, err, sizeof(err)) < 0 || tls_trust_new(&trust) < 0)
		abort();
	ca_material_clear(&m);
	(void)snprintf(command, sizeof(command), "rm -r %s", dir);
	return system(command) ? -1 : 0; /* NOLINT(cert-env33-c) */
}

static void fuzz_crl(const uint8_t *data, size_t size)
{
	size_t count;

	(void)!tls_trust_load_crl(trust, (const char *)data, size, &count);
}

static void fuzz_peer(const uint8_t *data, size_t size)
{
	char text[SPIFFE_ID_SIZE];
	const uint8_t *p = data;
	struct spiffe_id id;
	X509 *cert = d2i_X509(NULL, &p, (long)size);

	if (cert && tls_certificate_spiffe(cert, text, &id) == 0 && strlen(text) >= sizeof(text))
		abort();
	X509_free(cert);
}

static void fuzz_request(const uint8_t *data, size_t size)
{
	struct ca_chain chain = {0};
	char text[TEXT_MAX_LEN];

	if (size >= sizeof(text))
		return;
	memcpy(text, data, size);
	text[size] = '\0';
	if (ca_sign(ca, text, "spiffe://cluster.local/ns/a/sa/b", 0, &chain) == 0)
		ca_chain_clear(&chain);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static void (*const targets[])(const uint8_t *, size_t) = {fuzz_crl, fuzz_peer,
								   fuzz_request};

	if (size > 0)
		targets[data[0] % ARRAY_SIZE(targets)](data + 1, size - 1);
	return 0;
}

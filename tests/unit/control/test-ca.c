/* SPDX-License-Identifier: Apache-2.0 */
/* ca - the folder is made once and read again, odd folders are refused with a reason, certificates
 * are as they must be. */
#include "userspace/control/ca.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>

#include "base/str.h"
#include "tls/identity.h"
#include "tls/key.h"

#define ID "spiffe://cluster.local/ns/demo/sa/web"

struct fixture {
	char dir[64];
};

static const char *const names[] = {"ca-cert.pem", "ca-key.pem", "root-cert.pem", "cert-chain.pem"};

static char *path_of(const struct fixture *f, const char *name)
{
	return str_format("%s/%s", f->dir, name);
}

static void file_remove(const struct fixture *f, const char *name)
{
	_cleanup_(freep) char *path = path_of(f, name);

	(void)unlink(path);
}

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	assert_non_null(f);
	(void)snprintf(f->dir, sizeof(f->dir), "/tmp/culvert-unit-XXXXXX");
	assert_non_null(mkdtemp(f->dir));
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	for (size_t i = 0; i < ARRAY_SIZE(names); i++)
		file_remove(f, names[i]);
	(void)rmdir(f->dir);
	free(f);
	return 0;
}

static int load(const struct fixture *f, struct ca **ret, char *err)
{
	struct ca_material m = {0};
	int r = ca_files_load(f->dir, "cluster.local", &m, err, 512);

	if (r == 0)
		r = ca_new(&m, ret, err, 512);
	ca_material_clear(&m);
	return r;
}

static char *slurp(const struct fixture *f, const char *name)
{
	_cleanup_(freep) char *path = path_of(f, name);
	char *text = NULL;

	assert_int_equal(file_read(path, 65536, &text, NULL), 0);
	return text;
}

static X509 *cert_of(const char *pem)
{
	BIO *bio = BIO_new_mem_buf(pem, -1);
	X509 *cert = PEM_read_bio_X509(bio, NULL, NULL, NULL);

	BIO_free(bio);
	assert_non_null(cert);
	return cert;
}

static void makes_a_root_once(void **state)
{
	struct fixture *f = *state;
	_cleanup_(ca_freep) struct ca *first = NULL;
	_cleanup_(ca_freep) struct ca *second = NULL;
	_cleanup_(freep) char *before = NULL;
	_cleanup_(freep) char *after = NULL;
	_cleanup_(freep) char *key = path_of(f, "ca-key.pem");
	char err[512] = "";
	struct stat st;

	assert_int_equal(load(f, &first, err), 0);
	before = slurp(f, "root-cert.pem");
	assert_int_equal(load(f, &second, err), 0);
	after = slurp(f, "root-cert.pem");
	assert_string_equal(before, after);
	assert_int_equal(stat(key, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0600);
	assert_true(ca_root_not_after(first) > time(NULL) + 9L * 365 * 86400);
}

static void carries_on_after_a_start_that_was_cut_short(void **state)
{
	struct fixture *f = *state;
	static const char *const left[][3] = {
		{"ca-cert.pem", "cert-chain.pem", "root-cert.pem"},
		{"ca-cert.pem", "cert-chain.pem", NULL},
		{"ca-cert.pem", NULL, NULL},
	};

	for (size_t i = 0; i < ARRAY_SIZE(left); i++) {
		_cleanup_(ca_freep) struct ca *ca = NULL;
		_cleanup_(ca_freep) struct ca *again = NULL;
		_cleanup_(freep) char *key = NULL;
		_cleanup_(freep) char *same = NULL;
		char err[512] = "";

		assert_int_equal(load(f, &ca, err), 0);
		key = slurp(f, "ca-key.pem");
		for (size_t j = 0; j < 3 && left[i][j]; j++)
			file_remove(f, left[i][j]);
		assert_int_equal(load(f, &again, err), 0);
		same = slurp(f, "ca-key.pem");
		assert_string_equal(key, same);
	}
}

static void refuses_an_odd_folder_with_a_reason(void **state)
{
	struct fixture *f = *state;
	_cleanup_(ca_freep) struct ca *ca = NULL;
	_cleanup_(freep) char *key = path_of(f, "ca-key.pem");
	_cleanup_(freep) char *text = NULL;
	char err[512] = "";

	assert_int_equal(load(f, &ca, err), 0);
	ca = ca_free(ca);
	text = slurp(f, "ca-key.pem");
	assert_int_equal(file_write_atomic(key, "garbage", 7, 0600), 0);
	assert_int_equal(load(f, &ca, err), -EBADMSG);
	assert_non_null(strstr(err, "ca-key.pem"));
	file_remove(f, "ca-key.pem");
	assert_int_equal(load(f, &ca, err), -ENOENT);
	/* another key, and a certificate that it does not fit */
	file_remove(f, "ca-cert.pem");
	file_remove(f, "root-cert.pem");
	file_remove(f, "cert-chain.pem");
	assert_int_equal(load(f, &ca, err), 0);
	ca = ca_free(ca);
	assert_int_equal(file_write_atomic(key, text, strlen(text), 0600), 0);
	assert_int_equal(load(f, &ca, err), -EINVAL);
	assert_non_null(strstr(err, "is not the key of"));
	assert_null(ca);
	file_remove(f, "ca-cert.pem");
	assert_int_equal(load(f, &ca, err), -ENOENT);
	assert_non_null(strstr(err, "ca-cert.pem"));
}

static void signs_a_workload(void **state)
{
	struct fixture *f = *state;
	_cleanup_(ca_freep) struct ca *ca = NULL;
	_cleanup_(EVP_PKEY_freep) EVP_PKEY *key = NULL;
	_cleanup_(tls_identity_unrefp) const struct tls_identity *id = NULL;
	_cleanup_(X509_freep) X509 *leaf = NULL;
	_cleanup_(freep) char *csr = NULL;
	struct ca_chain chain = {0};
	char err[512];
	uint32_t usage;
	int critical;
	void *san;

	assert_int_equal(load(f, &ca, err), 0);
	assert_int_equal(tls_key_new(&key), 0);
	/* the name in the request does not count */
	assert_int_equal(tls_csr_new(key, "spiffe://cluster.local/ns/evil/sa/root", &csr), 0);
	assert_int_equal(ca_sign(ca, csr, ID, 0, &chain), 0);
	assert_int_equal(chain.n, 2);
	assert_int_equal(tls_identity_new(ID, key, (const char *const *)chain.pem, chain.n, &id),
			 0);
	assert_int_equal(id->not_after - id->not_before, 86400 + 120);
	leaf = cert_of(chain.pem[0]);
	assert_int_equal(X509_check_ca(leaf), 0);
	usage = X509_get_extended_key_usage(leaf);
	assert_int_equal(usage, XKU_SSL_SERVER | XKU_SSL_CLIENT);
	assert_int_equal(X509_get_key_usage(leaf), KU_DIGITAL_SIGNATURE | KU_KEY_ENCIPHERMENT);
	san = X509_get_ext_d2i(leaf, NID_subject_alt_name, &critical, NULL);
	assert_int_equal(critical, 1);
	GENERAL_NAMES_free(san);
	ca_chain_clear(&chain);
	/* how long is for its caller to bound: MAX_WORKLOAD_CERT_TTL may be more than Istio's */
	assert_int_equal(ca_sign(ca, csr, ID, 200 * 86400, &chain), 0);
	X509_free(TAKE_PTR(leaf));
	leaf = cert_of(chain.pem[0]);
	assert_int_equal(
		X509_cmp_time(X509_get0_notAfter(leaf), &(time_t){time(NULL) + 199 * 86400}), 1);
	ca_chain_clear(&chain);
	/* shorter is granted, longer than the CA's own is not */
	assert_int_equal(ca_sign(ca, csr, ID, 60, &chain), 0);
	X509_free(TAKE_PTR(leaf));
	leaf = cert_of(chain.pem[0]);
	assert_int_equal(X509_cmp_time(X509_get0_notAfter(leaf), &(time_t){time(NULL) + 120}), -1);
	ca_chain_clear(&chain);
}

static void refuses_bad_requests(void **state)
{
	struct fixture *f = *state;
	_cleanup_(ca_freep) struct ca *ca = NULL;
	_cleanup_(EVP_PKEY_freep) EVP_PKEY *key = NULL;
	_cleanup_(EVP_PKEY_freep) EVP_PKEY *weak = EVP_RSA_gen(1024);
	_cleanup_(EVP_PKEY_freep) EVP_PKEY *odd = EVP_EC_gen("secp256k1");
	_cleanup_(freep) char *csr = NULL;
	_cleanup_(freep) char *weak_csr = NULL;
	_cleanup_(freep) char *odd_csr = NULL;
	_cleanup_(freep) char *huge = calloc(1, 20001);
	struct ca_chain chain = {0};
	char err[512], *middle;

	assert_int_equal(load(f, &ca, err), 0);
	assert_int_equal(tls_key_new(&key), 0);
	assert_int_equal(tls_csr_new(key, ID, &csr), 0);
	assert_int_equal(tls_csr_new(weak, ID, &weak_csr), 0);
	assert_int_equal(tls_csr_new(odd, ID, &odd_csr), 0);
	memset(huge, 'A', 20000);
	assert_int_equal(ca_sign(ca, csr, "spiffe://x", 0, &chain), -EINVAL);
	assert_int_equal(ca_sign(ca, csr, ID ",DNS:evil", 0, &chain), -EINVAL);
	assert_int_equal(ca_sign(ca, "", ID, 0, &chain), -EBADMSG);
	assert_int_equal(ca_sign(ca, "garbage", ID, 0, &chain), -EBADMSG);
	assert_int_equal(ca_sign(ca, huge, ID, 0, &chain), -EBADMSG);
	assert_int_equal(ca_sign(ca, weak_csr, ID, 0, &chain), -EBADMSG);
	assert_int_equal(ca_sign(ca, odd_csr, ID, 0, &chain), -EBADMSG);
	/* a broken proof of possession */
	middle = csr + strlen(csr) - 60;
	*middle = *middle == 'A' ? 'B' : 'A';
	assert_int_equal(ca_sign(ca, csr, ID, 0, &chain), -EBADMSG);
	assert_int_equal(chain.n, 0);
}

/* What scripts below have in common: a root, and how what it signs is to be. */
#define SCRIPT                                                                                     \
	"cd %s && exec >/dev/null 2>&1 && "                                                        \
	"openssl req -x509 -newkey rsa:2048 -nodes -keyout root.key -out root-cert.pem "           \
	"-days 9 -subj /CN=r "                                                                     \
	"-addext basicConstraints=critical,CA:TRUE && "                                            \
	"openssl req -newkey rsa:2048 -nodes -keyout ca-key.pem -out i.csr -subj /CN=i && "        \
	"printf 'basicConstraints=critical,CA:TRUE\\nkeyUsage=keyCertSign\\n' > x && "             \
	"openssl x509 -req -in i.csr -CA root-cert.pem -CAkey root.key -CAcreateserial "           \
	"-days 8 "                                                                                 \
	"-extfile x -out ca-cert.pem && "
#define CLEAR " && rm -f root.key i.csr x *.srl"

/* With the folder that @script makes. */
static void script_run(const struct fixture *f, const char *script)
{
	_cleanup_(freep) char *command = str_format(SCRIPT "%s" CLEAR, f->dir, script);

	assert_int_equal(system(command), 0); /* NOLINT(cert-env33-c): a fixed script, in a test */
}

/* Whom a node would accept. */
static void signs_for_nodes(const struct fixture *f, size_t chain_strings)
{
	_cleanup_(ca_freep) struct ca *ca = NULL;
	_cleanup_(EVP_PKEY_freep) EVP_PKEY *key = NULL;
	_cleanup_(tls_identity_unrefp) const struct tls_identity *id = NULL;
	_cleanup_(freep) char *csr = NULL;
	struct ca_chain chain = {0};
	char err[512] = "";

	if (load(f, &ca, err) < 0)
		fail_msg("%s", err);
	assert_int_equal(tls_key_new(&key), 0);
	assert_int_equal(tls_csr_new(key, ID, &csr), 0);
	assert_int_equal(ca_sign(ca, csr, ID, 0, &chain), 0);
	assert_int_equal(chain.n, chain_strings);
	assert_int_equal(tls_identity_new(ID, key, (const char *const *)chain.pem, chain.n, &id),
			 0);
	ca_chain_clear(&chain);
}

/* Istio's `cacerts`: an intermediate signs, the chain file ends with the root, RSA keys. */
static void hands_out_the_intermediate_of_cacerts(void **state)
{
	struct fixture *f = *state;

	script_run(f, "cat ca-cert.pem root-cert.pem > cert-chain.pem");
	signs_for_nodes(f, 3);
}

/* A company's own root is not handed out: what it has signed is what all are to trust. */
static void a_root_of_cacerts_may_be_an_intermediate(void **state)
{
	struct fixture *f = *state;

	/* the signer itself */
	script_run(f, "cp ca-cert.pem root-cert.pem && cp ca-cert.pem cert-chain.pem");
	signs_for_nodes(f, 3);
	/* one above it */
	script_run(f, "openssl req -newkey rsa:2048 -nodes -keyout j.key -out j.csr -subj /CN=j && "
		      "openssl x509 -req -in j.csr -CA ca-cert.pem -CAkey ca-key.pem -days 7 "
		      "-CAcreateserial -extfile x -out j.pem && mv ca-cert.pem root-cert.pem && "
		      "mv j.pem ca-cert.pem && mv j.key ca-key.pem && rm j.csr && "
		      "cat ca-cert.pem root-cert.pem > cert-chain.pem");
	signs_for_nodes(f, 4);
}

/* The chain holds, and peers would refuse each leaf below it. */
static void refuses_a_signer_whose_certificates_nobody_takes(void **state)
{
#define ROOT(bits, more)                                                                           \
	"openssl req -x509 -newkey rsa:" bits " -nodes -keyout root.key -out root-cert.pem "       \
	"-days 9 -subj /CN=r " more " && "
#define CA_TRUE(more) "-addext basicConstraints=critical,CA:TRUE" more
#define SIGN(more)                                                                                 \
	"openssl x509 -req -in i.csr -CA root-cert.pem -CAkey root.key -days 8 "                   \
	"-CAcreateserial -extfile x -out ca-cert.pem " more " && cp ca-cert.pem cert-chain.pem"
	static const struct {
		const char *script, *message;
	} table[] = {
		/* nothing below what the root signs */
		{ROOT("2048", CA_TRUE(",pathlen:0")) SIGN(""), "path length"},
		{"echo extendedKeyUsage=codeSigning >> x && " SIGN(""), "purpose"},
		{"echo extendedKeyUsage=clientAuth >> x && " SIGN(""), "purpose"},
		{SIGN("-sha1"), "digest"},
		{ROOT("1024", CA_TRUE("")) SIGN(""), "key too"},
	};
	struct fixture *f = *state;
	_cleanup_(ca_freep) struct ca *ca = NULL;
	char err[512];

	for (size_t i = 0; i < ARRAY_SIZE(table); i++) {
		script_run(f, table[i].script);
		assert_int_equal(load(f, &ca, err), -EINVAL);
		if (!strstr(err, "nobody would accept") || !strstr(err, table[i].message))
			fail_msg("%zu: %s", i, err);
	}
	/* names may be limited: to which, is not known here */
	script_run(f, "echo 'nameConstraints=critical,permitted;URI:.corp.example' >> x && "
		      "echo extendedKeyUsage=serverAuth,clientAuth >> x && " SIGN(""));
	assert_int_equal(load(f, &ca, err), 0);
#undef ROOT
#undef CA_TRUE
#undef SIGN
}

static void add(X509 *cert, int nid, const char *value)
{
	assert_int_equal(ca_extension_add(cert, cert, nid, value), 0);
}

/* Not as we make them: of another name, of RSA, with an identifier of its key that is no hash that
 * we know, and of ten days that are left. */
static X509 *root_of_istiod(EVP_PKEY *key)
{
	X509 *cert = X509_new();
	X509_NAME *name = X509_get_subject_name(cert);

	assert_int_equal(X509_set_version(cert, X509_VERSION_3), 1);
	assert_int_equal(ASN1_INTEGER_set(X509_get_serialNumber(cert), 7), 1);
	assert_non_null(X509_gmtime_adj(X509_getm_notBefore(cert), -90L * 86400));
	assert_non_null(X509_gmtime_adj(X509_getm_notAfter(cert), 10L * 86400));
	assert_int_equal(X509_NAME_add_entry_by_txt(name, "O", MBSTRING_UTF8,
						    (const unsigned char *)"cluster.local", -1, -1,
						    0),
			 1);
	assert_int_equal(X509_set_issuer_name(cert, name), 1);
	assert_int_equal(X509_set_pubkey(cert, key), 1);
	add(cert, NID_basic_constraints, "critical,CA:TRUE");
	add(cert, NID_key_usage, "critical,keyCertSign");
	add(cert, NID_subject_key_identifier, "010203");
	assert_true(X509_sign(cert, key, EVP_sha256()) > 0);
	return cert;
}

/* Who took over Istio's Secret, or has changed the trust domain since, has such a root. */
static void renews_a_root_that_it_did_not_make(void **state)
{
	static const struct ca_root wanted = {.trust_domain = "elsewhere.example"};
	_cleanup_(EVP_PKEY_freep) EVP_PKEY *root_key = EVP_RSA_gen(2048), *key = NULL;
	_cleanup_(ca_freep) struct ca *ca = NULL;
	_cleanup_(tls_identity_unrefp) const struct tls_identity *id = NULL;
	_cleanup_(freep) char *pem = NULL, *old = NULL, *csr = NULL;
	struct ca_material m = {.key = root_key, .cert = root_of_istiod(root_key)};
	struct ca_chain chain = {0};
	char err[512] = "";

	assert_int_equal(EVP_PKEY_up_ref(root_key), 1);
	m.chain = sk_X509_new_null();
	m.roots = sk_X509_new_null();
	assert_int_equal(X509_up_ref(m.cert), 1);
	assert_int_equal(sk_X509_push(m.roots, m.cert), 1);
	assert_int_equal(ca_new(&m, &ca, err, sizeof(err)), 0);
	assert_int_equal(ca_roots_pem(ca, &old), 0);
	assert_int_equal(ca_root_renew(ca_material_of(ca), &wanted, &pem), 0);
	ca = ca_free(ca);
	assert_int_equal(EVP_PKEY_up_ref(root_key), 1);
	m = (struct ca_material){.key = root_key,
				 .cert = cert_of(pem),
				 .chain = sk_X509_new_null(),
				 .roots = sk_X509_new_null()};
	assert_int_equal(sk_X509_push(m.roots, cert_of(pem)), 1);
	assert_int_equal(ca_new(&m, &ca, err, sizeof(err)), 0);
	assert_true(ca_not_after(ca) > time(NULL) + 9L * 365 * 86400);
	/* who has the old one alone takes what the new one signs */
	assert_int_equal(tls_key_new(&key), 0);
	assert_int_equal(tls_csr_new(key, ID, &csr), 0);
	assert_int_equal(ca_sign(ca, csr, ID, 0, &chain), 0);
	assert_int_equal(
		tls_identity_new(ID, key, (const char *const[]){chain.pem[0], old}, 2, &id), 0);
	ca_chain_clear(&chain);
}

int main(void)
{
#define TEST(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(makes_a_root_once),
		TEST(carries_on_after_a_start_that_was_cut_short),
		TEST(refuses_an_odd_folder_with_a_reason),
		TEST(signs_a_workload),
		TEST(refuses_bad_requests),
		TEST(hands_out_the_intermediate_of_cacerts),
		TEST(a_root_of_cacerts_may_be_an_intermediate),
		TEST(refuses_a_signer_whose_certificates_nobody_takes),
		cmocka_unit_test(renews_a_root_that_it_did_not_make),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

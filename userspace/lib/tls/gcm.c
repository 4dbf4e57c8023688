/* SPDX-License-Identifier: Apache-2.0 */
#include "tls/gcm.h"

#include <dlfcn.h>
#include <errno.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/provider.h>
#include <stdbool.h>

#include "base/cleanup.h"
#include "base/macros.h"
#include "tls/gcm_internal.h"

#define LIBRARY "libIPSec_MB.so.1"
#define QUERY   "?provider=" GCM_PROVIDER

DEFINE_CLEANUP(EVP_CIPHER *, EVP_CIPHER_free);

static const char *query;
static OSSL_PROVIDER *provider;

struct kind {
	const char *init; /* of the library */
	uint64_t features;
};

static const struct kind wide = {"init_mb_mgr_avx512", IMB_CPUFLAGS_AVX512_T2};
static const struct kind usual = {"init_mb_mgr_avx2",
				  IMB_FEATURE_AVX2 | IMB_FEATURE_AESNI | IMB_FEATURE_PCLMULQDQ};

/* kind_of_processor() - asked before the library is so much as mapped; the library knows the rest.
 * Return: NULL, none that is of use. */
static const struct kind *kind_of_processor(void)
{
	__builtin_cpu_init();
	if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("vpclmulqdq"))
		return &wide;
	return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("pclmul") ? &usual : NULL;
}

/* engines_take() - the functions that this processor gets, once the library has tried them with its
 * own vectors. They need nothing of the manager, most of which is for other ciphers. */
static int engines_take(const IMB_MGR *m, const struct kind *kind)
{
	if ((m->features & kind->features) != kind->features)
		return -EOPNOTSUPP;
	if (m->imb_errno != 0 || !(m->features & IMB_FEATURE_SELF_TEST_PASS))
		return -EIO;
	gcm_engine_128.expand = m->gcm128_pre;
	gcm_engine_128.init = m->gcm128_init;
	gcm_engine_128.encrypt = m->gcm128_enc_update;
	gcm_engine_128.decrypt = m->gcm128_dec_update;
	gcm_engine_128.encrypt_end = m->gcm128_enc_finalize;
	gcm_engine_128.decrypt_end = m->gcm128_dec_finalize;
	gcm_engine_128.encrypt_whole = m->gcm128_enc;
	gcm_engine_128.decrypt_whole = m->gcm128_dec;
	gcm_engine_256.expand = m->gcm256_pre;
	gcm_engine_256.init = m->gcm256_init;
	gcm_engine_256.encrypt = m->gcm256_enc_update;
	gcm_engine_256.decrypt = m->gcm256_dec_update;
	gcm_engine_256.encrypt_end = m->gcm256_enc_finalize;
	gcm_engine_256.decrypt_end = m->gcm256_dec_finalize;
	gcm_engine_256.encrypt_whole = m->gcm256_enc;
	gcm_engine_256.decrypt_whole = m->gcm256_dec;
	return 0;
}

/* engines_load() - the library stays mapped for good when it is of any use. */
static int engines_load(const struct kind *kind)
{
	void *library = dlopen(LIBRARY, RTLD_NOW | RTLD_LOCAL);
	__typeof__(&imb_get_version) version;
	__typeof__(&alloc_mb_mgr) manager_new;
	__typeof__(&init_mb_mgr_avx512) manager_init;
	__typeof__(&free_mb_mgr) manager_free;
	IMB_MGR *m;
	int r = -EIO;

	if (!library)
		return -ENOENT;
	version = (__typeof__(version))dlsym(library, "imb_get_version");
	manager_new = (__typeof__(manager_new))dlsym(library, "alloc_mb_mgr");
	manager_init = (__typeof__(manager_init))dlsym(library, kind->init);
	manager_free = (__typeof__(manager_free))dlsym(library, "free_mb_mgr");
	/* The structures are those of the header that we were built with, or none of ours. */
	m = version && manager_new && manager_init && manager_free && version() == IMB_VERSION_NUM
		    ? manager_new(0)
		    : NULL;
	if (m) {
		manager_init(m);
		r = engines_take(m, kind);
		manager_free(m);
	}
	if (r < 0)
		(void)dlclose(library);
	return r;
}

/* is_ours() - does this query, or none, lead to the provider's ciphers? */
static bool is_ours(const char *with)
{
	_cleanup_(EVP_CIPHER_freep) EVP_CIPHER *c128 = EVP_CIPHER_fetch(NULL, "AES-128-GCM", with);
	_cleanup_(EVP_CIPHER_freep) EVP_CIPHER *c256 = EVP_CIPHER_fetch(NULL, "AES-256-GCM", with);

	return c128 && c256 && EVP_CIPHER_get0_provider(c128) == provider &&
	       EVP_CIPHER_get0_provider(c256) == provider;
}

/* provider_load() - beside what OpenSSL has loaded or would load by itself, and found by nobody who
 * does not ask for it: it cannot do TLS 1.2. */
static int provider_load(void)
{
	if (EVP_set_default_properties(NULL, "provider!=" GCM_PROVIDER) != 1 ||
	    OSSL_PROVIDER_add_builtin(NULL, GCM_PROVIDER, gcm_provider_init) != 1)
		return -EIO;
	provider = OSSL_PROVIDER_try_load(NULL, GCM_PROVIDER, 1);
	return provider && is_ours(QUERY) && !is_ours(NULL) ? 0 : -EIO;
}

/* has_other_default() - whoever runs us has told OpenSSL to prefer another provider's: what is
 * preferred cannot be asked for, so what it leads to is. */
static bool has_other_default(void)
{
	_cleanup_(EVP_CIPHER_freep) EVP_CIPHER *c = EVP_CIPHER_fetch(NULL, "AES-128-GCM", NULL);

	return !c || !streq(OSSL_PROVIDER_get0_name(EVP_CIPHER_get0_provider(c)), "default");
}

static const char *text_of(int r)
{
	switch (r) {
	case 0:
		return LIBRARY;
	case -EOPNOTSUPP:
		return "this processor has no AVX2";
	case -EPERM:
		return "OpenSSL is to keep to FIPS 140, or to another provider";
	case -ENOENT:
		return "there is no " LIBRARY;
	default:
		return LIBRARY " is another version, fails its test, or OpenSSL refuses it";
	}
}

int tls_gcm_load(const char **ret_why)
{
	const struct kind *kind = kind_of_processor();
	int r = 0;

	if (!kind)
		r = -EOPNOTSUPP;
	else if (EVP_default_properties_is_fips_enabled(NULL) || has_other_default())
		r = -EPERM;
	if (r == 0)
		r = engines_load(kind);
	if (r == -EOPNOTSUPP && kind == &wide)
		r = engines_load(&usual);
	if (r == 0)
		r = provider_load();
	ERR_clear_error();
	if (r == 0)
		query = QUERY;
	*ret_why = text_of(r);
	return r;
}

const char *tls_gcm_query(void)
{
	return query;
}

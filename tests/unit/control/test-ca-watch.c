/* SPDX-License-Identifier: Apache-2.0 */
/* ca_watch - roots and signers that are replaced while it runs, in any order, and what is half. */
#include "userspace/control/ca_watch.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/log.h"
#include "base/str.h"

#define TURNS 500

struct fixture {
	struct loop *loop;
	struct ca *ca, *old;
	struct ca_watch *watch;
	char dir[64], other[64];
	int changes;
};

static const char *const names[] = {"ca-cert.pem", "ca-key.pem", "root-cert.pem", "cert-chain.pem"};

static void on_change(void *arg, struct ca *ca)
{
	struct fixture *f = arg;

	(void)ca_free(f->old);
	f->old = f->ca;
	f->ca = ca;
	f->changes++;
}

static struct ca *ca_in(const char *dir)
{
	struct ca_material m = {0};
	struct ca *ca = NULL;
	char err[512];

	assert_int_equal(ca_files_load(dir, "cluster.local", &m, err, sizeof(err)), 0);
	assert_int_equal(ca_new(&m, &ca, err, sizeof(err)), 0);
	return ca;
}

/* Two folders, each with a root of its own. */
static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));
	struct ca_watch_config config = {.on_change = on_change, .arg = f};

	assert_non_null(f);
	log_set_level(LOG_ERROR);
	(void)snprintf(f->dir, sizeof(f->dir), "/tmp/culvert-unit-XXXXXX");
	(void)snprintf(f->other, sizeof(f->other), "/tmp/culvert-unit-XXXXXX");
	assert_non_null(mkdtemp(f->dir));
	assert_non_null(mkdtemp(f->other));
	assert_int_equal(loop_new(&f->loop), 0);
	f->ca = ca_in(f->dir);
	f->old = ca_in(f->other);
	config.loop = f->loop;
	config.dir = f->dir;
	config.ca = f->ca;
	assert_int_equal(ca_watch_new(&config, &f->watch), 0);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	(void)ca_watch_free(f->watch);
	(void)ca_free(f->ca);
	(void)ca_free(f->old);
	(void)loop_free(f->loop);
	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		_cleanup_(freep) char *a = str_format("%s/%s", f->dir, names[i]);
		_cleanup_(freep) char *b = str_format("%s/%s", f->other, names[i]);

		(void)unlink(a);
		(void)unlink(b);
	}
	(void)rmdir(f->dir);
	(void)rmdir(f->other);
	free(f);
	return 0;
}

static char *slurp(const char *dir, const char *name)
{
	_cleanup_(freep) char *path = str_format("%s/%s", dir, name);
	char *text = NULL;

	assert_int_equal(file_read(path, 65536, &text, NULL), 0);
	return text;
}

static void put(const struct fixture *f, const char *name, const char *text)
{
	_cleanup_(freep) char *path = str_format("%s/%s", f->dir, name);

	assert_int_equal(file_write_atomic(path, text, strlen(text), 0600), 0);
}

static void take_over(const struct fixture *f, const char *name)
{
	_cleanup_(freep) char *text = slurp(f->other, name);

	put(f, name, text);
}

static void turn(struct fixture *f, int want)
{
	for (int i = 0; i < TURNS && f->changes < want; i++)
		(void)loop_run_once(f->loop, 10);
	assert_int_equal(f->changes, want);
}

static void idle(struct fixture *f)
{
	for (int i = 0; i < 10; i++)
		(void)loop_run_once(f->loop, 10);
}

static void bundle(const struct fixture *f)
{
	_cleanup_(freep) char *ours = slurp(f->dir, "root-cert.pem");
	_cleanup_(freep) char *theirs = slurp(f->other, "root-cert.pem");
	_cleanup_(freep) char *both = str_format("%s%s", ours, theirs);

	put(f, "root-cert.pem", both);
}

static void a_root_then_a_signer_then_the_old_root(void **state)
{
	struct fixture *f = *state;

	bundle(f);
	turn(f, 1);
	assert_true(ca_is_trusted_by(f->ca, f->old));
	/* one file at a time: nothing half is taken */
	take_over(f, "ca-key.pem");
	idle(f);
	assert_int_equal(f->changes, 1);
	take_over(f, "ca-cert.pem");
	turn(f, 2);
	assert_true(ca_is_trusted_by(f->ca, f->old));
	take_over(f, "cert-chain.pem");
	take_over(f, "root-cert.pem");
	turn(f, 3);
	assert_true(ca_is_trusted_by(f->ca, f->old));
}

static void what_is_the_same_is_no_change(void **state)
{
	struct fixture *f = *state;
	_cleanup_(freep) char *root = slurp(f->dir, "root-cert.pem");
	_cleanup_(freep) char *other = str_format("%s/unrelated", f->dir);

	put(f, "root-cert.pem", root);
	put(f, "unrelated", "x");
	idle(f);
	assert_int_equal(f->changes, 0);
	assert_int_equal(unlink(other), 0);
}

static void what_is_broken_changes_nothing_until_it_is_mended(void **state)
{
	struct fixture *f = *state;
	_cleanup_(freep) char *root = slurp(f->dir, "root-cert.pem");

	put(f, "root-cert.pem", "-----BEGIN CERTIFICATE-----\nno\n-----END CERTIFICATE-----\n");
	idle(f);
	assert_int_equal(f->changes, 0);
	/* a root that the signer does not chain to */
	take_over(f, "root-cert.pem");
	idle(f);
	assert_int_equal(f->changes, 0);
	put(f, "root-cert.pem", root);
	bundle(f);
	turn(f, 1);
}

static void the_key_is_needed_for_another_signer_only(void **state)
{
	struct fixture *f = *state;

	put(f, "ca-key.pem", "unreadable");
	bundle(f);
	turn(f, 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(a_root_then_a_signer_then_the_old_root, setup,
						teardown),
		cmocka_unit_test_setup_teardown(what_is_the_same_is_no_change, setup, teardown),
		cmocka_unit_test_setup_teardown(what_is_broken_changes_nothing_until_it_is_mended,
						setup, teardown),
		cmocka_unit_test_setup_teardown(the_key_is_needed_for_another_signer_only, setup,
						teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* folder - what editors, kubectl and ConfigMap mounts do to files is seen, and nothing else. */
#include <errno.h>
#include <limits.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/buf.h"
#include "base/str.h"
#include "tests/unit/source/heard.h"

#define POD(name) "apiVersion: v1\nkind: Pod\nmetadata: {name: " name "}\n"

struct fixture {
	char dir[32];
	struct loop *loop;
	struct source *source;
	struct heard heard;
};

static const char *at(const struct fixture *f, const char *name)
{
	static char path[4][PATH_MAX];
	static int i;

	i = (i + 1) % 4;
	(void)snprintf(path[i], sizeof(path[i]), "%s/%s", f->dir, name);
	return path[i];
}

static void write_file(const struct fixture *f, const char *name, const char *text)
{
	_cleanup_(fclosep) FILE *file = fopen(at(f, name), "w");

	assert_non_null(file);
	assert_true(fputs(text, file) >= 0);
}

static void start(struct fixture *f)
{
	assert_int_equal(source_folder_new(f->loop, f->dir, &heard_ops, &f->heard, &f->source), 0);
	assert_string_equal(f->heard.text, "");
}

/* Turn the loop until the source has told its next consistent point; then what it told. */
static const char *told(struct fixture *f)
{
	unsigned int before = f->heard.synced;

	f->heard.text[0] = '\0';
	for (int i = 0; i < 500 && f->heard.synced == before; i++)
		(void)loop_run_once(f->loop, 20);
	if (f->heard.synced == before)
		fail_msg("nothing was told");
	/* one more turn: several events may stand in the queue */
	(void)loop_run_once(f->loop, 20);
	return f->heard.text;
}

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	*state = f;
	(void)snprintf(f->dir, sizeof(f->dir), "%s", "/tmp/culvert-f-XXXXXX");
	if (!mkdtemp(f->dir))
		return -1;
	return loop_new(&f->loop);
}

static int teardown(void **state)
{
	struct fixture *f = *state;
	char command[160];

	(void)source_free(f->source);
	(void)loop_free(f->loop);
	(void)snprintf(command, sizeof(command), "rm -rf %s %s.away", f->dir, f->dir);
	free(f);
	return system(command);
}

static void reads_what_is_there_in_path_order(void **state)
{
	struct fixture *f = *state;

	write_file(f, "b.yml", POD("b"));
	write_file(f, "a.yaml", POD("a"));
	write_file(f, "c.json",
		   "{\"apiVersion\": \"v1\", \"kind\": \"Pod\", \"metadata\": {\"name\": \"c\"}}");
	write_file(f, "notes.txt", "not: [read");
	write_file(f, ".hidden.yaml", "not: [read");
	assert_int_equal(mkdir(at(f, "sub"), 0755), 0);
	write_file(f, "sub/d.yaml", POD("d"));
	assert_int_equal(mkdir(at(f, "sub/deeper"), 0755), 0);
	write_file(f, "sub/deeper/e.yaml", POD("e"));
	start(f);
	(void)told(f);
	assert_non_null(strstr(f->heard.text, "put Pod default/a\n"));
	assert_non_null(strstr(f->heard.text, "put Pod default/b\n"));
	assert_non_null(strstr(f->heard.text, "put Pod default/c\n"));
	assert_non_null(strstr(f->heard.text, "put Pod default/d\n"));
	assert_non_null(strstr(f->heard.text, "put Pod default/e\n"));
	assert_null(strstr(f->heard.text, "error"));
}

static void an_empty_folder_is_synced_too(void **state)
{
	struct fixture *f = *state;

	start(f);
	assert_string_equal(told(f), "");
}

static void sees_writes_renames_and_removals(void **state)
{
	struct fixture *f = *state;

	start(f);
	(void)told(f);
	write_file(f, "a.yaml", POD("a"));
	assert_string_equal(told(f), "put Pod default/a\n");
	/* as editors save: a new file renamed over the old */
	write_file(f, ".a.yaml.swp", POD("b"));
	assert_int_equal(rename(at(f, ".a.yaml.swp"), at(f, "a.yaml")), 0);
	assert_string_equal(told(f), "delete Pod default/a\nput Pod default/b\n");
	assert_int_equal(rename(at(f, "a.yaml"), at(f, "z.yaml")), 0);
	assert_string_equal(told(f), "put Pod default/b\n");
	assert_int_equal(unlink(at(f, "z.yaml")), 0);
	assert_string_equal(told(f), "delete Pod default/b\n");
}

#define MANY_FILES 20
#define MANY_PODS  500 /* of each */

/* Many files appear in one moment: whoever shares the loop has his turn in between, and is told of
 * all of them at once. */
static void many_files_are_read_in_slices(void **state)
{
	struct fixture *f = *state;
	_cleanup_(buf_resetp) struct buf text = {0};
	char hidden[32], name[32];
	unsigned int before;
	int n_turns = 0;

	for (int i = 0; i < MANY_PODS; i++)
		assert_int_equal(buf_append_str(&text, POD("a") "---\n"), 0);
	assert_int_equal(buf_append(&text, "", 1), 0);
	for (int i = 0; i < MANY_FILES; i++) {
		(void)snprintf(hidden, sizeof(hidden), ".%d", i);
		write_file(f, hidden, (const char *)buf_head(&text));
	}
	start(f);
	(void)told(f);
	before = f->heard.synced;
	for (int i = 0; i < MANY_FILES; i++) {
		(void)snprintf(hidden, sizeof(hidden), ".%d", i);
		(void)snprintf(name, sizeof(name), "%d.yaml", i);
		assert_int_equal(rename(at(f, hidden), at(f, name)), 0);
	}
	f->heard.text[0] = '\0';
	for (; n_turns < 10000 && f->heard.synced == before; n_turns++) {
		assert_true(loop_run_once(f->loop, 20) >= 0);
		assert_true(f->heard.synced > before || f->heard.text[0] == '\0');
	}
	assert_int_equal(f->heard.synced, before + 1);
	assert_true(n_turns >= 3);
	assert_non_null(strstr(f->heard.text, "put Pod default/a"));
}

static void a_file_that_is_being_written_is_left_alone(void **state)
{
	struct fixture *f = *state;
	FILE *file;

	start(f);
	(void)told(f);
	file = fopen(at(f, "a.yaml"), "w");
	assert_non_null(file);
	assert_true(fputs("apiVersion: v1\nkind: [", file) >= 0);
	assert_int_equal(fflush(file), 0);
	for (int i = 0; i < 3; i++)
		(void)loop_run_once(f->loop, 20);
	assert_null(strstr(f->heard.text, "error"));
	assert_int_equal(fseek(file, 0, SEEK_SET), 0);
	assert_true(fputs(POD("a"), file) >= 0);
	assert_int_equal(fclose(file), 0);
	(void)told(f);
	assert_non_null(strstr(f->heard.text, "put Pod default/a\n"));
}

static void follows_new_and_vanishing_sub_folders(void **state)
{
	struct fixture *f = *state;

	start(f);
	(void)told(f);
	assert_int_equal(mkdir(at(f, "sub"), 0755), 0);
	write_file(f, "sub/a.yaml", POD("a"));
	(void)told(f);
	assert_non_null(strstr(f->heard.text, "put Pod default/a\n"));
	write_file(f, "sub/b.yaml", POD("b"));
	assert_string_equal(told(f), "put Pod default/b\n");
	assert_int_equal(rename(at(f, "sub"), at(f, ".sub")), 0);
	(void)told(f);
	assert_non_null(strstr(f->heard.text, "delete Pod default/a\n"));
	assert_non_null(strstr(f->heard.text, "delete Pod default/b\n"));
}

static void follows_folders_in_folders_and_reads_none_twice(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(mkdir(at(f, "b"), 0755), 0);
	assert_int_equal(mkdir(at(f, "b/b"), 0755), 0);
	write_file(f, "b/b/a.yaml", POD("a"));
	assert_int_equal(symlink("..", at(f, "b/loop")), 0);
	assert_int_equal(symlink("b", at(f, "c")), 0);
	start(f);
	assert_string_equal(told(f), "put Pod default/a\n");
	write_file(f, "b/b/b.yaml", POD("b"));
	assert_string_equal(told(f), "put Pod default/b\n");
	assert_int_equal(rename(at(f, "b/b"), at(f, "b/.b")), 0);
	(void)told(f);
	assert_non_null(strstr(f->heard.text, "delete Pod default/a\n"));
	assert_non_null(strstr(f->heard.text, "delete Pod default/b\n"));
}

static void what_is_too_deep_is_told_as_long_as_it_is_there(void **state)
{
	struct fixture *f = *state;
	char path[64] = "d";

	for (int depth = 1; depth <= 11; depth++) {
		assert_int_equal(mkdir(at(f, path), 0755), 0);
		(void)strcat(path, "/d");
	}
	write_file(f, "d/d/d/d/d/d/d/d/d/d/a.yaml", POD("a"));
	write_file(f, "d/d/d/d/d/d/d/d/d/d/d/b.yaml", POD("b"));
	start(f);
	(void)told(f);
	assert_non_null(strstr(f->heard.text, "put Pod default/a\n"));
	assert_null(strstr(f->heard.text, "default/b"));
	assert_non_null(strstr(f->heard.text, "more than 10 folders deep: not read"));
	assert_int_equal(rename(at(f, "d/d/d/d/d/d/d/d/d/d/d"), at(f, "e")), 0);
	(void)told(f);
	assert_non_null(strstr(f->heard.text, "put Pod default/b\n"));
	assert_non_null(strstr(f->heard.text, "cleared"));
}

/* Not even those that were read, when one more comes. */
static void more_folders_than_are_read_take_nothing_away(void **state)
{
	struct fixture *f = *state;
	char path[64];

	for (int i = 0; i < 1000; i++) {
		(void)snprintf(path, sizeof(path), "s%04d", i);
		assert_int_equal(mkdir(at(f, path), 0755), 0);
	}
	write_file(f, "s0999/a.yaml", POD("a"));
	start(f);
	assert_string_equal(told(f), "put Pod default/a\n");
	for (int i = 0; i < 3; i++) {
		(void)snprintf(path, sizeof(path), "%c", "zab"[i]);
		assert_int_equal(mkdir(at(f, path), 0755), 0);
		(void)told(f);
		assert_null(strstr(f->heard.text, "delete"));
		assert_non_null(strstr(f->heard.text, "more than 1000 folders"));
	}
	write_file(f, "s0001/b.yaml", POD("b"));
	assert_string_equal(told(f), "put Pod default/b\n");
}

static void follows_links_as_config_map_mounts_make_them(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(mkdir(at(f, "..1"), 0755), 0);
	assert_int_equal(mkdir(at(f, "..2"), 0755), 0);
	write_file(f, "..1/a.yaml", POD("one"));
	write_file(f, "..2/a.yaml", POD("two"));
	assert_int_equal(symlink("..1", at(f, "..data")), 0);
	assert_int_equal(symlink("..data/a.yaml", at(f, "a.yaml")), 0);
	start(f);
	assert_string_equal(told(f), "put Pod default/one\n");
	assert_int_equal(symlink("..2", at(f, "..data_tmp")), 0);
	assert_int_equal(rename(at(f, "..data_tmp"), at(f, "..data")), 0);
	(void)told(f);
	assert_non_null(strstr(f->heard.text, "put Pod default/two\n"));
}

static void a_new_link_is_read_at_once(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(mkdir(at(f, ".store"), 0755), 0);
	write_file(f, ".store/a", POD("a"));
	start(f);
	(void)told(f);
	assert_int_equal(symlink(".store/a", at(f, "a.yaml")), 0);
	assert_string_equal(told(f), "put Pod default/a\n");
}

static void a_broken_file_leaves_the_others_alone(void **state)
{
	struct fixture *f = *state;

	write_file(f, "a.yaml", POD("a"));
	write_file(f, "b.yaml", "kind: [\n");
	start(f);
	(void)told(f);
	assert_non_null(strstr(f->heard.text, "put Pod default/a\n"));
	assert_non_null(strstr(f->heard.text, "/b.yaml:2: not YAML"));
	write_file(f, "b.yaml", POD("b"));
	(void)told(f);
	assert_non_null(strstr(f->heard.text, "cleared "));
	assert_non_null(strstr(f->heard.text, "put Pod default/b\n"));
}

static void a_file_that_is_too_big_is_refused(void **state)
{
	struct fixture *f = *state;

	write_file(f, "a.yaml", "");
	assert_int_equal(truncate(at(f, "a.yaml"), (8 << 20) + 1), 0);
	start(f);
	assert_non_null(strstr(told(f), "larger than"));
}

static void a_folder_that_goes_away_keeps_its_objects(void **state)
{
	struct fixture *f = *state;
	char away[128];

	write_file(f, "a.yaml", POD("a"));
	start(f);
	(void)told(f);
	(void)snprintf(away, sizeof(away), "%s.away", f->dir);
	assert_int_equal(rename(f->dir, away), 0);
	(void)told(f);
	assert_non_null(strstr(f->heard.text, "the folder cannot be read"));
	assert_null(strstr(f->heard.text, "delete"));
	assert_int_equal(rename(away, f->dir), 0);
	write_file(f, "b.yaml", POD("b"));
	for (int i = 0; i < 100 && !strstr(f->heard.text, "put Pod default/b\n"); i++)
		(void)loop_run_once(f->loop, 50);
	assert_non_null(strstr(f->heard.text, "put Pod default/b\n"));
	assert_non_null(strstr(f->heard.text, "cleared "));
}

static void a_folder_that_is_not_there_is_an_error(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(
		source_folder_new(f->loop, "/nonexistent/x", &heard_ops, &f->heard, &f->source),
		-ENOENT);
	write_file(f, "file", "");
	assert_int_equal(
		source_folder_new(f->loop, at(f, "file"), &heard_ops, &f->heard, &f->source),
		-ENOTDIR);
	assert_null(f->source);
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(reads_what_is_there_in_path_order),
		T(an_empty_folder_is_synced_too),
		T(sees_writes_renames_and_removals),
		T(many_files_are_read_in_slices),
		T(a_file_that_is_being_written_is_left_alone),
		T(follows_new_and_vanishing_sub_folders),
		T(follows_folders_in_folders_and_reads_none_twice),
		T(what_is_too_deep_is_told_as_long_as_it_is_there),
		T(more_folders_than_are_read_take_nothing_away),
		T(follows_links_as_config_map_mounts_make_them),
		T(a_new_link_is_read_at_once),
		T(a_broken_file_leaves_the_others_alone),
		T(a_file_that_is_too_big_is_refused),
		T(a_folder_that_goes_away_keeps_its_objects),
		T(a_folder_that_is_not_there_is_an_error),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

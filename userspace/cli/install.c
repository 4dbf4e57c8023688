/* SPDX-License-Identifier: Apache-2.0 */
/* install - into a cluster, or what is there made to be what this program has inside. */
#include "install.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/str.h"
#include "chart.h"
#include "cli.h"
#include "install_words.h"
#include "json.h"
#include "kube_kinds.h"
#include "precheck.h"

struct install_options {
	struct install_choices choices;
	bool is_forced;
};

static const struct option_def defs[] = {
	INSTALL_OPTIONS,
	INSTALL_CHOICES(
		struct install_options, choices, "as --set revision=NAME",
		"say what would be made, changed and removed; the API server checks it all, and "
		"keeps nothing",
		"300", "how long to wait for all components to be ready"),
	{.name = "force",
	 .type = OPTION_BOOL,
	 .offset = offsetof(struct install_options, is_forced),
	 .help = "go on in spite of what precheck finds, and take over fields that others manage"},
	{0},
};

/** struct job - an installation or an upgrade, from its words to its end. */
struct job {
	struct install_options options;
	struct install_words words;
	struct install_plan plan;
	json_t *objects, *spec, *old_spec;
	char old_version[64], old_revision[64], revision[128];
	bool is_upgrade, is_installed;
	struct install_run run;
};

void install_say_missing(const struct install_plan *p, FILE *f)
{
	if (p->has_gateways)
		(void)fputs("culvert: gateways were asked for: they come in a later release and "
			    "are NOT installed by this one\n",
			    f);
}

static void job_reset(struct job *j)
{
	json_decref(j->plan.values);
	json_decref(j->objects);
	json_decref(j->spec);
	json_decref(j->old_spec);
	(void)kube_close(j->run.kube);
}

static const char *profile_of(const struct job *j)
{
	return json_text(j->spec, "profile", "default");
}

/* look() - what is there already. Return: 0; the exit code. */
static int look(struct job *j)
{
	int r = install_read(j->run.kube, &j->old_spec, j->old_version, j->old_revision);

	if (r > 0)
		return r;
	j->is_installed = r == 0;
	if (j->is_upgrade && !j->is_installed)
		return cli_fail("upgrade: nothing is installed by \"culvert install\" in this "
				"cluster: use that");
	return 0;
}

/* plan() - the words, over what was asked for last time when it is an upgrade. */
static int plan(struct job *j)
{
	char err[CHART_ERROR_MAX] = "out of memory";
	int r;

	if (j->options.choices.revision && j->words.sets_count < INSTALL_WORDS_MAX) {
		(void)snprintf(j->revision, sizeof(j->revision), "revision=%s",
			       j->options.choices.revision);
		j->words.sets[j->words.sets_count++] = j->revision;
	}
	r = install_words_plan(&j->words, j->is_upgrade ? j->old_spec : NULL, &j->plan, &j->spec,
			       err);
	if (r == 0)
		r = install_plan_objects(&j->plan, &j->objects, err);
	if (r < 0)
		return cli_fail("%s", err);
	j->run.revision = json_text(j->plan.values, "revision", "");
	if (!*j->run.revision)
		j->run.revision = "default";
	return 0;
}

static bool is_agreed(const struct job *j)
{
	char question[256];

	if (j->options.choices.is_yes || j->run.is_dry)
		return true;
	if (j->is_installed)
		(void)snprintf(question, sizeof(question),
			       "This will change Culvert %s (revision %s) to %s with profile "
			       "\"%s\". Proceed?",
			       j->old_version, j->old_revision, cli_build(), profile_of(j));
	else
		(void)snprintf(question, sizeof(question),
			       "This will install Culvert %s with profile \"%s\" into the cluster. "
			       "Proceed?",
			       cli_build(), profile_of(j));
	if (confirm(question))
		return true;
	puts("Nothing was changed.");
	return false;
}

/* Two revisions beside each other are to come: one is never turned into another by mistake. */
static int check_revision(const struct job *j)
{
	if (!j->is_installed || j->options.is_forced || streq(j->old_revision, j->run.revision))
		return 0;
	return cli_fail("revision %s is installed: two beside each other are not possible yet; "
			"--force turns it into revision %s",
			j->old_revision, j->run.revision);
}

static void say_gateways(struct job *j)
{
	static const char *const names[] = {"Ingress gateways", "Egress gateways"};

	if (!j->plan.has_gateways && !streq(profile_of(j), "demo") &&
	    !streq(profile_of(j), "default"))
		return;
	for (size_t i = 0; i < ARRAY_SIZE(names); i++)
		progress_note(&j->run.progress,
			      "%s are not installed: they come in a later release", names[i]);
}

static int apply_core(struct job *j)
{
	struct install_count n = {0};
	int r = install_apply(&j->run, j->objects, KUBE_RANK_NAMESPACE, KUBE_RANK_SERVICE, &n);

	if (r != 0 || j->run.is_dry)
		return r;
	progress_done(&j->run.progress,
		      "Core installed: %u objects made, %u changed, %u unchanged%s", n.created,
		      n.changed, n.unchanged,
		      n.foreign ? "; those that others made are used as they are" : "");
	return 0;
}

/* One after the other: nodes' pods mount what the control plane makes, and a webhook would stand in
 * everybody's way until somebody answers it. */
static int apply_rest(struct job *j)
{
	struct install_count n = {0};
	unsigned int pruned = 0;
	int r = 0;

	for (int rank = KUBE_RANK_CONTROL; rank <= KUBE_RANK_WEBHOOK && r == 0; rank++) {
		r = install_apply(&j->run, j->objects, rank, rank, &n);
		if (r == 0 && !j->run.is_dry && rank < KUBE_RANK_WEBHOOK)
			r = install_wait(&j->run, j->objects, rank);
	}
	if (r == 0)
		r = install_prune(&j->run, j->objects, &pruned);
	if (r == 0 && !j->run.is_dry)
		r = install_record(&j->run, j->spec, cli_build());
	if (r == 0 && pruned > 0 && !j->run.is_dry)
		progress_done(&j->run.progress, "%u objects of the version before removed", pruned);
	return r;
}

static int work(struct job *j)
{
	int r = 0;

	/* An uninstallation that was not finished has told the agents to let go. */
	if (!j->run.is_dry)
		r = install_release(&j->run, false);
	if (r == 0)
		r = apply_core(j);
	if (r == 0)
		r = apply_rest(j);
	if (r != 0)
		return cli_fail("not complete; the same command goes on from here");
	if (j->run.is_dry) {
		puts("Nothing was changed: this was a dry run.");
		return 0;
	}
	say_gateways(j);
	progress_done(&j->run.progress, "Installation complete");
	printf("Revision %s is now the default for enrolment and validation.\n", j->run.revision);
	return 0;
}

static int run(struct job *j)
{
	int r = kube_open(&j->run.kube);

	if (r == 0)
		r = look(j);
	if (r == 0)
		r = plan(j);
	if (r == 0)
		r = check_revision(j);
	if (r == 0 && !j->options.is_forced)
		r = precheck_install(j->run.kube, j->objects);
	if (r != 0)
		return r;
	install_say_missing(&j->plan, stderr);
	return is_agreed(j) ? work(j) : 1;
}

static int start(const struct cli_syntax *syntax, bool is_upgrade, int argc, char **argv)
{
	struct job j = {.is_upgrade = is_upgrade};
	int r;

	if (install_words_take(&argc, argv, &j.words) < 0)
		return 2;
	r = cli_parse(syntax, &j.options, argc, argv);
	if (r <= 0)
		return r < 0 ? 2 : 0;
	install_run_choose(&j.run, &j.options.choices);
	j.run.is_forced = j.options.is_forced;
	r = run(&j);
	job_reset(&j);
	return r;
}

int cli_install(int argc, char **argv)
{
	static const struct cli_syntax syntax = {
		.defs = defs,
		.usage = "culvert install [-f FILE]... [--set KEY=VALUE]... [-y]",
		.help = "Install Culvert into the cluster that kubectl would speak to, or make "
			"what is installed as the words say. Run again it changes what differs, "
			"and nothing else.",
	};

	return start(&syntax, false, argc, argv);
}

int cli_upgrade(int argc, char **argv)
{
	static const struct cli_syntax syntax = {
		.defs = defs,
		.usage = "culvert upgrade [-f FILE]... [--set KEY=VALUE]... [-y]",
		.help = "Make what is installed this version, with the values that it was "
			"installed with; words given now come over those.",
	};

	return start(&syntax, true, argc, argv);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* install - into a cluster, or what is there made to be what this program has inside. */
#include "install.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/str.h"
#include "chart.h"
#include "cli.h"
#include "install_ca.h"
#include "install_mesh.h"
#include "install_words.h"
#include "json.h"
#include "kube_kinds.h"
#include "precheck.h"
#include "revisions.h"

struct install_options {
	struct install_choices choices;
	bool is_forced, is_verified;
};

static const struct option_def defs[] = {
	INSTALL_OPTIONS,
	/* first, since it has no default */
	{.name = "readiness-timeout",
	 .type = OPTION_STRING,
	 .offset = offsetof(struct install_options, choices.timeout),
	 .value_name = "DURATION",
	 .help = "istioctl's word for --timeout"},
	{.name = "verify",
	 .type = OPTION_BOOL,
	 .offset = offsetof(struct install_options, is_verified),
	 .help = "istioctl's; each component is waited for in any case"},
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
	struct revisions revisions; /* as they were before */
	char revision[REVISION_MAX];
	json_t *objects, *spec;
	bool is_upgrade;
	bool is_taking_nodes; /* from another revision */
	struct install_run run;
};

void install_say_missing(const struct install_plan *p, FILE *f)
{
	if (p->has_gateways)
		(void)fputs("culvert: gateways were asked for: they come in a later release and "
			    "are NOT installed by this one\n",
			    f);
	if (p->has_autoscaler)
		(void)fputs(
			"culvert: hpaSpec: no autoscaler is made: there are minReplicas, always\n",
			f);
	chart_say_foreign(p->values, f);
	install_mesh_say_unknown(json_object_get(p->values, "meshConfig"), f);
}

static void job_reset(struct job *j)
{
	json_decref(j->plan.values);
	json_decref(j->objects);
	json_decref(j->spec);
	revisions_clear(&j->revisions);
	(void)kube_close(j->run.kube);
}

static const char *profile_of(const struct job *j)
{
	return json_text(j->spec, "profile", "default");
}

static bool is_installed(const struct job *j)
{
	return revisions_spec(&j->revisions, j->revision) != NULL;
}

/* An upgrade that does not say which revision is of the only one, or of the default one. */
static void choose_installed(struct job *j)
{
	const char *name = json_object_iter_key(json_object_iter(j->revisions.all));

	if (json_object_size(j->revisions.all) == 1)
		(void)str_copy(j->revision, sizeof(j->revision), name);
}

/* look() - which revision is meant, and what is there already. Return: 0; the exit code. */
static int look(struct job *j)
{
	char err[CHART_ERROR_MAX] = "out of memory";
	int r = revisions_read(j->run.kube, &j->revisions), said;

	if (r != 0)
		return r;
	(void)str_copy(j->revision, sizeof(j->revision), REVISION_DEFAULT);
	said = install_words_revision(&j->words, j->revision, sizeof(j->revision), err);
	if (said < 0)
		return cli_fail("%s", err);
	if (said == 0 && j->is_upgrade)
		choose_installed(j);
	j->run.revision = j->revision;
	j->words.is_leaving_nodes = revisions_is_others(j->revisions.nodes, j->revision);
	j->words.is_leaving_objects = revisions_is_others(j->revisions.objects, j->revision);
	if (!j->is_upgrade || is_installed(j))
		return 0;
	if (json_object_size(j->revisions.all) > 0) {
		_cleanup_(freep) char *names = revisions_names(&j->revisions);

		return cli_fail(
			"upgrade: revision %s is not installed by \"culvert install\"; there "
			"is %s, and --revision says which is meant",
			j->revision, names ? names : "another");
	}
	return cli_fail("upgrade: nothing is installed by \"culvert install\" in this "
			"cluster: use that");
}

/* What there is one of moves when it is asked to: the next upgrade does not move it back. */
static void forget_moves(json_t *spec)
{
	json_t *components = json_object_get(spec, "components");
	json_t *values = json_object_get(spec, "values");
	json_t *component = json_object_get(components, "ztunnel");
	json_t *value = json_object_get(values, "ztunnel");

	if (json_is_true(json_object_get(component, "enabled")))
		(void)json_object_del(components, "ztunnel");
	if (components && json_object_size(components) == 0)
		(void)json_object_del(spec, "components");
	if (json_is_true(json_object_get(value, "enabled")))
		(void)json_object_del(value, "enabled");
	(void)json_object_del(values, "defaultRevision");
}

/* plan() - the words, over what was asked for last time when it is an upgrade. */
static int plan(struct job *j)
{
	const json_t *old = j->is_upgrade ? revisions_spec(&j->revisions, j->revision) : NULL;
	char err[CHART_ERROR_MAX] = "out of memory";
	const char *asked;
	bool has_nodes;
	int r = install_words_plan(&j->words, old, &j->plan, &j->spec, err);

	if (r == 0)
		r = install_plan_objects(&j->plan, &j->objects, err);
	if (r < 0)
		return cli_fail("%s", err);
	if (!json_is_true(json_object_get(json_object_get(j->plan.values, "pilot"), "enabled")))
		return cli_fail("pilot.enabled=false: what somebody else's control plane is there "
				"for is not ours to install and upgrade; \"culvert manifest "
				"generate\" and Helm take it");
	has_nodes = json_is_true(
		json_object_get(json_object_get(j->plan.values, "ztunnel"), "enabled"));
	if (!has_nodes && streq(j->revisions.nodes, j->revision))
		return cli_fail("the nodes' DaemonSet belongs to revision %s: another revision can "
				"take it over (--set components.ztunnel.enabled=true there), and "
				"\"culvert uninstall\" removes it",
				j->revision);
	asked = json_text(json_object_get(j->plan.values, "ztunnel"), "revision", "");
	if (has_nodes && *asked && !streq(asked, j->revision) &&
	    !revisions_has(&j->revisions, asked))
		return cli_fail("ztunnel.revision: revision %s, which the nodes are to ask, is not "
				"installed",
				asked);
	j->is_taking_nodes = has_nodes && j->words.is_leaving_nodes;
	forget_moves(j->spec);
	return 0;
}

/* What the revisions sign must be of one trust domain, or the pods of one refuse those of another.
 */
static int check_trust_domain(const struct job *j)
{
	const json_t *mesh = json_object_get(j->plan.values, "meshConfig"), *one;
	char ours[256], theirs[256];
	const char *name;
	int r = 0;

	if (json_object_size(mesh) > 0)
		r = str_copy(ours, sizeof(ours), json_text(mesh, "trustDomain", "cluster.local"));
	else
		r = revisions_trust_domain(j->run.kube, j->revision, ours);
	if (r != 0)
		return r < 0 ? cli_fail("meshConfig.trustDomain: is too long") : r;
	json_object_foreach (j->revisions.all, name, one) {
		if (streq(name, j->revision))
			continue;
		r = revisions_trust_domain(j->run.kube, name, theirs);
		if (r != 0)
			return r;
		if (!streq(ours, theirs))
			return cli_fail("revision %s would sign for trust domain %s, revision %s "
					"signs for %s: --set meshConfig.trustDomain=%s; --force "
					"goes on in spite of this",
					j->revision, ours, name, theirs, theirs);
	}
	return 0;
}

static void ask_what(const struct job *j, char *question, size_t size)
{
	_cleanup_(freep) char *names = revisions_names(&j->revisions);
	bool is_beside = json_object_size(j->revisions.all) > 0;

	if (is_installed(j))
		(void)snprintf(question, size,
			       "This will change Culvert %s (revision %s) to %s with profile "
			       "\"%s\". Proceed?",
			       revisions_version(&j->revisions, j->revision), j->revision,
			       cli_build(), profile_of(j));
	else if (is_beside)
		(void)snprintf(question, size,
			       "This will install Culvert %s with profile \"%s\" into the cluster, "
			       "as revision %s; there is %s. Proceed?",
			       cli_build(), profile_of(j), j->revision, names ? names : "another");
	else
		(void)snprintf(question, size,
			       "This will install Culvert %s with profile \"%s\" into the cluster. "
			       "Proceed?",
			       cli_build(), profile_of(j));
}

static bool is_agreed(const struct job *j)
{
	char question[512];

	if (j->options.choices.is_yes || j->run.is_dry)
		return true;
	ask_what(j, question, sizeof(question));
	if (j->is_taking_nodes)
		printf("The agents and ztunnels of all nodes go over from revision %s, node by "
		       "node.\n",
		       j->revisions.nodes);
	if (confirm(question))
		return true;
	puts("Nothing was changed.");
	return false;
}

/* What Istio's profile of that name has besides. */
static void say_spans(struct job *j)
{
	if (streq(profile_of(j), "demo"))
		progress_note(&j->run.progress,
			      "Tracing is not installed: ztunnels make no spans, so that nothing "
			      "is sampled, at 100 %% or less");
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
		if (r == 0 && rank == KUBE_RANK_CONTROL)
			r = install_apply_late(&j->run, j->objects, &n);
	}
	if (r == 0)
		r = install_prune(&j->run, j->objects, &j->revisions, &pruned);
	if (r == 0 && !j->run.is_dry)
		r = install_record(&j->run, j->spec, cli_build());
	if (r == 0 && pruned > 0 && !j->run.is_dry)
		progress_done(&j->run.progress, "%u objects of the version before removed", pruned);
	return r;
}

/* say_shared() - what of what there is one of is another revision's still. */
static void say_shared(struct job *j)
{
	bool has_objects = *json_text(j->plan.values, "defaultRevision", "");

	if (j->words.is_leaving_nodes && !j->is_taking_nodes)
		progress_note(
			&j->run.progress,
			"The nodes' agents and ztunnels ask revision %s; \"culvert upgrade "
			"--revision %s --set components.ztunnel.enabled=true\" takes them over",
			j->revisions.nodes, j->revision);
	progress_done(&j->run.progress, "Installation complete");
	if (has_objects)
		printf("Revision %s is now the default for enrolment and validation.\n",
		       j->revision);
	else
		printf("Revision %s validates objects that name it, revision %s all that name "
		       "none;\n\"culvert tag set default --revision %s\" changes that.\n",
		       j->revision, j->revisions.objects, j->revision);
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
	say_spans(j);
	say_shared(j);
	return 0;
}

static int run(struct job *j)
{
	int r = kube_open(&j->run.kube);

	if (r == 0)
		r = look(j);
	if (r == 0)
		r = plan(j);
	if (r == 0 && !j->options.is_forced)
		r = check_trust_domain(j);
	if (r == 0 && !j->options.is_forced && json_object_size(j->revisions.all) > 0)
		r = install_check_ca(j->run.kube);
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
	if (install_words_add_revision(&j.words, j.options.choices.revision) < 0)
		return 2;
	if (install_run_choose(&j.run, &j.options.choices) != 0)
		return 2;
	j.run.is_forced = j.options.is_forced;
	r = run(&j);
	job_reset(&j);
	return r;
}

int cli_install(int argc, char **argv)
{
	static const struct cli_syntax syntax = {
		.defs = defs,
		.usage = "culvert install [-f FILE]... [--set KEY=VALUE]... [--revision NAME] [-y]",
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
		.usage = "culvert upgrade [-f FILE]... [--set KEY=VALUE]... [--revision NAME] [-y]",
		.help = "Make what is installed this version, with the values that it was "
			"installed with; words given now come over those.",
	};

	return start(&syntax, true, argc, argv);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* culvert - the command line tool. Each subcommand is one file; this is the table of them. */
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "base/str.h"
#include "cli.h"
#include "kube.h"

static const struct cli_command commands[] = {
	{"node", NULL, "run a node of the mesh from a folder of manifests", cli_node},
	{"status", NULL, "what the node runs, which pods are in the mesh, what is wrong",
	 cli_status},
	{"ztunnel-config", "zc", "what ztunnel knows: workloads, services, policies, ...",
	 cli_ztunnel_config},
	{"connections", "conns", "open connections, live: who, how much, how fast",
	 cli_connections},
	{"explain", NULL, "why FROM reaches TO, or not: path, certificate, verdict, policies",
	 cli_explain},
	{"drops", NULL, "what was refused, by reason", cli_drops},
	{"proxy-status", "ps", "who takes the control plane's word, and took all of it",
	 cli_proxy_status},
	{"experimental", "x", "x authz check, x precheck, x describe: istioctl's words for them",
	 cli_experimental},
	{"install", NULL, "install into a cluster, or change what is installed", cli_install},
	{"upgrade", NULL, "make what is installed this version", cli_upgrade},
	{"uninstall", NULL, "take it out again; pods go on without the mesh", cli_uninstall},
	{"precheck", NULL, "would an installation go well?", cli_precheck},
	{"analyze", NULL, "mistakes in objects of the cluster, or in files", cli_analyze},
	{"describe", NULL, "describe pod|service NAME: in the mesh? by which label? policies?",
	 cli_describe},
	{"tag", NULL, "names for a revision: list, set, generate, remove", cli_tag},
	{"bug-report", NULL, "one archive of what explains a fault, without secrets",
	 cli_bug_report},
	{"manifest", NULL, "manifest generate: what to give to kubectl apply", cli_manifest},
	{"profile", NULL, "named sets of values for an installation: list, dump, diff",
	 cli_profile},
	{"bpf", NULL, "maps and programs in the kernel, and what they are for", cli_bpf},
	{"lab", NULL, "nodes and pods on this machine, to try things", cli_lab},
	{"completion", NULL, "a script that teaches bash or zsh these words", cli_completion},
	{"version", NULL, "which build this is, and what a cluster runs", cli_version},
	{0},
};

/* istioctl's words that there is nothing for, and what there is instead. */
static const struct {
	const char *name, *alias, *instead;
} absent[] = {
	{"waypoint", NULL, "waypoints are to come; this mesh works on layer 4 until then"},
	{"proxy-config", "pc",
	 "there is no Envoy; \"culvert ztunnel-config\" shows what a node's proxy knows"},
	{"kube-inject", NULL,
	 "nothing is put into pods; \"kubectl label namespace NAME "
	 "istio.io/dataplane-mode=ambient\" enrols those that run"},
	{"operator", NULL,
	 "there is no operator; \"culvert install -f FILE\" takes an IstioOperator"},
	{"validate", "v", "\"culvert analyze --use-kube=false FILE\" does that"},
	{"authz", NULL, "\"culvert x authz check POD\" does that"},
	{"dashboard", "dash",
	 "nothing of that kind is installed; a Grafana board and alerts are in "
	 "tools/deploy/dashboards"},
	{"verify-install", NULL, "\"culvert status\" does that"},
	{"create-remote-secret", NULL, "a mesh of several clusters is to come"},
	{"remote-clusters", NULL, "a mesh of several clusters is to come"},
};

static const char *instead_of(const char *word)
{
	for (size_t i = 0; i < ARRAY_SIZE(absent); i++)
		if (streq(word, absent[i].name) ||
		    (absent[i].alias && streq(word, absent[i].alias)))
			return absent[i].instead;
	return NULL;
}

static void tell_unknown(const char *word)
{
	const char *instead = instead_of(word), *near = cli_nearest(commands, word);

	if (instead)
		(void)cli_fail("%s: %s", word, instead);
	else if (near)
		(void)cli_fail("unknown command \"%s\": is \"%s\" meant? \"culvert --help\" "
			       "lists all",
			       word, near);
	else
		(void)cli_fail("unknown command \"%s\"; \"culvert --help\" lists them", word);
}

static void print_help(void)
{
	puts("Usage: culvert COMMAND [options]\n\n"
	     "Culvert is a service mesh without sidecars: mutual TLS, identity and policy for "
	     "pods,\n"
	     "by eBPF and one ztunnel per node.\n\n"
	     "Commands:");
	cli_print_commands(commands);
	puts("\nStart here:\n"
	     "  culvert lab up tools/samples/demo     make two nodes with pods\n"
	     "  culvert node --config-dir DIR         the same for real pods on this host\n"
	     "  culvert install --set profile=demo -y the same for a Kubernetes cluster\n"
	     "  culvert status                        is everything in place?\n"
	     "  culvert ztunnel-config workload       who speaks HBONE, who plain TCP\n"
	     "  culvert explain demo/web web:80       would it be let in, and why\n"
	     "  culvert explain --past demo/web       what became of its last connections\n\n"
	     "--kubeconfig FILE (-c) and --context NAME, with any command, say which cluster is "
	     "meant.\n"
	     "\"culvert COMMAND --help\" tells more. Called as istioctl, it answers the same "
	     "words.");
}

/* namespace_last() - istioctl takes -n NS before a command, too: what it is of comes first. */
static void namespace_last(int argc, char **argv)
{
	static const char name[] = "--namespace";
	char *moved[] = {argv[1], argc > 2 ? argv[2] : NULL};
	bool is_one = argc > 1 &&
		      (str_has_prefix(argv[1], "-n=") || str_has_prefix(argv[1], "--namespace="));
	int n = is_one ? 1 : argc > 3 && (streq(argv[1], "-n") || streq(argv[1], name)) ? 2 : 0;

	if (n == 0)
		return;
	memmove(&argv[1], &argv[1 + n], (size_t)(argc - 1 - n) * sizeof(*argv));
	memcpy(&argv[argc - n], moved, (size_t)n * sizeof(*argv));
}

int main(int argc, char **argv)
{
	static char help[] = "--help";
	const struct cli_command *c;

	if (kube_words_take(&argc, argv) < 0)
		return 2;
	if (argc < 2) {
		print_help();
		return 2;
	}
	namespace_last(argc, argv);
	if (argc > 2 && streq(argv[1], "help")) {
		/* "culvert help install" */
		argv[1] = argv[2];
		argv[2] = help;
		argc = 3;
	}
	if (streq(argv[1], "--help") || streq(argv[1], "-h") || streq(argv[1], "help")) {
		print_help();
		return 0;
	}
	if (streq(argv[1], "__complete"))
		return cli_complete(commands, argc - 1, argv + 1);
	if (streq(argv[1], "__admin"))
		return cli_admin(argc - 1, argv + 1);
	if (streq(argv[1], "__kernel"))
		return cli_kernel(argc - 1, argv + 1);
	/* what is experimental there need not be here */
	if (argc > 2 && (streq(argv[1], "x") || streq(argv[1], "experimental")) &&
	    !streq(argv[2], "authz") && (cli_find(commands, argv[2]) || instead_of(argv[2]))) {
		argc--;
		argv++;
	}
	c = cli_find(commands, streq(argv[1], "--version") ? "version" : argv[1]);
	if (!c) {
		tell_unknown(argv[1]);
		return 2;
	}
	return c->run(argc - 1, argv + 1);
}

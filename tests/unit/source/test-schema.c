/* SPDX-License-Identifier: Apache-2.0 */
/* schema - each kind: what is right passes, and each mistake is told with its field and what was
 * expected. */
#include "source/schema.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "source/honoured.h"
#include "source/yaml.h"

struct findings {
	char text[4096];
};

static void on_problem(void *arg, const char *field, const char *message)
{
	struct findings *f = arg;
	size_t n = strlen(f->text);

	(void)snprintf(f->text + n, sizeof(f->text) - n, "%s: %s\n", field, message);
}

static int check(void *arg, const struct yaml_document *doc)
{
	struct schema_report report = {.on_problem = on_problem, .arg = arg};
	const struct schema_kind *kind =
		schema_kind_find(json_string_value(json_object_get(doc->body, "kind")));

	assert_non_null(kind);
	(void)schema_check(kind, doc->body, &report);
	assert_int_equal(report.len, 0);
	return 0;
}

static int doubt(void *arg, const struct yaml_document *doc)
{
	struct schema_report report = {.on_problem = on_problem, .arg = arg};

	(void)schema_doubts(schema_kind_find(json_string_value(json_object_get(doc->body, "kind"))),
			    doc->body, &report);
	assert_int_equal(report.len, 0);
	return 0;
}

static const char *text_of(int (*fn)(void *arg, const struct yaml_document *doc), const char *yaml,
			   struct findings *f)
{
	struct yaml_problem problem;

	f->text[0] = '\0';
	if (yaml_parse(yaml, strlen(yaml), fn, f, &problem) != 0)
		fail_msg("not YAML: %s", yaml);
	return f->text;
}

static const char *check_text(const char *yaml, struct findings *f)
{
	return text_of(check, yaml, f);
}

static const char *doubt_text(const char *yaml, struct findings *f)
{
	return text_of(doubt, yaml, f);
}

#define SIXTY_FOUR  "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
#define META(kind_) "apiVersion: v1\nkind: " kind_ "\nmetadata: {name: x}\n"
#define SERVICE     META("Service")
#define SLICE       "apiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\nmetadata: {name: x}\n"
#define PEER        "apiVersion: security.istio.io/v1\nkind: PeerAuthentication\nmetadata: {name: x}\n"
#define POLICY      "apiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\nmetadata: {name: x}\n"

#define ENTRY "apiVersion: networking.istio.io/v1\nkind: ServiceEntry\nmetadata: {name: x}\nspec:\n"
#define WORKLOAD                                                                                   \
	"apiVersion: networking.istio.io/v1\nkind: WorkloadEntry\nmetadata: {name: x}\nspec: "

static const char *const good[] = {
	SERVICE "spec: {ports: [{port: 80}], sessionAffinity: ClientIP, sessionAffinityConfig: "
		"{clientIP: {timeoutSeconds: 86400}}}\n",
	ENTRY "  hosts: [api.example.com]\n",
	ENTRY "  hosts: [API.Example.com, api.example.com., '*x.example.com', '*-X.example.com']\n",
	ENTRY "  hosts: [a.b]\n  resolution: DNS\n  endpoints: [{address: C.d.}]\n",
	ENTRY
	"  hosts: [a.b]\n  resolution: STATIC\n  endpoints: [{address: 'unix:///run/x.sock'}, "
	"{address: 'unix://@x'}, {address: 10.0.0.1}]\n",
	WORKLOAD "{address: 'unix:///run/x.sock'}\n",
	ENTRY "  hosts: ['*.example.com', a.b]\n  addresses: [10.0.0.1, 'fd00::/8']\n"
	      "  ports: [{number: 80, name: http, protocol: http}]\n  location: MESH_INTERNAL\n"
	      "  resolution: STATIC\n  endpoints: [{address: 10.0.0.1, ports: {http: 8080}, "
	      "weight: 5}]\n  exportTo: ['.']\n",
	ENTRY "  hosts: [a.b]\n  resolution: DNS\n  endpoints: [{address: c.d}]\n",
	ENTRY "  hosts: [a.b, c.d]\n  resolution: NONE\n  addresses: [10.1.0.0/16]\n  ports: "
	      "[{number: 1, name: a, protocol: TCP}]\n",
	ENTRY "  hosts: [a.b, c.d]\n  resolution: DNS\n  addresses: [10.0.0.1]\n  ports: [{number: "
	      "1, name: a, protocol: HTTPS}]\n",
	ENTRY "  hosts: [a.b]\n  ports: [{number: 1, name: HTTP}, {number: 2, name: tls-2}]\n",
	ENTRY "  hosts: [a.b]\n  ports: [{number: 1, name: a, protocol: MySQL}, {number: 2, name: "
	      "b, protocol: REDIS}, {number: 3, name: c, protocol: ''}]\n",
	ENTRY "  hosts: ['*.b']\n  addresses: [10.0.0.1]\n  resolution: DNS\n  endpoints: "
	      "[{address: c.d}]\n",
	ENTRY "  hosts: [a.b]\n  resolution: STATIC\n  endpoints: [{address: 10.0.0.1}, {network: "
	      "n2}]\n",
	WORKLOAD "{network: n2}\n",
	WORKLOAD "{address: 10.0.0.1, labels: {a: b}, serviceAccount: s}\n",
	META("Namespace"),
	META("Namespace") "spec: {finalizers: [kubernetes]}\nstatus: {phase: Active}\n",
	META("ServiceAccount") "automountServiceAccountToken: false\n",
	META("Node") "spec: {podCIDR: 10.0.0.0/24}\nstatus: {addresses: []}\n",
	META("ConfigMap") "data: {a: \"1\"}\n",
	META("Pod"),
	"apiVersion: v1\nkind: Pod\nmetadata: {name: " SIXTY_FOUR "-" SIXTY_FOUR ".x}\n"
	"spec: {nodeName: " SIXTY_FOUR ", serviceAccountName: " SIXTY_FOUR "}\n",
	META("Pod") "spec:\n  containers:\n  - name: c\n    image: nginx\n    ports: "
		    "[{containerPort: 80, name: http}]\n"
		    "  hostNetwork: false\n  nodeName: n1\nstatus: {podIP: 10.0.0.1, podIPs: [{ip: "
		    "10.0.0.1}], qosClass: x}\n",
	"apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: d}\nspec:\n  replicas: 2\n"
	"  selector: {matchLabels: {app: d}}\n  template: {metadata: {labels: {app: d}}, spec: "
	"{containers: []}}\n",
	SERVICE "spec: {ports: [{port: 80}]}\n",
	SERVICE "spec: {clusterIP: None, selector: {a: b}}\n",
	SERVICE "spec: {type: ExternalName, externalName: x.example}\n",
	SERVICE "spec: {ports: [{port: 53, protocol: UDP, name: a}, {port: 53, name: b, "
		"targetPort: dns}]}\nstatus: {loadBalancer: {}}\n",
	SLICE "addressType: IPv4\nendpoints: [{addresses: [10.0.0.1], conditions: {ready: true}, "
	      "nodeName: n}]\nports: [{port: 80, name: ''}]\n",
	SLICE "addressType: FQDN\nendpoints: [{addresses: [a.example]}]\n",
	PEER,
	PEER "spec: {mtls: {mode: STRICT}}\n",
	PEER "spec: {selector: {matchLabels: {app: a}}, portLevelMtls: {8080: {mode: DISABLE}}}\n",
	POLICY "spec: {}\n",
	"apiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\n"
	"metadata: {name: x, annotations: {Example.COM/Owner: a}}\n",
	POLICY "spec:\n",
	POLICY "spec: {action: DENY, rules: [{}]}\n",
	POLICY "spec: {action: DENY, rules: [{from: [], to: [], when: []}]}\n",
	POLICY
	"spec:\n  selector: {matchLabels: {app: a}}\n  action: ALLOW\n  rules:\n"
	"  - from: [{source: {principals: ['*'], notNamespaces: [x], ipBlocks: [10.0.0.0/8]}}]\n"
	"    to: [{operation: {ports: ['80'], methods: [GET]}}]\n"
	"    when: [{key: source.ip, values: [10.0.0.1]}, {key: 'request.headers[x]', notValues: "
	"[a]}]\n",
	POLICY "spec: {rules: [{when: [{key: source.trustDomain, values: [a.b]}]}]}\n",
	POLICY "spec: {rules: [{when: [{key: 'request.auth.claims[a][b]', values: [x]}, {key: "
	       "request.auth.audiences, values: [x]}, {key: 'experimental.envoy.filters.a.b[c]', "
	       "values: [x]}, {key: connection.sni, values: [x]}]}]}\n",
	POLICY "spec: {action: CUSTOM, provider: {name: p}, rules: [{}]}\n",
	POLICY "spec: {rules: [{from: [{source: {serviceAccounts: [a, ns/b]}}]}]}\n",
	POLICY
	"spec: {rules: [{from: [{source: {namespaces: [a], ipBlocks: [], serviceAccounts: []}}], "
	"to: [{operation: {ports: [], notPorts: ['80']}}], "
	"when: [{key: source.ip, values: [], notValues: [10.0.0.1]}]}]}\n",
	POLICY "spec: {rules: [{from: [{source: {serviceAccounts: [a], namespaces: []}}]}]}\n",
	POLICY
	"spec: {rules: [{from: [{source: {trustDomains: [a.b], notTrustDomains: ['*.c']}}]}]}\n",
};

static void what_is_right_passes(void **state)
{
	struct findings f;

	for (size_t i = 0; i < ARRAY_SIZE(good); i++)
		assert_string_equal(check_text(good[i], &f), "");
}

struct mistake {
	const char *yaml, *field, *message;
};

static const struct mistake bad[] = {
	{SERVICE "spec: {ports: [{port: 80}], sessionAffinityConfig: {clientIP: {timeoutSeconds: "
		 "0}}}\n",
	 "spec.sessionAffinityConfig.clientIP.timeoutSeconds", "from 1 to 86400"},
	{ENTRY "  resolution: STATIC\n", "spec.hosts", "required"},
	{ENTRY "  hosts: []\n", "spec.hosts", "at least one"},
	{ENTRY "  hosts: ['*']\n", "spec.hosts[0]", "expected a DNS name"},
	{ENTRY "  hosts: [a.b, '*a']\n", "spec.hosts[1]", "expected a DNS name"},
	{ENTRY "  hosts: ['*..b']\n", "spec.hosts[0]", "expected a DNS name"},
	{ENTRY "  hosts: ['a.*.b']\n", "spec.hosts[0]", "expected a DNS name"},
	{ENTRY "  hosts: ['*a_b.c']\n", "spec.hosts[0]", "expected a DNS name"},
	{ENTRY "  hosts: [a_b.c]\n", "spec.hosts[0]", "expected a DNS name"},
	{ENTRY "  hosts: [a.b..]\n", "spec.hosts[0]", "expected a DNS name"},
	{ENTRY "  hosts: ['.']\n", "spec.hosts[0]", "expected a DNS name"},
	{ENTRY "  hosts: [a.b]\n  host: x\n", "spec.host", "unknown field"},
	{ENTRY "  hosts: [a.b]\n  addresses: [10.0.0.0/33]\n", "spec.addresses[0]",
	 "expected an IP address or CIDR"},
	{ENTRY "  hosts: [a.b]\n  ports: [{number: 0, name: a}]\n", "spec.ports[0].number",
	 "from 1 to 65535"},
	{ENTRY "  hosts: [a.b]\n  ports: [{number: 1}]\n", "spec.ports[0].name", "required"},
	{ENTRY "  hosts: [a.b]\n  ports: [{number: 1, name: a, protocol: FTP}]\n",
	 "spec.ports[0].protocol", "expected one of HTTP"},
	{ENTRY "  hosts: [a.b]\n  ports: [{number: 1, name: a}, {number: 1, name: b}]\n",
	 "spec.ports[1]", "the same number or name as ports[0]"},
	{ENTRY "  hosts: [a.b]\n  resolution: static\n", "spec.resolution", "expected one of NONE"},
	{ENTRY "  hosts: ['*.b']\n  resolution: DNS\n", "spec.hosts", "cannot be resolved"},
	{ENTRY "  hosts: [a.b]\n  endpoints: [{address: 10.0.0.1}]\n", "spec.endpoints",
	 "not with resolution NONE"},
	{ENTRY "  hosts: [a.b]\n  resolution: STATIC\n  endpoints: [{address: c.d}]\n",
	 "spec.endpoints[0].address", "expected an IP address with resolution STATIC"},
	{ENTRY "  hosts: [a.b]\n  resolution: STATIC\n  endpoints: [{weight: 1}]\n",
	 "spec.endpoints[0].address", "required"},
	{ENTRY "  hosts: [a.b]\n  resolution: STATIC\n  endpoints: [{address: 'unix:/x'}]\n",
	 "spec.endpoints[0].address", "UNIX socket"},
	{ENTRY "  hosts: [a.b]\n  resolution: STATIC\n  endpoints: [{address: 'unix://x'}]\n",
	 "spec.endpoints[0].address", "UNIX socket"},
	{ENTRY "  hosts: [a.b]\n  resolution: STATIC\n  endpoints: [{address: 'unix://@'}]\n",
	 "spec.endpoints[0].address", "UNIX socket"},
	{ENTRY "  hosts: [a.b]\n  resolution: DNS\n  endpoints: [{address: 'unix:///x'}]\n",
	 "spec.endpoints[0].address", "UNIX socket"},
	{ENTRY "  hosts: [a.b]\n  resolution: STATIC\n  endpoints: [{address: 10.0.0.1, ports: {x: "
	       "1}}]\n",
	 "spec.endpoints[0].ports.x", "no port of the ServiceEntry"},
	{ENTRY "  hosts: [a.b]\n  resolution: STATIC\n  workloadSelector: {labels: {a: b}}\n  "
	       "endpoints: [{address: 10.0.0.1}]\n",
	 "spec.endpoints", "not together with workloadSelector"},
	{ENTRY "  hosts: [a.b]\n  resolution: DNS\n  endpoints: [{network: n2}]\n",
	 "spec.endpoints[0].address", "required"},
	{WORKLOAD "{labels: {a: b}}\n", "spec.address", "required"},
	{WORKLOAD "{address: A_B}\n", "spec.address", "expected an IP address or a DNS name"},
	{"apiVersion: v2\nkind: Pod\nmetadata: {name: x}\n", "apiVersion",
	 "expected \"v1\" for kind Pod"},
	{"kind: Pod\nmetadata: {name: x}\n", "apiVersion", "expected \"v1\""},
	{"apiVersion: v1\nkind: Pod\n", "metadata", "required"},
	{"apiVersion: v1\nkind: Pod\nmetadata: {}\n", "metadata.name", "required"},
	{"apiVersion: v1\nkind: Pod\nmetadata: [x]\n", "metadata",
	 "expected a mapping, got a list"},
	{"apiVersion: v1\nkind: Pod\nmetadata: {name: X_Y}\n", "metadata.name", "got \"X_Y\""},
	{"apiVersion: v1\nkind: Pod\nmetadata: {name: 7}\n", "metadata.name", "(put it in quotes)"},
	{"apiVersion: v1\nkind: Namespace\nmetadata: {name: " SIXTY_FOUR "}\n", "metadata.name",
	 "at most 63"},
	{"apiVersion: v1\nkind: Service\nmetadata: {name: " SIXTY_FOUR "}\nspec: {}\n",
	 "metadata.name", "at most 63"},
	{"apiVersion: v1\nkind: Pod\nmetadata: {name: x, namespace: a.b}\n", "metadata.namespace",
	 "expected a namespace"},
	{"apiVersion: v1\nkind: Pod\nmetadata: {name: x, label: {a: b}}\n", "metadata.label",
	 "unknown field"},
	{"apiVersion: v1\nkind: Pod\nmetadata: {name: x, labels: {a: 1}}\n", "metadata.labels.a",
	 "(put it in quotes)"},
	{"apiVersion: v1\nkind: Pod\nmetadata: {name: x, labels: {a: yes}}\n", "metadata.labels.a",
	 "got true"},
	{"apiVersion: v1\nkind: Pod\nmetadata: {name: x, labels: {a: }}\n", "metadata.labels.a",
	 "got nothing"},
	{"apiVersion: v1\nkind: Pod\nmetadata: {name: x, labels: {a.b/c d: e}}\n",
	 "metadata.labels[a.b/c d]", "as key"},
	{"apiVersion: v1\nkind: Namespace\nmetadata: {name: x, namespace: y}\n",
	 "metadata.namespace", "in no namespace"},
	{META("Pod") "specs: {}\n", "specs", "unknown field"},
	{META("Pod") "spec: {hostNetwrok: true}\n", "spec.hostNetwrok", "unknown field"},
	{META("Pod") "spec: {hostNetwork: 'true'}\n", "spec.hostNetwork",
	 "expected true or false, got \"true\""},
	{META("Pod") "spec: {containers: {name: c}}\n", "spec.containers", "expected a list"},
	{META("Pod") "spec: {containers: [{image: x}]}\n", "spec.containers[0].name", "required"},
	{META("Pod") "spec: {containers: [{name: c, ports: [{containerPort: 0}]}]}\n",
	 "spec.containers[0].ports[0].containerPort", "from 1 to 65535, got the number 0"},
	{META("Pod") "spec: {containers: [{name: c, ports: [{containerPort: 1, protocol: "
		     "tcp}]}]}\n",
	 "spec.containers[0].ports[0].protocol", "expected one of TCP, UDP, SCTP"},
	{META("Pod") "status: {podIP: 10.0.0}\n", "status.podIP", "expected an IP address"},
	{META("Pod") "status: {podIPs: [10.0.0.1]}\n", "status.podIPs[0]", "expected a mapping"},
	{META("Pod") "status: {conditions: [{type: Ready, status: false}]}\n",
	 "status.conditions[0].status", "\"False\""},
	{"apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: d}\nspec: {template: {spec: "
	 "{}}}\n",
	 "spec.selector", "required"},
	{SERVICE, "spec", "required"},
	{SERVICE "spec: {}\n", "spec.ports", "required"},
	{SERVICE "spec: {ports: [{port: 70000}]}\n", "spec.ports[0].port", "from 1 to 65535"},
	{SERVICE "spec: {ports: [{port: '80'}]}\n", "spec.ports[0].port",
	 "expected an integer, got \"80\""},
	{SERVICE "spec: {ports: [{port: 80.5}]}\n", "spec.ports[0].port",
	 "expected an integer, got the number 80.5"},
	{SERVICE "spec: {ports: [{targetPort: 80}]}\n", "spec.ports[0].port", "required"},
	{SERVICE "spec: {ports: [{port: 80, targetPort: 0}]}\n", "spec.ports[0].targetPort",
	 "expected a port number"},
	{SERVICE "spec: {ports: [{port: 80, targetPort: 'UP'}]}\n", "spec.ports[0].targetPort",
	 "port's name"},
	{SERVICE "spec: {ports: [{port: 80, targetport: 8080}]}\n", "spec.ports[0].targetport",
	 "unknown field"},
	{SERVICE "spec: {ports: [{port: 80}, {port: 81}]}\n", "spec.ports[0].name",
	 "each needs a name"},
	{SERVICE "spec: {ports: [{port: 80, name: a}, {port: 80, name: b}]}\n", "spec.ports[1]",
	 "the same port"},
	{SERVICE "spec: {ports: [{port: 80, name: a}, {port: 81, name: a}]}\n", "spec.ports[1]",
	 "the same port or name"},
	{SERVICE "spec: {selector: app, ports: [{port: 80}]}\n", "spec.selector",
	 "expected a mapping"},
	{SERVICE "spec: {clusterIP: none, ports: [{port: 80}]}\n", "spec.clusterIP",
	 "expected an IP address or None"},
	{SERVICE "spec: {type: clusterip, ports: [{port: 80}]}\n", "spec.type",
	 "expected one of ClusterIP"},
	{SERVICE "spec: {type: ExternalName}\n", "spec.externalName", "required"},
	{SERVICE "spec: {ipFamilies: [IPv5], ports: [{port: 80}]}\n", "spec.ipFamilies[0]",
	 "IPv4, IPv6"},
	{SLICE "endpoints: []\n", "addressType", "required"},
	{SLICE "addressType: IPv4\n", "endpoints", "required"},
	{SLICE "addressType: IPv4\nendpoints: [{addresses: []}]\n", "endpoints[0].addresses",
	 "at least one"},
	{SLICE "addressType: IPv4\nendpoints: [{addresses: ['fd00::1']}]\n",
	 "endpoints[0].addresses[0]", "expected an IPv4"},
	{SLICE "addressType: IPv6\nendpoints: [{addresses: [10.0.0.1]}]\n",
	 "endpoints[0].addresses[0]", "expected an IPv6"},
	{SLICE "addressType: IPv4\nendpoints: [{addresses: [127.0.0.1]}]\n",
	 "endpoints[0].addresses[0]", "loopback"},
	{SLICE "addressType: IPv4\nendpoints: [{addresses: [x]}]\n", "endpoints[0].addresses[0]",
	 "got \"x\""},
	{PEER "spec: {mtls: STRICT}\n", "spec.mtls", "expected a mapping, got \"STRICT\""},
	{PEER "spec: {mtls: {mode: strict}}\n", "spec.mtls.mode",
	 "expected one of UNSET, DISABLE, PERMISSIVE, STRICT"},
	{PEER "spec: {mtls: {mod: STRICT}}\n", "spec.mtls.mod", "unknown field"},
	{PEER "mtls: {mode: STRICT}\n", "mtls", "unknown field"},
	{PEER "spec: {portLevelMtls: {80: {mode: STRICT}}}\n", "spec.portLevelMtls",
	 "needs a selector"},
	{PEER "spec: {selector: {matchLabels: {a: b}}, portLevelMtls: {http: {mode: STRICT}}}\n",
	 "spec.portLevelMtls.http", "expected a port number"},
	{PEER "spec: {selector: {app: a}}\n", "spec.selector.app", "unknown field"},
	{"apiVersion: security.istio.io/v1alpha1\nkind: PeerAuthentication\nmetadata: {name: x}\n",
	 "apiVersion", "expected \"security.istio.io/v1\""},
	{POLICY "spec: {action: deny, rules: [{}]}\n", "spec.action", "expected one of ALLOW"},
	{POLICY "action: DENY\nspec: {selector: {matchLabels: {app: ratings}}}\n", "action",
	 "unknown field"},
	{POLICY "spec: {action: DENY}\n", "spec.rules", "DENY without rules"},
	{POLICY "spec: {action: CUSTOM, rules: [{}]}\n", "spec.provider", "required"},
	{POLICY "spec: {rules: {from: []}}\n", "spec.rules", "expected a list"},
	{POLICY "spec: {rules: [null]}\n", "spec.rules[0]", "expected a mapping, got nothing"},
	{POLICY "spec: {rules: [{from: [{source: {}}]}]}\n", "spec.rules[0].from[0].source",
	 "at least one field"},
	{POLICY "spec: {rules: [{from: [{source: {principals: [], notIpBlocks: []}}]}]}\n",
	 "spec.rules[0].from[0].source", "at least one field"},
	{POLICY "spec: {rules: [{to: [{operation: {ports: [], methods: null}}]}]}\n",
	 "spec.rules[0].to[0].operation", "at least one field"},
	{POLICY "spec: {rules: [{when: [{key: source.ip, values: [], notValues: []}]}]}\n",
	 "spec.rules[0].when[0].values", "required"},
	{POLICY "spec: {rules: [{from: [{principals: [a]}]}]}\n",
	 "spec.rules[0].from[0].principals", "unknown field"},
	{POLICY "spec: {rules: [{from: [{source: {principals: a}}]}]}\n",
	 "spec.rules[0].from[0].source.principals", "expected a list"},
	{POLICY "spec: {rules: [{from: [{source: {principals: ['']}}]}]}\n",
	 "spec.rules[0].from[0].source.principals[0]", "not empty"},
	{POLICY "spec: {rules: [{from: [{source: {trustDomains: ['']}}]}]}\n",
	 "spec.rules[0].from[0].source.trustDomains[0]", "not empty"},
	{POLICY "spec: {rules: [{from: [{source: {ipBlocks: [10.0.0.0/40]}}]}]}\n",
	 "spec.rules[0].from[0].source.ipBlocks[0]", "IP address or CIDR"},
	{POLICY "spec: {action: DENY, rules: [{from: [{source: {serviceAccounts: ['b/*']}}]}]}\n",
	 "spec.rules[0].from[0].source.serviceAccounts[0]", "no wildcard"},
	{POLICY "spec: {rules: [{from: [{source: {notServiceAccounts: [a, b/c/d]}}]}]}\n",
	 "spec.rules[0].from[0].source.notServiceAccounts[1]", "NAMESPACE/NAME"},
	{POLICY "spec: {rules: [{when: [{key: source.serviceAccount, values: [/a]}]}]}\n",
	 "spec.rules[0].when[0].values[0]", "NAMESPACE/NAME"},
	{POLICY "spec: {rules: [{when: [{key: source.serviceAccount, notValues: [a/]}]}]}\n",
	 "spec.rules[0].when[0].notValues[0]", "NAMESPACE/NAME"},
	{POLICY "spec: {rules: [{from: [{source: {serviceAccounts: [a], namespaces: [b]}}]}]}\n",
	 "spec.rules[0].from[0].source", "cannot stand beside"},
	{POLICY "spec: {rules: [{to: [{operation: {ports: [80]}}]}]}\n",
	 "spec.rules[0].to[0].operation.ports[0]", "(put it in quotes)"},
	{POLICY "spec: {rules: [{to: [{operation: {ports: ['http']}}]}]}\n",
	 "spec.rules[0].to[0].operation.ports[0]", "port number"},
	{POLICY "spec: {rules: [{to: [{operation: {}}]}]}\n", "spec.rules[0].to[0].operation",
	 "at least one field"},
	{POLICY "spec: {rules: [{when: [{key: source.port, values: ['1']}]}]}\n",
	 "spec.rules[0].when[0].key", "unknown"},
	{POLICY "spec: {rules: [{when: [{key: source.ip}]}]}\n", "spec.rules[0].when[0].values",
	 "required"},
	{POLICY "spec: {rules: [{when: [{key: source.ip, values: [x]}]}]}\n",
	 "spec.rules[0].when[0].values[0]", "CIDR"},
	{POLICY "spec: {rules: [{when: [{key: destination.port, notValues: ['0']}]}]}\n",
	 "spec.rules[0].when[0].notValues[0]", "port number"},
	{POLICY "spec: {selector: {matchLabels: {a: b}}, targetRefs: [{name: x}]}\n",
	 "spec.selector", "beside targetRefs"},
};

static void each_mistake_is_told(void **state)
{
	struct findings f;
	char want[256];

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		const char *got = check_text(bad[i].yaml, &f), *at;

		(void)snprintf(want, sizeof(want), "%s: ", bad[i].field);
		at = strncmp(got, want, strlen(want)) == 0 ? got : strstr(got, want);
		if (!at || !strstr(at, bad[i].message))
			fail_msg("case %zu: wanted \"%s%s\", got \"%s\"", i, want, bad[i].message,
				 got);
	}
}

/* Istio's webhook refuses it; it is honoured where it is there. */
static const struct mistake doubtful[] = {
	{ENTRY "  hosts: [a.b]\n  ports: [{number: 1, name: A_b}]\n", "spec.ports[0].name",
	 "expected a DNS label"},
	{ENTRY "  hosts: [a.b]\n  ports: [{number: 1, name: " SIXTY_FOUR "}]\n",
	 "spec.ports[0].name", "expected a DNS label"},
	{ENTRY "  hosts: [a.b]\n  addresses: [10.0.0.1, 10.1.0.0/16]\n  resolution: DNS\n",
	 "spec.addresses[1]", "a CIDR"},
	{ENTRY "  hosts: ['*.b']\n  addresses: [10.1.0.0/16]\n  resolution: DYNAMIC_DNS\n",
	 "spec.addresses[0]", "a CIDR"},
	{ENTRY
	 "  hosts: [a.b, c.d]\n  resolution: STATIC\n  ports: [{number: 1, name: a, protocol: "
	 "HTTP}, {number: 2, name: b, protocol: tcp}]\n",
	 "spec.ports[1]", "several hosts"},
	{ENTRY "  hosts: [a.b, c.d]\n  resolution: DNS\n  ports: [{number: 1, name: a}]\n",
	 "spec.ports[0]", "several hosts"},
	{ENTRY "  hosts: [a.b, c.d]\n  resolution: DNS\n  ports: [{number: 1, name: a, protocol: "
	       "MySQL}]\n",
	 "spec.ports[0]", "several hosts"},
	{ENTRY "  hosts: [a.b]\n  resolution: DNS_ROUND_ROBIN\n  endpoints: [{address: c.d}, "
	       "{address: e.f}]\n",
	 "spec.endpoints", "more than one"},
	{POLICY "spec: {provider: {name: p}, rules: [{}]}\n", "spec.provider",
	 "only with action CUSTOM"},
	{POLICY "spec: {action: CUSTOM, provider: {name: p}}\n", "spec.rules", "required"},
	{POLICY "spec: {rules: [{}, {when: [{key: source.ip, values: [10.0.0.1]}, {key: "
		"'request.header[x]', values: [y]}]}]}\n",
	 "spec.rules[1].when[1].key", "no attribute"},
	{POLICY "spec: {rules: [{when: [{key: request.headers, values: [y]}]}]}\n",
	 "spec.rules[0].when[0].key", "no attribute"},
	{POLICY "spec: {rules: [{when: [{key: 'request.headers[]', values: [y]}]}]}\n",
	 "spec.rules[0].when[0].key", "no attribute"},
	{POLICY "spec: {rules: [{when: [{key: request.auth.principals, values: [y]}]}]}\n",
	 "spec.rules[0].when[0].key", "no attribute"},
	{POLICY "spec: {rules: [{when: [{key: 'experimental.x[y]', values: [y]}]}]}\n",
	 "spec.rules[0].when[0].key", "no attribute"},
};

static void what_is_doubtful_is_told_apart(void **state)
{
	struct findings f;
	char want[256];

	for (size_t i = 0; i < ARRAY_SIZE(doubtful); i++) {
		assert_string_equal(check_text(doubtful[i].yaml, &f), "");
		(void)snprintf(want, sizeof(want), "%s: %s", doubtful[i].field,
			       doubtful[i].message);
		if (strncmp(doubt_text(doubtful[i].yaml, &f), want, strlen(want)) != 0)
			fail_msg("case %zu: wanted \"%s\", got \"%s\"", i, want, f.text);
	}
	for (size_t i = 0; i < ARRAY_SIZE(good); i++)
		assert_string_equal(doubt_text(good[i], &f), "");
}

static void one_object_cannot_flood_the_log(void **state)
{
	char yaml[4096] = META("Pod") "spec:\n";
	struct findings f;
	size_t lines = 0;

	for (int i = 0; i < 100; i++)
		(void)sprintf(yaml + strlen(yaml), "  unknown%d: 1\n", i);
	for (const char *s = check_text(yaml, &f); (s = strchr(s, '\n')); s++)
		lines++;
	assert_int_equal(lines, 16);
}

/* Of Istio's: what may be written has a table, and what has one is said to do nothing. */
static void each_kind_without_effect_has_a_table(void **state)
{
	const struct honoured_kind *kinds;
	size_t n, n_tables = 0;

	kinds = honoured_none(&n);
	for (size_t i = 0; i < n; i++) {
		const struct schema_kind *k = schema_kind_of(kinds[i].versions[0], kinds[i].kind);
		size_t v = 0;

		if (strncmp(kinds[i].versions[0], HONOURED_GATEWAY_API "/",
			    sizeof(HONOURED_GATEWAY_API)) == 0) {
			assert_null(k);
			continue;
		}
		assert_non_null(k);
		assert_true(k->is_unread);
		assert_null(schema_kind_find(kinds[i].kind));
		for (; k->api_versions[v]; v++)
			assert_string_equal(k->api_versions[v], kinds[i].versions[v]);
		assert_null(kinds[i].versions[v]);
		n_tables++;
	}
	for (const struct schema_kind *k = schema_kinds_unread; k->kind; k++)
		n_tables--;
	assert_int_equal(n_tables, 0);
	assert_null(schema_kind_of("gateway.networking.k8s.io", "Gateway"));
	assert_null(schema_kind_of("networking", "Gateway"));
	assert_non_null(schema_kind_of("security.istio.io", "AuthorizationPolicy"));
}

static void kinds_are_known_by_name(void **state)
{
	assert_null(schema_kind_find("Deploymnet"));
	assert_null(schema_kind_find(""));
	assert_non_null(strstr(schema_kind_names(), "AuthorizationPolicy"));
	assert_true(schema_kind_find("AuthorizationPolicy")->is_security);
	assert_false(schema_kind_find("Node")->is_namespaced);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_is_right_passes),
		cmocka_unit_test(each_mistake_is_told),
		cmocka_unit_test(what_is_doubtful_is_told_apart),
		cmocka_unit_test(one_object_cannot_flood_the_log),
		cmocka_unit_test(each_kind_without_effect_has_a_table),
		cmocka_unit_test(kinds_are_known_by_name),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

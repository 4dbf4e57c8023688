/* SPDX-License-Identifier: Apache-2.0 */
/* lab_expand - Deployments become pods with stable names; nodes and addresses are chosen; nonsense
 * is refused. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "userspace/cli/lab.h"

static void lab_start(struct lab *l)
{
	*l = (struct lab){.node_count = 2, .lock_fd = -EBADF};
	l->objects = json_array();
	l->desired = json_array();
	l->services = json_array();
	l->pods = json_object();
}

static int add(struct lab *l, const char *text)
{
	json_t *j = json_loads(text, 0, NULL);
	int r;

	assert_non_null(j);
	r = lab_add_object(l, j);
	json_decref(j);
	return r;
}

#define DEPLOYMENT(replicas, image)                                                                \
	"{\"kind\":\"Deployment\",\"metadata\":{\"namespace\":\"demo\",\"name\":\"web\"},"         \
	"\"spec\":{\"replicas\":" replicas ",\"template\":{\"metadata\":{\"labels\":{\"app\":"     \
	"\"web\"}},\"spec\":{\"containers\":[{\"image\":\"" image "\"}]}}}}"

static const char *pod_name(const struct lab *l, size_t i)
{
	return lab_str(json_array_get(l->desired, i), "metadata.name", "");
}

static void a_deployment_makes_its_replicas(void **state)
{
	struct lab l;

	lab_start(&l);
	assert_int_equal(add(&l, DEPLOYMENT("3", "nginx")), 0);
	assert_int_equal(json_array_size(l.desired), 3);
	assert_int_equal(json_array_size(l.objects), 1);
	assert_int_equal(strncmp(pod_name(&l, 0), "web-", 4), 0);
	assert_string_not_equal(pod_name(&l, 0), pod_name(&l, 1));
	assert_string_equal(lab_str(json_array_get(l.desired, 0), "metadata.labels.app", ""),
			    "web");
	assert_non_null(lab_get(json_array_get(l.desired, 0), "metadata.labels.pod-template-hash"));
	assert_string_equal(lab_str(json_array_get(l.desired, 0), "spec.serviceAccountName", ""),
			    "default");
	lab_close(&l);
}

static void names_depend_on_the_template_only(void **state)
{
	struct lab a, b, c;

	lab_start(&a);
	lab_start(&b);
	lab_start(&c);
	assert_int_equal(add(&a, DEPLOYMENT("1", "nginx")), 0);
	assert_int_equal(add(&b, DEPLOYMENT("2", "nginx")), 0);
	assert_int_equal(add(&c, DEPLOYMENT("1", "httpd")), 0);
	assert_string_equal(pod_name(&a, 0), pod_name(&b, 0));
	assert_string_not_equal(pod_name(&a, 0), pod_name(&c, 0));
	lab_close(&a);
	lab_close(&b);
	lab_close(&c);
}

static void refuses_a_deployment_without_a_template(void **state)
{
	struct lab l;

	lab_start(&l);
	assert_int_equal(
		add(&l, "{\"kind\":\"Deployment\",\"metadata\":{\"name\":\"x\"},\"spec\":{}}"),
		-EINVAL);
	lab_close(&l);
}

static json_t *scheduled(struct lab *l, const char *text, int want)
{
	json_t *pod = json_loads(text, 0, NULL);
	char key[LAB_PATH_MAX];

	assert_int_equal(lab_schedule(l, pod), want);
	json_object_set_new(l->pods, lab_key(pod, key, sizeof(key)), pod);
	return pod;
}

static void pods_spread_and_get_addresses_of_their_node(void **state)
{
	struct lab l;
	json_t *a, *b, *c;

	lab_start(&l);
	a = scheduled(&l, "{\"metadata\":{\"name\":\"a\"},\"spec\":{}}", 0);
	b = scheduled(&l, "{\"metadata\":{\"name\":\"b\"},\"spec\":{}}", 0);
	c = scheduled(&l,
		      "{\"metadata\":{\"name\":\"c\"},\"spec\":{\"nodeSelector\":{\"kubernetes.io/"
		      "hostname\":\"n2\"}}}",
		      0);
	assert_string_equal(lab_str(a, "status.podIP", ""), "10.244.1.2");
	assert_string_equal(lab_str(b, "status.podIP", ""), "10.244.2.2");
	assert_string_equal(lab_str(c, "status.podIP", ""), "10.244.2.3");
	assert_string_equal(lab_str(json_array_get(lab_get(c, "status.podIPs"), 1), "ip", ""),
			    "fd00:10:244:2::3");
	lab_close(&l);
}

static void refuses_a_node_that_is_not_there(void **state)
{
	struct lab l;

	lab_start(&l);
	(void)scheduled(&l, "{\"metadata\":{\"name\":\"a\"},\"spec\":{\"nodeName\":\"n9\"}}",
			-EINVAL);
	lab_close(&l);
}

static void a_full_node_takes_no_more(void **state)
{
	struct lab l;
	char text[128];

	lab_start(&l);
	l.node_count = 1;
	for (int i = LAB_POD_FIRST; i <= LAB_POD_LAST; i++) {
		(void)snprintf(text, sizeof(text), "{\"metadata\":{\"name\":\"p%d\"},\"spec\":{}}",
			       i);
		(void)scheduled(&l, text, 0);
	}
	(void)scheduled(&l, "{\"metadata\":{\"name\":\"last\"},\"spec\":{}}", -ENOSPC);
	lab_close(&l);
}

static void images_are_found_by_name(void **state)
{
	static const char *const nginx[] = {"nginx", "nginx:alpine", "docker.io/library/nginx:1.27",
					    "nginx@sha256:00"};

	for (size_t i = 0; i < ARRAY_SIZE(nginx); i++)
		assert_string_equal(lab_image_find(nginx[i])->name, "nginx");
	assert_string_equal(lab_image_find("httpd:2.4")->name, "httpd");
	assert_null(lab_image_find("nginx-exporter")->argv);
	assert_null(lab_image_find("")->argv);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_deployment_makes_its_replicas),
		cmocka_unit_test(names_depend_on_the_template_only),
		cmocka_unit_test(refuses_a_deployment_without_a_template),
		cmocka_unit_test(pods_spread_and_get_addresses_of_their_node),
		cmocka_unit_test(refuses_a_node_that_is_not_there),
		cmocka_unit_test(a_full_node_takes_no_more),
		cmocka_unit_test(images_are_found_by_name),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

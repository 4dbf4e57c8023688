/* SPDX-License-Identifier: Apache-2.0 */
/* passed - what is remembered of the connections that go past the mesh. */
#include <netinet/in.h>
#include <string.h>
#include <unistd.h>

#include "harness.h"
#include "net/addr.h"
#include "stage.h"
#include "watch.h"

#define HOST4 PEER4 ":8080"
#define HOST6 "[" PEER6 "]:8080"

static void mark_put(uint32_t mark)
{
	struct cv_passed_key key = {.reason = mark};
	struct cv_passed value = {.first_ns = 1};

	CHECK_OK(bpf_map_update_elem(bpf_map__fd(skel->maps.cv_passed), &key, &value, BPF_ANY));
}

static bool find(const struct cv_passed_key *key, struct cv_passed *ret)
{
	return bpf_map_lookup_elem(bpf_map__fd(skel->maps.cv_passed), key, ret) == 0;
}

static struct cv_passed made(void)
{
	struct cv_passed_key key = {.reason = CV_PASSED_MADE};
	struct cv_passed p;

	CHECK(find(&key, &p));
	return p;
}

static bool remembered(const char *to, uint32_t reason, struct cv_passed *ret)
{
	struct cv_passed_key key = {.netns_cookie = pod.cookie, .reason = reason};
	struct cv_sockaddr sa;

	CHECK_OK(cv_sockaddr_parse(to, &sa));
	key.addr = sa.addr;
	key.port = sa.port;
	return find(&key, ret);
}

/* How often connections go there does not matter: the hook comes before the first packet. */
static void dial(int family, const char *to)
{
	int fd = tcp(family);

	set_nonblock(fd);
	(void)connect_to(fd, family, to);
	close(fd);
}

static void check_remembered(int family, const char *to, uint32_t reason, const char *from)
{
	struct cv_passed p, again;
	struct cv_addr src;

	mark_put(CV_PASSED_MADE);
	dial(family, to);
	CHECK(remembered(to, reason, &p));
	CHECK_EQ(p.count, 1);
	CHECK_EQ(p.first_ns, p.last_ns);
	CHECK_OK(cv_addr_parse(from, &src));
	CHECK(cv_addr_equal(&p.src, &src));
	CHECK_STR(p.pod, pod.value.name);
	dial(family, to);
	CHECK(remembered(to, reason, &again));
	CHECK_EQ(again.count, 2);
	CHECK_EQ(again.first_ns, p.first_ns);
	CHECK(again.last_ns > p.last_ns);
	CHECK_EQ(made().count, 1);
	CHECK_EQ(made().last_ns, 0);
	CHECK_EQ(map_size(skel->maps.cv_passed), 2);
	CHECK_EQ(counted(reason), 2);
}

TEST(ipv4_that_passes_is_remembered_once_and_counted)
{
	check_remembered(AF_INET, HOST4, CV_PASSTHROUGH, POD4);
}

TEST(ipv6_that_passes_is_remembered_once_and_counted)
{
	check_remembered(AF_INET6, HOST6, CV_PASSTHROUGH, POD6);
}

TEST(mapped_ipv4_that_passes_is_remembered_as_ipv4)
{
	check_remembered(AF_INET6, HOST4, CV_PASSTHROUGH, POD4);
}

TEST(what_an_annotation_excludes_is_remembered_as_that)
{
	struct cv_outbound_key key = {
		.prefix_len = CV_OUTBOUND_PREFIX + 128,
		.kind = CV_OUT_EXCLUDE_PORT,
		.netns_cookie = pod.cookie,
	};
	uint32_t one = 1;

	key.addr.w[0] = 80;
	CHECK_OK(bpf_map_update_elem(bpf_map__fd(skel->maps.cv_outbound_rules), &key, &one,
				     BPF_ANY));
	pod_flags(CV_POD_ALIVE | CV_POD_CAPTURE | CV_POD_OUT_RULES);
	check_remembered(AF_INET, MESH4, CV_EXCLUDED, POD4);
}

TEST(a_pod_that_dials_its_own_address_is_remembered_its_loopback_is_not)
{
	struct cv_passed p;

	check_remembered(AF_INET, POD4 ":8080", CV_SELF, POD4);
	dial(AF_INET, "127.0.0.1:8080");
	dial(AF_INET, "0.0.0.0:8080");
	CHECK(!remembered("127.0.0.1:8080", CV_SELF, &p));
	CHECK_EQ(map_size(skel->maps.cv_passed), 2);
	CHECK_EQ(counted(CV_SELF), 4);
}

TEST(what_is_captured_or_refused_is_not_remembered_here)
{
	mark_put(CV_PASSED_MADE);
	CHECK_OK(connected(AF_INET, MESH4));
	pod_flags(CV_POD_ALIVE | CV_POD_CAPTURE | CV_POD_REGISTRY_ONLY);
	dial(AF_INET, HOST4);
	check_dropped(CV_DROP_REGISTRY_ONLY, HOST4);
	CHECK_EQ(map_size(skel->maps.cv_passed), 1);
}

TEST(a_destination_that_finds_no_room_passes_and_the_moment_is_kept)
{
	struct cv_passed_key key = {.netns_cookie = UINT64_MAX};
	int fd = bpf_map__fd(skel->maps.cv_passed);
	struct cv_passed p = {.count = 1};
	uint64_t first;

	mark_put(CV_PASSED_MADE);
	dial(AF_INET, HOST4);
	/* the kernel counts entries by CPU: a few more may fit */
	for (key.port = 1; key.port < UINT16_MAX; key.port++)
		if (bpf_map_update_elem(fd, &key, &p, BPF_ANY) < 0)
			break;
	CHECK(key.port >= CV_PASSED_MAX / 2);
	dial(AF_INET6, HOST6);
	CHECK(!remembered(HOST6, CV_PASSTHROUGH, &p));
	CHECK_EQ(counted(CV_PASSTHROUGH), 2);
	CHECK_EQ(made().count, 1);
	first = made().last_ns;
	CHECK(first > 0);
	dial(AF_INET, HOST4); /* what is there is counted on */
	CHECK(remembered(HOST4, CV_PASSTHROUGH, &p));
	CHECK_EQ(p.count, 2);
	CHECK_EQ(made().last_ns, first);
}

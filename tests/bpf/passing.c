/* SPDX-License-Identifier: Apache-2.0 */
/* passing - ways around connect(2): io_uring, sockets that change hands; others on the same kernel.
 */
#include <errno.h>
#include <liburing.h>
#include <netinet/in.h>
#include <sched.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/macros.h"
#include "harness.h"
#include "stage.h"
#include "watch.h"

static int uring_connect(int fd, const char *to)
{
	struct io_uring ring;
	struct io_uring_cqe *cqe;
	struct sockaddr_storage ss;
	socklen_t len = native(to, AF_INET, &ss);
	int r;

	r = io_uring_queue_init(4, &ring, 0);
	if (r < 0)
		test_skip("no io_uring");
	io_uring_prep_connect(io_uring_get_sqe(&ring), fd, (struct sockaddr *)&ss, len);
	CHECK_EQ(io_uring_submit(&ring), 1);
	CHECK_EQ(io_uring_wait_cqe(&ring, &cqe), 0);
	r = cqe->res;
	io_uring_queue_exit(&ring);
	return r;
}

TEST(io_uring_connect_is_captured)
{
	int client = tcp(AF_INET), z;
	const char *shown;

	CHECK_EQ(uring_connect(client, MESH4), 0);
	z = ztunnel_accept(&shown);
	CHECK_STR(shown, MESH4);
	CHECK_NAME(client, MESH4);
	exchange(client, z);
}

TEST(io_uring_connect_is_refused_without_a_ztunnel)
{
	pod_flags(CV_POD_CAPTURE);
	CHECK_EQ(uring_connect(tcp(AF_INET), MESH4), -ECONNREFUSED);
	check_dropped(CV_DROP_ZTUNNEL_DEAD, MESH4);
}

TEST(io_uring_accept_shows_the_destination)
{
	struct io_uring ring;
	struct io_uring_cqe *cqe;
	struct sockaddr_storage ss;
	socklen_t len = sizeof(ss);
	int z;

	CHECK_OK(connected(AF_INET, MESH4));
	CHECK(is_readable(pod.outbound[0], WAIT_MS));
	if (io_uring_queue_init(4, &ring, 0) < 0)
		test_skip("no io_uring");
	io_uring_prep_accept(io_uring_get_sqe(&ring), pod.outbound[0], (struct sockaddr *)&ss, &len,
			     SOCK_CLOEXEC);
	CHECK_EQ(io_uring_submit(&ring), 1);
	CHECK_EQ(io_uring_wait_cqe(&ring, &cqe), 0);
	z = cqe->res;
	CHECK(z >= 0);
	CHECK_EQ(((struct sockaddr_in6 *)&ss)->sin6_port, htons(80));
	CHECK(strncmp(peer_name(z), POD4, strlen(POD4)) == 0);
	io_uring_queue_exit(&ring);
}

static void send_fd(int to, int fd)
{
	char control[CMSG_SPACE(sizeof(int))] = {0};
	struct iovec iov = {.iov_base = "f", .iov_len = 1};
	struct msghdr m = {.msg_iov = &iov,
			   .msg_iovlen = 1,
			   .msg_control = control,
			   .msg_controllen = sizeof(control)};
	struct cmsghdr *c = CMSG_FIRSTHDR(&m);

	c->cmsg_level = SOL_SOCKET;
	c->cmsg_type = SCM_RIGHTS;
	c->cmsg_len = CMSG_LEN(sizeof(int));
	memcpy(CMSG_DATA(c), &fd, sizeof(fd));
	CHECK_EQ(sendmsg(to, &m, 0), 1);
}

static int receive_fd(int from)
{
	char control[CMSG_SPACE(sizeof(int))], byte;
	struct iovec iov = {.iov_base = &byte, .iov_len = 1};
	struct msghdr m = {.msg_iov = &iov,
			   .msg_iovlen = 1,
			   .msg_control = control,
			   .msg_controllen = sizeof(control)};
	int fd;

	CHECK_EQ(recvmsg(from, &m, 0), 1);
	CHECK(CMSG_FIRSTHDR(&m) != NULL);
	memcpy(&fd, CMSG_DATA(CMSG_FIRSTHDR(&m)), sizeof(fd));
	return fd;
}

/* A process of another namespace connects a socket that the pod made: the socket's namespace
 * counts. */
TEST(a_socket_passed_to_another_process_is_captured)
{
	int pair[2], status, client, z;
	const char *shown;
	pid_t pid;

	CHECK_OK(socketpair(AF_UNIX, SOCK_STREAM, 0, pair));
	pid = fork();
	CHECK_OK(pid);
	if (pid == 0) {
		client = receive_fd(pair[1]);
		enter_peer();
		CHECK_OK(connect_to(client, AF_INET, MESH4));
		CHECK_NAME(client, MESH4);
		_exit(0);
	}
	client = tcp(AF_INET);
	send_fd(pair[0], client);
	CHECK_EQ(waitpid(pid, &status, 0), pid);
	CHECK_EQ(status, 0);
	z = ztunnel_accept(&shown);
	CHECK_STR(shown, MESH4);
	exchange(client, z);
}

/* The other way round: a process of the pod connects a socket of a namespace that is not enrolled.
 */
TEST(a_socket_of_another_namespace_is_not_the_pods)
{
	int client, listening;

	enter_peer();
	client = tcp(AF_INET);
	listening = listener(AF_INET, MESH4);
	enter_pod();
	CHECK_OK(connect_to(client, AF_INET, MESH4));
	exchange(client, accepted(listening, NULL));
	CHECK_EQ(counted(CV_TUNNEL), 0);
}

TEST(a_kind_follows_a_socket_into_another_process)
{
	int pair[2], status, fd = kind_tcp(AF_INET, CV_SOCKET_DIAL_HBONE);
	pid_t pid;

	CHECK_OK(socketpair(AF_UNIX, SOCK_STREAM, 0, pair));
	pid = fork();
	CHECK_OK(pid);
	if (pid == 0) {
		CHECK_ERRNO(connect_to(receive_fd(pair[1]), AF_INET, PEER4 ":80"), ECONNREFUSED);
		_exit(0);
	}
	send_fd(pair[0], fd);
	CHECK_EQ(waitpid(pid, &status, 0), pid);
	CHECK_EQ(status, 0);
	CHECK_EQ(counted(CV_DROP_KIND), 1);
}

/* Two test nodes share one kernel: each agent's programs see the other's sockets. */
TEST(a_second_agent_on_the_kernel_changes_nothing)
{
	struct culvert_bpf *other;
	int app = listener(AF_INET, "0.0.0.0:80"), client, dial, z;
	const char *shown;

	CHECK_EQ(stage_load(false, &other), 0);
	client = connected(AF_INET, MESH4);
	z = ztunnel_accept(&shown);
	CHECK_STR(shown, MESH4);
	CHECK_NAME(client, MESH4);
	exchange(client, z);
	dial = kind_tcp(AF_INET, CV_SOCKET_DIAL_APP);
	CHECK_OK(set_client(dial, "10.244.7.7:1"));
	CHECK_ERRNO(set_client(tcp(AF_INET), "10.244.7.7:1"), ENOPROTOOPT);
	CHECK_OK(connect_to(dial, AF_INET, POD4 ":80"));
	exchange(dial, accepted(app, &shown));
	CHECK_STR(shown, "10.244.7.7:1");
	pod_flags(CV_POD_CAPTURE);
	CHECK_ERRNO(connect_to(tcp(AF_INET), AF_INET, MESH4), ECONNREFUSED);
	CHECK_EQ(counted(CV_TUNNEL), 1);
	culvert_bpf__destroy(other);
}

#define INSN(op, to, from, at, value)                                                              \
	((struct bpf_insn){                                                                        \
		.code = (op), .dst_reg = (to), .src_reg = (from), .off = (at), .imm = (value)})
#define FIELD(name) ((short)offsetof(struct bpf_sock_ops, name))

/* As another tool would: asks for a call at each measurement of a round trip of what is dialled,
 * and counts them. Attached before our own programs. */
static int attach_rtt_counter(void)
{
	int map = bpf_map_create(BPF_MAP_TYPE_ARRAY, "rtt_calls", 4, 8, 1, NULL);
	const struct bpf_insn insns[] = {
		INSN(BPF_ALU64 | BPF_MOV | BPF_X, 6, 1, 0, 0),
		INSN(BPF_LDX | BPF_MEM | BPF_W, 2, 6, FIELD(op), 0),
		INSN(BPF_JMP | BPF_JNE | BPF_K, 2, 0, 5, BPF_SOCK_OPS_TCP_CONNECT_CB),
		INSN(BPF_LDX | BPF_MEM | BPF_W, 2, 6, FIELD(bpf_sock_ops_cb_flags), 0),
		INSN(BPF_ALU64 | BPF_OR | BPF_K, 2, 0, 0, BPF_SOCK_OPS_RTT_CB_FLAG),
		INSN(BPF_ALU64 | BPF_MOV | BPF_X, 1, 6, 0, 0),
		INSN(BPF_JMP | BPF_CALL, 0, 0, 0, BPF_FUNC_sock_ops_cb_flags_set),
		INSN(BPF_JMP | BPF_JA, 0, 0, 5, 0),
		INSN(BPF_JMP | BPF_JNE | BPF_K, 2, 0, 4, BPF_SOCK_OPS_RTT_CB),
		INSN(BPF_LD | BPF_DW | BPF_IMM, 1, BPF_PSEUDO_MAP_VALUE, 0, map),
		INSN(0, 0, 0, 0, 0),
		INSN(BPF_ALU64 | BPF_MOV | BPF_K, 2, 0, 0, 1),
		INSN(BPF_STX | BPF_ATOMIC | BPF_DW, 1, 2, 0, BPF_ADD),
		INSN(BPF_ALU64 | BPF_MOV | BPF_K, 0, 0, 0, 1),
		INSN(BPF_JMP | BPF_EXIT, 0, 0, 0, 0),
	};
	int prog =
		bpf_prog_load(BPF_PROG_TYPE_SOCK_OPS, "rtt", "GPL", insns, ARRAY_SIZE(insns), NULL);
	int cgroup = stage_cgroup_open();

	CHECK_OK(map);
	CHECK_OK(prog);
	CHECK_OK(cgroup);
	CHECK_OK(bpf_prog_attach(prog, cgroup, BPF_CGROUP_SOCK_OPS, BPF_F_ALLOW_MULTI));
	close_fd(cgroup);
	return map;
}

static uint64_t calls(int map)
{
	uint32_t first = 0;
	uint64_t n = 0;

	CHECK_OK(bpf_map_lookup_elem(map, &first, &n));
	return n;
}

/* Callback flags belong to the socket, not to one program. */
TEST(callbacks_that_another_program_asked_for_go_on)
{
	int map, client, z;

	stage_cgroup_leave();
	CHECK_OK(stage_cgroup("culvert-test-bpf-beside"));
	map = attach_rtt_counter();
	CHECK_OK(stage_load(false, &skel));
	stage_pod();
	watch_start();
	client = connected(AF_INET, MESH4);
	z = ztunnel_accept(NULL);
	exchange(client, z);
	CHECK(calls(map) > 0);
	stage_cgroup_leave();
}

/* SPDX-License-Identifier: Apache-2.0 */
/* calls - which of the kernel's functions the programs call: those of the oldest kernel that they
 * are for, and newer ones that are asked for before. A kernel that serves as an older one
 * (CULVERT_KERNEL_LEVEL) has those, too. */
#include <linux/bpf.h>

#include "harness.h"

/* The last of Linux 5.15: task_pt_regs. */
#define LAST_OF_5_15 175

/* Whether it is one of those that datapath_load.c probes and has left out where they are not. */
static bool is_probed(int32_t helper)
{
	return helper == BPF_FUNC_set_retval;
}

static void check_call(const char *program, const struct bpf_insn *insn)
{
	if (insn->code != (BPF_JMP | BPF_CALL))
		return;
	if (insn->src_reg == BPF_PSEUDO_KFUNC_CALL)
		test_fail(__FILE__, __LINE__, "%s calls a kernel function without a helper",
			  program);
	if (insn->src_reg == 0 && insn->imm > LAST_OF_5_15 && !is_probed(insn->imm))
		test_fail(__FILE__, __LINE__, "%s calls helper %d, which Linux 5.15 does not have",
			  program, insn->imm);
}

TEST(every_helper_is_one_of_linux_5_15_or_asked_for)
{
	struct bpf_program *program;
	unsigned int calls = 0;

	bpf_object__for_each_program(program, skel->obj)
	{
		const struct bpf_insn *insns = bpf_program__insns(program);

		for (size_t i = 0; i < bpf_program__insn_cnt(program); i++) {
			check_call(bpf_program__name(program), &insns[i]);
			calls += insns[i].code == (BPF_JMP | BPF_CALL);
		}
	}
	CHECK(calls > 100);
}

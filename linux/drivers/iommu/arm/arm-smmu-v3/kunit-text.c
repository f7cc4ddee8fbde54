// SPDX-License-Identifier: GPL-2.0-only
/*
 * SMMUv3 instances made of memory: what was sent to them, one command in a line
 *
 *	cfgi_ste sid=4000 leaf
 *	nh_va asid=1 addr=10000 pages=2 ttl=3 leaf
 *	atc sid=4000 ssid=5 addr=10000 pages=2
 *	sync
 *
 * "pages" is there if the command has a range; a TLBI without is of one address. An ATC
 * invalidation without "ssid" is one without SSV.
 */
#include <linux/bitfield.h>

#include "kunit-mock.h"

static void smmu_print_asid(struct seq_buf *s, const struct smmu_cmd *cmd)
{
	seq_buf_printf(s, " asid=%u", (u16)FIELD_GET(CMDQ_TLBI_0_ASID, cmd->qw[0]));
}

/* VMID 0 is that of all first stages. */
static void smmu_print_vmid(struct seq_buf *s, const struct smmu_cmd *cmd)
{
	u16 vmid = FIELD_GET(CMDQ_TLBI_0_VMID, cmd->qw[0]);

	if (vmid || cmd->op == CMDQ_OP_TLBI_S12_VMALL || cmd->op == CMDQ_OP_TLBI_S2_IPA)
		seq_buf_printf(s, " vmid=%u", vmid);
}

static void smmu_print_range(struct seq_buf *s, const struct smmu_cmd *cmd)
{
	unsigned int scale = FIELD_GET(CMDQ_TLBI_0_SCALE, cmd->qw[0]);
	unsigned int ttl = FIELD_GET(CMDQ_TLBI_1_TTL, cmd->qw[1]);
	unsigned int tg = FIELD_GET(CMDQ_TLBI_1_TG, cmd->qw[1]);
	u64 num = FIELD_GET(CMDQ_TLBI_0_NUM, cmd->qw[0]) + 1;

	seq_buf_printf(s, " addr=%llx", cmd->qw[1] & CMDQ_TLBI_1_VA_MASK);
	if (tg)
		seq_buf_printf(s, " pages=%llu", num << scale);
	if (tg > 1)
		seq_buf_printf(s, " tg=%u", tg);
	if (ttl)
		seq_buf_printf(s, " ttl=%u", ttl);
	if (cmd->qw[1] & CMDQ_TLBI_1_LEAF)
		seq_buf_puts(s, " leaf");
}

static void smmu_print_tlbi(struct seq_buf *s, const struct smmu_cmd *cmd)
{
	switch (cmd->op) {
	case CMDQ_OP_TLBI_NH_VA:
	case CMDQ_OP_TLBI_EL2_VA:
		seq_buf_puts(s, cmd->op == CMDQ_OP_TLBI_NH_VA ? "nh_va" : "el2_va");
		smmu_print_asid(s, cmd);
		smmu_print_vmid(s, cmd);
		smmu_print_range(s, cmd);
		break;
	case CMDQ_OP_TLBI_NH_ASID:
	case CMDQ_OP_TLBI_EL2_ASID:
		seq_buf_puts(s, cmd->op == CMDQ_OP_TLBI_NH_ASID ? "nh_asid" : "el2_asid");
		smmu_print_asid(s, cmd);
		smmu_print_vmid(s, cmd);
		break;
	case CMDQ_OP_TLBI_S2_IPA:
		seq_buf_puts(s, "s2_ipa");
		smmu_print_vmid(s, cmd);
		smmu_print_range(s, cmd);
		break;
	case CMDQ_OP_TLBI_S12_VMALL:
		seq_buf_puts(s, "s12_vmall");
		smmu_print_vmid(s, cmd);
		break;
	case CMDQ_OP_TLBI_NSNH_ALL:
	case CMDQ_OP_TLBI_EL2_ALL:
		seq_buf_puts(s, cmd->op == CMDQ_OP_TLBI_NSNH_ALL ? "nsnh_all" : "el2_all");
		break;
	default:
		seq_buf_printf(s, "op %x %llx %llx", cmd->op, cmd->qw[0], cmd->qw[1]);
		break;
	}
}

static void smmu_print_atc(struct seq_buf *s, const struct smmu_cmd *cmd)
{
	unsigned int order = FIELD_GET(CMDQ_ATC_1_SIZE, cmd->qw[1]);

	seq_buf_printf(s, "atc sid=%llx", FIELD_GET(CMDQ_ATC_0_SID, cmd->qw[0]));
	if (cmd->qw[0] & CMDQ_0_SSV)
		seq_buf_printf(s, " ssid=%llu", FIELD_GET(CMDQ_ATC_0_SSID, cmd->qw[0]));
	if (cmd->qw[0] & CMDQ_ATC_0_GLOBAL)
		seq_buf_puts(s, " global");
	if (order >= ATC_INV_SIZE_ALL)
		seq_buf_puts(s, " all");
	else
		seq_buf_printf(s, " addr=%llx pages=%llu",
			       cmd->qw[1] & CMDQ_ATC_1_ADDR_MASK, BIT_ULL(order));
}

static void smmu_print_cfgi(struct seq_buf *s, const struct smmu_cmd *cmd)
{
	u64 sid = FIELD_GET(CMDQ_CFGI_0_SID, cmd->qw[0]);
	u64 ssid = FIELD_GET(CMDQ_CFGI_0_SSID, cmd->qw[0]);
	const char *leaf = cmd->qw[1] & CMDQ_CFGI_1_LEAF ? " leaf" : "";

	switch (cmd->op) {
	case CMDQ_OP_PREFETCH_CFG:
		seq_buf_printf(s, "prefetch sid=%llx", sid);
		break;
	case CMDQ_OP_CFGI_STE:
		seq_buf_printf(s, "cfgi_ste sid=%llx%s", sid, leaf);
		break;
	case CMDQ_OP_CFGI_CD:
		seq_buf_printf(s, "cfgi_cd sid=%llx ssid=%llu%s", sid, ssid, leaf);
		break;
	case CMDQ_OP_CFGI_CD_ALL:
		seq_buf_printf(s, "cfgi_cd_all sid=%llx", sid);
		break;
	default:
		seq_buf_printf(s, "cfgi_ste_range sid=%llx range=%llu", sid,
			       FIELD_GET(CMDQ_CFGI_1_RANGE, cmd->qw[1]));
		break;
	}
}

static const char *const smmu_error_name[] = {
	[CMDQ_ERR_CERROR_NONE_IDX] = "\n",
	[CMDQ_ERR_CERROR_ILL_IDX] = " illegal\n",
	[CMDQ_ERR_CERROR_ABT_IDX] = " abort\n",
	[CMDQ_ERR_CERROR_ATC_INV_IDX] = " timeout\n",
};

static bool smmu_is_config(const struct smmu_cmd *cmd)
{
	return cmd->op <= CMDQ_OP_CFGI_CD_ALL;
}

static void smmu_print_cmd(struct seq_buf *s, const struct smmu_cmd *cmd)
{
	if (smmu_is_config(cmd)) {
		smmu_print_cfgi(s, cmd);
	} else if (cmd->op == CMDQ_OP_CMD_SYNC) {
		seq_buf_puts(s, "sync");
	} else if (cmd->op == CMDQ_OP_ATC_INV) {
		smmu_print_atc(s, cmd);
	} else if (cmd->op == CMDQ_OP_RESUME) {
		seq_buf_printf(s, "resume sid=%llx tag=%llu code=%llu",
			       FIELD_GET(CMDQ_RESUME_0_SID, cmd->qw[0]),
			       FIELD_GET(CMDQ_RESUME_1_STAG, cmd->qw[1]),
			       FIELD_GET(CMDQ_RESUME_0_RESP, cmd->qw[0]));
	} else {
		smmu_print_tlbi(s, cmd);
	}
	seq_buf_puts(s, smmu_error_name[cmd->error]);
}

/**
 * smmu_stream() - the commands of an instance since smmu_clear_log(), one in a line
 * @test: the test
 * @unit: the instance; nothing is under way
 * @flags: %SMMU_NO_SYNCS, %SMMU_NO_CONFIG
 *
 * Context: may sleep.
 * Return: the text, which lives as long as the test.
 */
const char *smmu_stream(struct kunit *test, struct smmu_unit *unit, unsigned int flags)
{
	const struct smmu_cmd *cmd;
	struct seq_buf s;

	smmu_settle(unit);
	KUNIT_EXPECT_LE(test, unit->nr_logged, SMMU_LOG);
	kiommu_text(test, &s, min(unit->nr_logged, SMMU_LOG));
	for (cmd = unit->log; cmd < smmu_log_end(unit); cmd++) {
		if (flags & SMMU_NO_SYNCS && cmd->op == CMDQ_OP_CMD_SYNC)
			continue;
		if (flags & SMMU_NO_CONFIG && smmu_is_config(cmd))
			continue;
		smmu_print_cmd(&s, cmd);
	}
	return kiommu_text_end(test, &s);
}

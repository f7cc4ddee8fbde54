// SPDX-License-Identifier: GPL-2.0-only
/*
 * VT-d units made of memory, for tests of the driver
 *
 * The driver is the real one, and so are its queues, PASID tables and page tables.
 * What is missing is the hardware: this file stands in for it. The registers are
 * a page of memory that the driver reads and writes; iommu_kunit_hw_run() is
 * where hardware has its turn.
 *
 * A unit consumes its queue in order, one descriptor at a time, which leaves fences
 * without anything to do. Descriptors take effect as late as they may: not before the
 * latency is over, and then only when somebody waits for that queue. That leaves
 * others as much time as possible to do things in between, without a thread that
 * would need a CPU of its own.
 *
 * A unit caches PASID entries, by requester and PASID, and does not look at the
 * entry in memory again until an invalidation has dropped the cached one; and
 * translations: of a first-level table by domain ID and PASID, of a second-level
 * table by domain ID only. As ATCs, these caches never evict anything. Paging-structure
 * caches are left out: a walk reads the tables in memory from the top. So are
 * nested translation and permissions. What is passed through is cached, too.
 *
 * In caching mode it also caches that a context entry is not present, with domain ID 0, that a
 * PASID entry is not present, without a domain ID: whichever an invalidation of the PASID
 * names will do; and that a second-level table has no translation.
 *
 * Of context entries it caches those that are present, by requester, of which a function
 * with aliases has several. The PASID table is the one that the cached entry points to.
 * An invalidation of them takes effect as late as it may: when a wait descriptor behind
 * it is executed. Legacy
 * mode finds what it invalidates by domain ID, too. An entry says whether a function may
 * ask for translations, and use those that its ATC holds. A write that has passed the
 * unit with one of those gets to memory later: vtd_post(). An invalidation of the
 * IOTLB, whichever, pushes it there, and so does the function's answer to one of its ATC.
 *
 * Translation requests are atomic: a function that looks up its ATC, asks the unit,
 * which looks up its caches, walks the table and fills them all, holds the unit's
 * lock all the time, and so does the execution of a command. Hardware guarantees
 * the same in effect, by letting an invalidation wait for requests that came before
 * it.
 *
 * A function whose ATS is not on yet answers invalidations, as it has nothing to forget;
 * once its ATS has been switched off, nobody is to send any.
 *
 * A device-TLB invalidation that is not answered is found out by the next wait descriptor:
 * that one is aborted, the time-out error shows in the registers, and what is
 * behind it is not fetched until software has cleared the error. A unit may have fetched more
 * before that, which is lost as well, and it may not say who it was: vtd_name_nobody(). Other
 * functions' invalidations between the two have had no effect: software cannot know
 * better. A queue error leaves the head at the descriptor that caused it.
 *
 * The fault status register is cleared by writing ones, which memory does not do. So
 * errors are shown with another bit that the driver does not know, and clears
 * along with the rest when it writes.
 *
 * A page request gets to the ring if the context entry has PRE. One that is on the way gets there
 * when a wait descriptor drains page requests, as late as it may. One for which there is
 * no room is answered by the unit, and the overflow shows until it is cleared. Each group
 * gets one answer.
 *
 * vtd_audit() compares all caches with the tables in memory: whatever is cached is to be there,
 * by what is in memory now, unless nobody can use it. vtd_exit() does so before and after
 * everything is detached and released.
 *
 * Whoever waits for hardware waits forever if it has stopped. To see that in a test,
 * an error that nobody clears in half a second goes away by itself, with a complaint,
 * and so does what it stopped at.
 *
 * Lock order: &q_inval.q_lock, &vtd_unit.lock, &kiommu.lock.
 */
#include <linux/bitfield.h>
#include <linux/ktime.h>
#include <linux/pci-ats.h>
#include <linux/slab.h>
#include <linux/timekeeping.h>

#include "kunit-mock.h"

/* In DMAR_FSTS_REG while there are errors: a bit that the driver leaves alone */
#define VTD_FSTS_MARK		BIT(31)
/* The same in DMAR_PRS_REG */
#define VTD_PRS_MARK		BIT(31)
#define VTD_REQ_LAST		BIT_ULL(2)
/* Of a bus: the size of &pci_dev.dma_alias_mask */
#define VTD_DEVFNS		256
#define VTD_FSTS_STOPPED	(DMA_FSTS_IQE | DMA_FSTS_ITE)
#define VTD_FAULT_NS		(NSEC_PER_SEC / 2)

static u32 vtd_readl(struct vtd_unit *unit, unsigned int reg)
{
	return readl(unit->iommu.reg + reg);
}

static void vtd_writel(struct vtd_unit *unit, unsigned int reg, u32 val)
{
	writel(val, unit->iommu.reg + reg);
}

/* --- descriptors --- */

/* What may be set in each type of descriptor */
static const u64 vtd_fields[][2] = {
	[QI_CC_TYPE] = {
		GENMASK_ULL(49, 16) | GENMASK_ULL(5, 0), 0
	},
	[QI_IOTLB_TYPE] = {
		GENMASK_ULL(31, 16) | GENMASK_ULL(7, 0),
		GENMASK_ULL(63, 12) | GENMASK_ULL(6, 0)
	},
	[QI_DIOTLB_TYPE] = {
		GENMASK_ULL(63, 52) | GENMASK_ULL(47, 32) |
		GENMASK_ULL(20, 12) | GENMASK_ULL(3, 0),
		GENMASK_ULL(63, 12) | BIT_ULL(0)
	},
	[QI_IEC_TYPE] = {
		GENMASK_ULL(47, 27) | GENMASK_ULL(4, 0), 0
	},
	[QI_IWD_TYPE] = {
		GENMASK_ULL(63, 32) | GENMASK_ULL(7, 0),
		GENMASK_ULL(63, 2)
	},
	[QI_EIOTLB_TYPE] = {
		GENMASK_ULL(51, 16) | GENMASK_ULL(5, 0),
		GENMASK_ULL(63, 12) | GENMASK_ULL(6, 0)
	},
	[QI_PC_TYPE] = {
		GENMASK_ULL(51, 16) | GENMASK_ULL(5, 0), 0
	},
	[QI_DEIOTLB_TYPE] = {
		GENMASK_ULL(63, 12) | GENMASK_ULL(8, 0),
		GENMASK_ULL(63, 11) | BIT_ULL(0)
	},
	[QI_PGRP_RESP_TYPE] = {
		GENMASK_ULL(51, 12) | GENMASK_ULL(4, 0),
		GENMASK_ULL(11, 2)
	},
};

/* A command that addresses a domain ID which no domain can have */
static bool vtd_bad_did(struct vtd_unit *unit, const struct vtd_cmd *cmd)
{
	u64 cap = unit->iommu.cap;

	if (cmd->did >= cap_ndoms(cap))
		return true;
	/* In caching mode, what is not present has that one. */
	return !cmd->did && !cap_caching_mode(cap);
}

/* A range that is larger than what the unit can take, or a unit that takes none */
static bool vtd_bad_mask(struct vtd_unit *unit, const struct vtd_cmd *cmd)
{
	return !cap_pgsel_inv(unit->iommu.cap) ||
		cmd->am > cap_max_amask_val(unit->iommu.cap);
}

/* What the unit cannot do, by its capabilities, or what nobody should ask for */
static bool vtd_is_unfit(struct vtd_unit *unit, const struct vtd_cmd *cmd)
{
	bool sm = sm_supported(&unit->iommu);

	switch (cmd->type) {
	case QI_CC_TYPE:
		return !cmd->gran;
	case QI_IOTLB_TYPE:
		if (cmd->gran == DMA_TLB_IIRG(DMA_TLB_PSI_FLUSH) &&
		    vtd_bad_mask(unit, cmd))
			return true;
		return !cmd->gran ||
			(cmd->gran > 1 && vtd_bad_did(unit, cmd));
	case QI_EIOTLB_TYPE:
		/*
		 * VT-d spec, Section 10.4.2, MAMV: "Independent of value reported in this field,
		 * implementations supporting SMTS must support address-selective
		 * PASID-based IOTLB invalidations (p_iotlb_inv_dsc) with any defined
		 * address mask."
		 */
		return !sm || cmd->gran < QI_GRAN_NONG_PASID ||
			vtd_bad_did(unit, cmd);
	case QI_PC_TYPE:
		return !sm || cmd->gran == 2 ||
			(cmd->gran != QI_PC_GLOBAL && vtd_bad_did(unit, cmd));
	case QI_DEIOTLB_TYPE:
		return !sm || !ecap_dev_iotlb_support(unit->iommu.ecap);
	case QI_DIOTLB_TYPE:
		return !ecap_dev_iotlb_support(unit->iommu.ecap);
	case QI_IWD_TYPE:
		return cmd->drain && !ecap_pds(unit->iommu.ecap);
	case QI_PGRP_RESP_TYPE:
		return !ecap_prs(unit->iommu.ecap);
	default:
		return false;
	}
}

static void vtd_check_fields(struct vtd_unit *unit, const struct vtd_cmd *cmd)
{
	const u64 *qw = cmd->qw;

	if (cmd->type >= ARRAY_SIZE(vtd_fields) || !vtd_fields[cmd->type][0] ||
	    qw[0] & ~vtd_fields[cmd->type][0] ||
	    qw[1] & ~vtd_fields[cmd->type][1] || qw[2] || qw[3])
		kiommu_complain(unit->bus.k, "bad descriptor %llx %llx %llx %llx",
				qw[0], qw[1], qw[2], qw[3]);
	if (vtd_is_unfit(unit, cmd))
		kiommu_complain(unit->bus.k, "unit %u cannot do %llx %llx",
				unit->index, qw[0], qw[1]);
	if (cmd->type != QI_PGRP_RESP_TYPE && cmd->am < KIOMMU_ALL &&
	    !IS_ALIGNED(cmd->addr, VTD_PAGE_SIZE << cmd->am))
		kiommu_complain(unit->bus.k, "address %llx, mask %u",
				cmd->addr, cmd->am);
}

static void vtd_decode_range(struct vtd_cmd *cmd)
{
	cmd->addr = cmd->qw[1] & VTD_PAGE_MASK;
	cmd->am = FIELD_GET(GENMASK_ULL(5, 0), cmd->qw[1]);
	cmd->ih = cmd->qw[1] & BIT_ULL(6);
}

/* The lowest address bit that is clear gives the size. */
static void vtd_decode_size(struct vtd_cmd *cmd, bool size)
{
	u64 addr = cmd->qw[1] & VTD_PAGE_MASK;

	cmd->pfsid = FIELD_GET(GENMASK_ULL(15, 12), cmd->qw[0]) |
		     FIELD_GET(GENMASK_ULL(63, 52), cmd->qw[0]) << 4;
	cmd->am = size ? ffz(addr >> VTD_PAGE_SHIFT) + 1 : 0;
	if (cmd->am < KIOMMU_ALL)
		cmd->addr = addr & ~((VTD_PAGE_SIZE << cmd->am) - 1);
}

static void vtd_decode_dev_tlb(struct vtd_cmd *cmd)
{
	u64 qw0 = cmd->qw[0];

	cmd->gran = 0;
	if (cmd->type == QI_DIOTLB_TYPE) {
		cmd->sid = FIELD_GET(GENMASK_ULL(47, 32), qw0);
		cmd->qdep = FIELD_GET(GENMASK_ULL(20, 16), qw0);
		vtd_decode_size(cmd, cmd->qw[1] & QI_DEV_IOTLB_SIZE);
		return;
	}
	cmd->sid = FIELD_GET(GENMASK_ULL(31, 16), qw0);
	cmd->pasid = FIELD_GET(GENMASK_ULL(51, 32), qw0);
	cmd->qdep = FIELD_GET(GENMASK_ULL(8, 4), qw0);
	cmd->global = cmd->qw[1] & BIT_ULL(0);
	vtd_decode_size(cmd, cmd->qw[1] & QI_DEV_EIOTLB_SIZE);
}

static void vtd_decode_wait(struct vtd_cmd *cmd)
{
	cmd->gran = 0;
	cmd->status = cmd->qw[0] & QI_IWD_STATUS_WRITE;
	cmd->fence = cmd->qw[0] & QI_IWD_FENCE;
	cmd->drain = cmd->qw[0] & QI_IWD_PRQ_DRAIN;
}

static void vtd_decode(struct vtd_unit *unit, unsigned int index,
		       struct vtd_cmd *cmd)
{
	unsigned int shift = qi_shift(&unit->iommu);

	memset(cmd, 0, sizeof(*cmd));
	memcpy(cmd->qw, unit->iommu.qi->desc + (index << shift), 1 << shift);
	cmd->issued = unit->slot[index].issued;
	cmd->type = cmd->qw[0] & 0xf;
	cmd->gran = FIELD_GET(GENMASK_ULL(5, 4), cmd->qw[0]);
	cmd->did = FIELD_GET(GENMASK_ULL(31, 16), cmd->qw[0]);
	switch (cmd->type) {
	case QI_CC_TYPE:
		cmd->sid = FIELD_GET(GENMASK_ULL(47, 32), cmd->qw[0]);
		break;
	case QI_EIOTLB_TYPE:
		cmd->pasid = FIELD_GET(GENMASK_ULL(51, 32), cmd->qw[0]);
		fallthrough;
	case QI_IOTLB_TYPE:
		vtd_decode_range(cmd);
		break;
	case QI_PC_TYPE:
		cmd->pasid = FIELD_GET(GENMASK_ULL(51, 32), cmd->qw[0]);
		break;
	case QI_DIOTLB_TYPE:
	case QI_DEIOTLB_TYPE:
		vtd_decode_dev_tlb(cmd);
		break;
	case QI_IWD_TYPE:
		vtd_decode_wait(cmd);
		break;
	case QI_PGRP_RESP_TYPE:
		cmd->gran = FIELD_GET(GENMASK_ULL(15, 12), cmd->qw[0]);
		cmd->sid = FIELD_GET(GENMASK_ULL(31, 16), cmd->qw[0]);
		cmd->pasid = FIELD_GET(GENMASK_ULL(51, 32), cmd->qw[0]);
		cmd->addr = FIELD_GET(GENMASK_ULL(11, 3), cmd->qw[1]);
		break;
	}
}

/* --- the log --- */

static void vtd_log(struct vtd_unit *unit, struct vtd_cmd *cmd)
{
	lockdep_assert_held(&unit->lock);

	cmd->done = kiommu_seq(unit->bus.k);
	vtd_check_fields(unit, cmd);
	unit->count[cmd->type]++;
	if (unit->nr_logged < VTD_LOG)
		unit->log[unit->nr_logged] = *cmd;
	unit->nr_logged++;
}

/**
 * vtd_clear_log() - start counts and logs from zero
 * @machine: the machine; nothing is under way
 */
void vtd_clear_log(struct vtd_machine *machine)
{
	unsigned int n;

	for (n = 0; n < machine->nr_units; n++) {
		memset(machine->unit[n].count, 0, sizeof(machine->unit[n].count));
		machine->unit[n].nr_logged = 0;
	}
}

/**
 * vtd_count() - commands of a unit since vtd_clear_log()
 * @unit: the unit; nothing is under way
 * @type: QI_..._TYPE
 *
 * Return: how many of this type left the queue.
 */
unsigned int vtd_count(struct vtd_unit *unit, u8 type)
{
	return unit->count[type];
}

static void vtd_print_range(struct seq_buf *text, const struct vtd_cmd *cmd)
{
	if (cmd->am >= KIOMMU_ALL)
		seq_buf_puts(text, " all");
	else
		seq_buf_printf(text, " addr=%llx am=%u%s", cmd->addr, cmd->am,
			       cmd->ih ? " ih" : "");
}

static void vtd_print_iotlb(struct seq_buf *text, const struct vtd_cmd *cmd)
{
	if (cmd->gran == DMA_TLB_IIRG(DMA_TLB_GLOBAL_FLUSH)) {
		seq_buf_puts(text, "iotlb all");
		return;
	}
	seq_buf_printf(text, "iotlb did=%u", cmd->did);
	if (cmd->gran == DMA_TLB_IIRG(DMA_TLB_PSI_FLUSH))
		vtd_print_range(text, cmd);
}

static void vtd_print_piotlb(struct seq_buf *text, const struct vtd_cmd *cmd)
{
	seq_buf_printf(text, "piotlb did=%u pasid=%u", cmd->did, cmd->pasid);
	if (cmd->gran == QI_GRAN_PSI_PASID)
		vtd_print_range(text, cmd);
}

static void vtd_print_dev_tlb(struct seq_buf *text, const struct vtd_cmd *cmd)
{
	seq_buf_printf(text, "devtlb sid=%x", cmd->sid);
	if (cmd->type == QI_DEIOTLB_TYPE)
		seq_buf_printf(text, " pasid=%u%s", cmd->pasid,
			       cmd->global ? " global" : "");
	seq_buf_printf(text, " qdep=%u", cmd->qdep);
	if (cmd->pfsid)
		seq_buf_printf(text, " pfsid=%x", cmd->pfsid);
	vtd_print_range(text, cmd);
}

static void vtd_print_pc(struct seq_buf *text, const struct vtd_cmd *cmd)
{
	switch (cmd->gran) {
	case QI_PC_ALL_PASIDS:
		seq_buf_printf(text, "pc did=%u", cmd->did);
		break;
	case QI_PC_PASID_SEL:
		seq_buf_printf(text, "pc did=%u pasid=%u", cmd->did, cmd->pasid);
		break;
	default:
		seq_buf_puts(text, "pc all");
	}
}

static void vtd_print_cmd(struct seq_buf *text, const struct vtd_cmd *cmd)
{
	switch (cmd->type) {
	case QI_CC_TYPE:
		seq_buf_printf(text, "cc gran=%u did=%u sid=%x", cmd->gran, cmd->did,
			       cmd->sid);
		break;
	case QI_IOTLB_TYPE:
		vtd_print_iotlb(text, cmd);
		break;
	case QI_EIOTLB_TYPE:
		vtd_print_piotlb(text, cmd);
		break;
	case QI_DIOTLB_TYPE:
	case QI_DEIOTLB_TYPE:
		vtd_print_dev_tlb(text, cmd);
		break;
	case QI_PC_TYPE:
		vtd_print_pc(text, cmd);
		break;
	case QI_IWD_TYPE:
		seq_buf_printf(text, "wait%s%s%s", cmd->fence ? " fence" : "",
			       cmd->status ? "" : " nostatus",
			       cmd->drain ? " drain" : "");
		break;
	case QI_PGRP_RESP_TYPE:
		seq_buf_printf(text, "response sid=%x pasid=%u group=%llu code=%u",
			       cmd->sid, cmd->pasid, cmd->addr, cmd->gran);
		break;
	default:
		seq_buf_printf(text, "type %u", cmd->type);
	}
}

static const char *const vtd_result_name[] = {
	[VTD_DONE] = "\n",
	[VTD_LOST] = " lost\n",
	[VTD_ABORTED] = " aborted\n",
};

/**
 * vtd_stream() - the commands of a unit since vtd_clear_log(), one in a line
 * @test: the test
 * @unit: the unit; nothing is under way
 * @flags: %VTD_WAITS to have wait descriptors, too
 *
 * Context: may sleep.
 * Return: the text, which lives as long as the test.
 */
const char *vtd_stream(struct kunit *test, struct vtd_unit *unit,
		       unsigned int flags)
{
	const struct vtd_cmd *cmd;
	struct seq_buf text;

	kiommu_text(test, &text, min(unit->nr_logged, VTD_LOG));
	KUNIT_EXPECT_LE(test, unit->nr_logged, VTD_LOG);
	for (cmd = unit->log; cmd < vtd_log_end(unit); cmd++) {
		if (cmd->type == QI_IWD_TYPE && !(flags & VTD_WAITS))
			continue;
		vtd_print_cmd(&text, cmd);
		seq_buf_puts(&text, vtd_result_name[cmd->result]);
	}
	return kiommu_text_end(test, &text);
}

/* --- the hardware: caches --- */

/* In the range of a command */
static bool vtd_hits(const struct vtd_cmd *cmd, u64 page)
{
	return kiommu_in_range(page, cmd->addr >> VTD_PAGE_SHIFT, cmd->am);
}

static bool vtd_iotlb_hit(const struct vtd_cmd *cmd, const struct kiommu_tlb *tlb)
{
	if (cmd->gran == DMA_TLB_IIRG(DMA_TLB_GLOBAL_FLUSH))
		return true;
	if (cmd->did != tlb->tag)
		return false;
	if (cmd->gran == DMA_TLB_IIRG(DMA_TLB_DSI_FLUSH))
		return true;
	return tlb->type == PASID_ENTRY_PGTT_SL_ONLY && vtd_hits(cmd, tlb->page);
}

static bool vtd_piotlb_hit(const struct vtd_cmd *cmd, const struct kiommu_tlb *tlb)
{
	if (cmd->did != tlb->tag || cmd->pasid != tlb->pasid ||
	    tlb->type == PASID_ENTRY_PGTT_SL_ONLY)
		return false;
	return cmd->gran != QI_GRAN_PSI_PASID || vtd_hits(cmd, tlb->page);
}

/* What the functions behind a unit have sent gets to memory. */
static void vtd_drain(struct vtd_unit *unit)
{
	struct kiommu_bus *bus = &unit->bus;
	unsigned int n;

	for (n = 0; n < bus->nr_fns; n++)
		to_vtd_fn(&bus->fn[n]->pdev.dev)->in_flight = false;
}

static void vtd_flush_iotlb(struct vtd_unit *unit, const struct vtd_cmd *cmd)
{
	struct kiommu_tlb *tlb;

	vtd_drain(unit);
	kiommu_for_each_tlb(unit->iotlb, tlb)
		if (cmd->type == QI_IOTLB_TYPE ? vtd_iotlb_hit(cmd, tlb) :
						 vtd_piotlb_hit(cmd, tlb))
			tlb->valid = false;
}

static void vtd_flush_atc(struct vtd_fn *fn, const struct vtd_cmd *cmd)
{
	bool any = cmd->type == QI_DIOTLB_TYPE || cmd->global;

	fn->in_flight = false;
	kiommu_atc_drop(&fn->pci, any ? KIOMMU_ANY_PASID : cmd->pasid,
			cmd->addr >> VTD_PAGE_SHIFT, cmd->am);
}

static bool vtd_pc_is_present(const struct vtd_pasid_cache *pc)
{
	return pc->entry.val[0] & PASID_PTE_PRESENT;
}

static bool vtd_pc_hit(const struct vtd_cmd *cmd, struct vtd_pasid_cache *pc)
{
	if (cmd->gran == QI_PC_GLOBAL)
		return true;
	if (vtd_pc_is_present(pc) &&
	    cmd->did != pasid_get_domain_id(&pc->entry))
		return false;
	return cmd->gran == QI_PC_ALL_PASIDS || cmd->pasid == pc->pasid;
}

static void vtd_flush_pasids(struct vtd_unit *unit, const struct vtd_cmd *cmd)
{
	struct vtd_pasid_cache *pc;

	for (pc = unit->pasid_cache; pc < unit->pasid_cache + VTD_ENTRIES; pc++)
		if (vtd_pc_hit(cmd, pc))
			pc->valid = false;
}

/* The mask takes bits of the function's number out of the comparison. */
static bool vtd_cc_hit(struct vtd_unit *unit, const struct vtd_cmd *cmd,
		       const struct vtd_context *context)
{
	static const u16 ignore[] = { 0, 4, 6, 7 };
	bool all = cmd->gran < DMA_CCMD_DEVICE_INVL >> DMA_CCMD_INVL_GRANU_OFFSET;
	u16 mask = ~ignore[FIELD_GET(GENMASK_ULL(49, 48), cmd->qw[0])];

	if (!all && (cmd->sid ^ context->sid) & mask)
		return false;
	/* Global, or scalable mode, which does not look at domain IDs here */
	if (cmd->gran == DMA_CCMD_GLOBAL_INVL >> DMA_CCMD_INVL_GRANU_OFFSET ||
	    sm_supported(&unit->iommu))
		return true;
	return cmd->did == FIELD_GET(GENMASK_ULL(23, 8), context->hi);
}

static void vtd_flush_context(struct vtd_unit *unit, const struct vtd_cmd *cmd)
{
	struct vtd_context *context;

	for (context = unit->context; context < unit->context + VTD_CONTEXTS;
	     context++)
		if (vtd_cc_hit(unit, cmd, context))
			context->valid = false;
}

/* As late as it may */
static void vtd_flush_contexts(struct vtd_unit *unit)
{
	unsigned int n;

	for (n = 0; n < unit->nr_cc; n++)
		vtd_flush_context(unit, &unit->cc[n]);
	unit->nr_cc = 0;
}

static void vtd_context_cmd(struct vtd_unit *unit, const struct vtd_cmd *cmd)
{
	if (unit->nr_cc == VTD_CC_PENDING)
		vtd_flush_contexts(unit);
	unit->cc[unit->nr_cc++] = *cmd;
}

/* --- the hardware: the queue --- */

static struct vtd_fn *vtd_fn_of_sid(struct vtd_unit *unit, u16 sid)
{
	struct kiommu_fn *fn = kiommu_find_fn(&unit->bus, sid);

	return fn ? to_vtd_fn(&fn->pdev.dev) : NULL;
}

static void vtd_set_head(struct vtd_unit *unit, unsigned int head)
{
	unit->head = head % QI_LENGTH;
	vtd_writel(unit, DMAR_IQH_REG, unit->head << qi_shift(&unit->iommu));
}

static void vtd_show_fault(struct vtd_unit *unit)
{
	vtd_writel(unit, DMAR_FSTS_REG,
		   unit->fault ? unit->fault | VTD_FSTS_MARK : 0);
}

static void vtd_fault(struct vtd_unit *unit, u32 fault, u64 record)
{
	writeq(record, unit->iommu.reg + DMAR_IQER_REG);
	unit->fault |= fault;
	unit->fault_until = ktime_get_mono_fast_ns() + VTD_FAULT_NS;
	vtd_show_fault(unit);
}

/* Nobody has cleared it. Whoever waits would wait forever: let him go. */
static void vtd_give_up(struct vtd_unit *unit)
{
	struct vtd_slot *slot = &unit->slot[unit->head];

	kiommu_complain(unit->bus.k, "error %x of unit %u is never cleared",
			unit->fault, unit->index);
	slot->bad = false;
	if (unit->fault & DMA_FSTS_IQE)
		vtd_set_head(unit, unit->head + 1);
	unit->fault = 0;
	vtd_show_fault(unit);
}

/* Whether the driver has cleared what had stopped the unit, or nothing had. */
static bool vtd_goes_on(struct vtd_unit *unit)
{
	u32 fsts = vtd_readl(unit, DMAR_FSTS_REG);

	lockdep_assert_held(&unit->lock);

	/* Cleared, perhaps once more by one who had read it before that */
	if (fsts && !(fsts & VTD_FSTS_MARK)) {
		unit->fault &= ~fsts;
		vtd_show_fault(unit);
	} else if (unit->fault & VTD_FSTS_STOPPED &&
		   ktime_get_mono_fast_ns() > unit->fault_until) {
		vtd_give_up(unit);
	}
	return !(unit->fault & VTD_FSTS_STOPPED);
}

/* New descriptors, which are in memory before the tail register says so */
static void vtd_accept(struct vtd_unit *unit)
{
	unsigned int tail = vtd_readl(unit, DMAR_IQT_REG) >>
			    qi_shift(&unit->iommu);
	u64 now = ktime_get_mono_fast_ns();
	struct vtd_slot *slot;
	struct vtd_cmd cmd;

	lockdep_assert_held(&unit->lock);

	unit->busy_until = max(unit->busy_until, now);
	while (unit->tail != tail) {
		slot = &unit->slot[unit->tail];
		memset(slot, 0, sizeof(*slot));
		slot->issued = kiommu_seq(unit->bus.k);
		vtd_decode(unit, unit->tail, &cmd);
		unit->busy_until += cmd.type == QI_IWD_TYPE ? unit->latency :
							      unit->cmd_latency;
		slot->ready = unit->busy_until;
		unit->tail = (unit->tail + 1) % QI_LENGTH;
	}
}

/* A descriptor gets to the head of the queue: is it the one? */
static void vtd_see(struct vtd_unit *unit, struct vtd_slot *slot,
		    const struct vtd_cmd *cmd)
{
	slot->seen = true;
	kiommu_hold_see(&unit->hold, cmd->type);
	if (cmd->type == QI_IWD_TYPE)
		return;
	if (unit->refuse == cmd->type || (unit->iqe && !--unit->iqe)) {
		slot->bad = true;
		memcpy(slot->bad_qw, cmd->qw, sizeof(slot->bad_qw));
	}
	if (unit->ice && !--unit->ice)
		vtd_fault(unit, DMA_FSTS_ICE, (u64)cmd->sid << 48);
}

/* --- the hardware: the ring of page requests --- */

static void vtd_show_prs(struct vtd_unit *unit)
{
	vtd_writel(unit, DMAR_PRS_REG, unit->prs ? unit->prs | VTD_PRS_MARK : 0);
}

/* Cleared by writing ones, as the fault status is */
static void vtd_clear_prs(struct vtd_unit *unit)
{
	u32 prs = vtd_readl(unit, DMAR_PRS_REG);

	lockdep_assert_held(&unit->lock);

	if (!prs || prs & VTD_PRS_MARK)
		return;
	unit->prs &= ~prs;
	vtd_show_prs(unit);
}

/* While there is an overflow, and if there is no room, the unit answers by itself. */
static bool vtd_arrive(struct vtd_unit *unit, const struct vtd_request *req)
{
	u64 head = dmar_readq(unit->iommu.reg + DMAR_PQH_REG) & PRQ_RING_MASK;
	u64 tail = dmar_readq(unit->iommu.reg + DMAR_PQT_REG) & PRQ_RING_MASK;
	u64 next = (tail + sizeof(*req)) & PRQ_RING_MASK;
	struct vtd_fn *fn;

	lockdep_assert_held(&unit->lock);

	if (next == head || unit->prs & DMA_PRS_PRO) {
		fn = vtd_fn_of_sid(unit, FIELD_GET(GENMASK_ULL(31, 16), req->qw[0]));
		if (fn && req->qw[1] & VTD_REQ_LAST)
			fn->owed--;
		unit->prs |= DMA_PRS_PRO;
	} else {
		memcpy((void *)unit->iommu.prq + tail, req, sizeof(*req));
		dmar_writeq(unit->iommu.reg + DMAR_PQT_REG, next);
	}
	unit->prs |= DMA_PRS_PPR;
	vtd_show_prs(unit);
	return next != head && !(unit->prs & DMA_PRS_PRO);
}

/* Those that were on the way */
static void vtd_requests_arrive(struct vtd_unit *unit)
{
	unsigned int n;

	for (n = 0; n < unit->nr_late; n++)
		vtd_arrive(unit, &unit->late[n]);
	unit->nr_late = 0;
}

/* --- the hardware: more of the queue --- */

/* Here it comes out that a function did not answer, or behind what else was fetched. */
static void vtd_wait(struct vtd_unit *unit, struct vtd_cmd *cmd)
{
	vtd_flush_contexts(unit);
	if (cmd->drain)
		vtd_requests_arrive(unit);
	if (!unit->lost)
		return;
	cmd->result = VTD_ABORTED;
	/* This descriptor still is at the head of the queue. */
	if (unit->behind && (unit->head + 1) % QI_LENGTH != unit->tail)
		unit->behind--;
	else
		unit->lost = false;
}

/* Whoever has waited may use the slots again at once. */
static void vtd_complete(struct vtd_unit *unit, const struct vtd_cmd *cmd)
{
	u32 *status = phys_to_virt(cmd->qw[1]);

	if (cmd->result == VTD_ABORTED && !unit->lost)
		vtd_fault(unit, DMA_FSTS_ITE,
			  unit->nameless ? 0 : (u64)unit->lost_sid << 32);
	else if (cmd->result == VTD_DONE && cmd->status)
		/* Hardware's writes to memory are in order; nobody pairs. */
		smp_store_release(status, cmd->qw[0] >> 32);
}

static void vtd_dev_tlb(struct vtd_unit *unit, struct vtd_cmd *cmd)
{
	struct vtd_fn *fn = vtd_fn_of_sid(unit, cmd->sid);

	if (!fn || (!kiommu_ats(&fn->pci) && (fn->pci.ats_off || !fn->pci.pdev.ats_cap)))
		kiommu_complain(unit->bus.k,
				"device-TLB invalidation for %x, which has no ATS",
				cmd->sid);
	if (!fn)
		return;
	if (!kiommu_answers(&fn->pci)) {
		unit->lost_sid = unit->lost ? unit->lost_sid : cmd->sid;
		unit->behind = unit->lost ? unit->behind : unit->ahead;
		unit->lost = true;
	}
	if (unit->lost)
		cmd->result = VTD_LOST;
	else
		vtd_flush_atc(fn, cmd);
}

static void vtd_response(struct vtd_unit *unit, const struct vtd_cmd *cmd)
{
	struct vtd_fn *fn = vtd_fn_of_sid(unit, cmd->sid);

	/* A unit answers whoever has sent what it does not know. */
	if (!fn)
		return;
	if (fn->owed)
		fn->owed--;
	else
		kiommu_complain(unit->bus.k, "%x gets an answer that it does not wait for",
				cmd->sid);
}

/* A descriptor leaves the queue. */
static void vtd_execute(struct vtd_unit *unit, struct vtd_cmd *cmd)
{
	lockdep_assert_held(&unit->lock);

	switch (cmd->type) {
	case QI_CC_TYPE:
		vtd_context_cmd(unit, cmd);
		break;
	case QI_IOTLB_TYPE:
	case QI_EIOTLB_TYPE:
		vtd_flush_iotlb(unit, cmd);
		break;
	case QI_DIOTLB_TYPE:
	case QI_DEIOTLB_TYPE:
		vtd_dev_tlb(unit, cmd);
		break;
	case QI_PC_TYPE:
		vtd_flush_pasids(unit, cmd);
		break;
	case QI_PGRP_RESP_TYPE:
		vtd_response(unit, cmd);
		break;
	case QI_IWD_TYPE:
		vtd_wait(unit, cmd);
		break;
	}
	vtd_set_head(unit, unit->head + 1);
	vtd_log(unit, cmd);
	if (cmd->type == QI_IWD_TYPE)
		vtd_complete(unit, cmd);
}

static bool vtd_is_bad(const struct vtd_slot *slot, const struct vtd_cmd *cmd)
{
	return slot->bad && !memcmp(slot->bad_qw, cmd->qw, sizeof(slot->bad_qw));
}

static void vtd_tell(struct vtd_unit *unit, struct vtd_slot *slot,
		     const struct vtd_cmd *cmd)
{
	int before;

	lockdep_assert_held(&unit->lock);

	slot->told = true;
	before = kiommu_turn_begin(&unit->turn);
	raw_spin_unlock(&unit->lock);
	unit->before(unit, cmd);
	raw_spin_lock(&unit->lock);
	kiommu_turn_end(&unit->turn, before);
}

static bool vtd_is_idle(const struct vtd_unit *unit)
{
	return unit->head == unit->tail ||
		ktime_get_mono_fast_ns() < unit->slot[unit->head].ready;
}

/* Do one thing, if it is time for one. */
static bool vtd_step(struct vtd_unit *unit)
{
	struct vtd_slot *slot;
	struct vtd_cmd cmd;

	lockdep_assert_held(&unit->lock);

	if (kiommu_turn_is_others(&unit->turn) || !vtd_goes_on(unit) || vtd_is_idle(unit))
		return false;
	slot = &unit->slot[unit->head];
	vtd_decode(unit, unit->head, &cmd);
	if (!slot->seen)
		vtd_see(unit, slot, &cmd);
	if (kiommu_hold_stops(&unit->hold))
		return false;
	if (unit->before && !slot->told)
		vtd_tell(unit, slot, &cmd);
	else if (vtd_is_bad(slot, &cmd))
		vtd_fault(unit, DMA_FSTS_IQE, 1);
	else
		vtd_execute(unit, &cmd);
	return true;
}

/**
 * vtd_qi() - &iommu_kunit_hw.run of a unit
 * @hw: of the unit
 * @submitted: the tail was written, because descriptors have been submitted or a
 *	fault was cleared, or the page request status; otherwise somebody waits
 *
 * Context: any. Of those who wait, everybody may call it at the same time.
 */
void vtd_qi(struct iommu_kunit_hw *hw, bool submitted)
{
	struct vtd_unit *unit = hw_to_vtd_unit(hw);
	unsigned long flags;

	raw_spin_lock_irqsave(&unit->lock, flags);
	if (submitted) {
		vtd_clear_prs(unit);
		vtd_accept(unit);
		/* Whoever gets the q_lock next must not see what was cleared. */
		vtd_goes_on(unit);
	} else {
		while (vtd_step(unit))
			;
	}
	raw_spin_unlock_irqrestore(&unit->lock, flags);
}

/* --- the hardware: translations --- */

/**
 * vtd_entry() - the PASID table entry of a function
 * @fn: the function
 * @pasid: PASID, or IOMMU_NO_PASID
 *
 * Context: any, while the function exists.
 * Return: the entry in memory, NULL if there is no table for it.
 */
struct pasid_entry *vtd_entry(struct vtd_fn *fn, u32 pasid)
{
	struct device_domain_info *info = fn->pci.dev_iommu.priv;
	struct pasid_table *table = info->pasid_table;
	struct pasid_dir_entry *dir = table->table;
	struct pasid_entry *entries;

	if (pasid >= table->max_pasid)
		return NULL;
	entries = get_pasid_table_from_pde(&dir[pasid >> PASID_PDE_SHIFT]);
	return entries ? &entries[pasid & PASID_PTE_MASK] : NULL;
}

/* By what table an entry translates */
static void vtd_table(struct pasid_entry *entry, struct kiommu_tlb *tlb)
{
	tlb->type = pasid_pte_get_pgtt(entry);
	tlb->tag = pasid_get_domain_id(entry);
	if (tlb->type == PASID_ENTRY_PGTT_SL_ONLY) {
		tlb->root = entry->val[0] & VTD_PAGE_MASK;
		tlb->level = agaw_to_level(FIELD_GET(GENMASK_ULL(4, 2),
						     entry->val[0]));
	} else if (tlb->type == PASID_ENTRY_PGTT_PT) {
		tlb->root = 0;
	} else {
		tlb->root = entry->val[2] & VTD_PAGE_MASK;
		tlb->level = FIELD_GET(GENMASK_ULL(3, 2), entry->val[2]) ? 5 : 4;
	}
}

/**
 * vtd_root() - the page table that a PASID entry points to
 * @fn: the function
 * @pasid: PASID, or IOMMU_NO_PASID
 *
 * Return: its physical address, 0 if the entry is not present.
 */
u64 vtd_root(struct vtd_fn *fn, u32 pasid)
{
	struct pasid_entry *entry = vtd_entry(fn, pasid);
	struct kiommu_tlb tlb = {};

	if (!entry || !pasid_pte_is_present(entry))
		return 0;
	vtd_table(entry, &tlb);
	return tlb.root;
}

static bool vtd_pte_present(const struct kiommu_tlb *tlb, u64 pte)
{
	return pte & (tlb->type == PASID_ENTRY_PGTT_SL_ONLY ?
		      DMA_PTE_READ | DMA_PTE_WRITE : DMA_FL_PTE_PRESENT);
}

/*
 * Walk the page table in memory. It may be changing, and what is being looked for
 * may be tables that were freed too early.
 */
static bool vtd_walk(const struct kiommu_tlb *tlb, u64 *pfn)
{
	unsigned int level, shift;
	u64 table = tlb->root;
	u64 pte;

	if (tlb->type == PASID_ENTRY_PGTT_PT) {
		*pfn = tlb->page;
		return true;
	}
	for (level = tlb->level; level; level--) {
		if (!pfn_valid(PHYS_PFN(table)))
			return false;
		shift = (level - 1) * LEVEL_STRIDE;
		pte = READ_ONCE(((u64 *)phys_to_virt(table))[tlb->page >> shift &
							     LEVEL_MASK]);
		if (!vtd_pte_present(tlb, pte))
			return false;
		table = pte & GENMASK_ULL(51, VTD_PAGE_SHIFT);
		if (level > 1 && pte & DMA_PTE_LARGE_PAGE)
			break;
	}
	shift = level ? shift : 0;
	*pfn = table >> VTD_PAGE_SHIFT | (tlb->page & (BIT_ULL(shift) - 1));
	return true;
}

/* The context entry of a requester in memory, NULL if there is no table for it */
static const struct context_entry *vtd_context_entry(struct vtd_unit *unit, u16 sid)
{
	struct root_entry *root = &unit->iommu.root_entry[PCI_BUS_NUM(sid)];
	bool sm = sm_supported(&unit->iommu);
	unsigned int devfn = sid & 0xff;
	const struct context_entry *context;
	u64 table = root->lo;

	/* Two tables, of entries that are twice as large */
	if (sm && devfn >= 0x80)
		table = root->hi;
	if (!(table & BIT_ULL(0)))
		return NULL;
	context = phys_to_virt(table & VTD_PAGE_MASK);
	return context + (sm ? (devfn & 0x7f) * 2 : devfn);
}

/* What it says, unless it is not present */
static bool vtd_read_context(struct vtd_unit *unit, u16 sid,
			     struct vtd_context *context)
{
	const struct context_entry *entry = vtd_context_entry(unit, sid);

	if (!entry)
		return false;
	context->lo = READ_ONCE(entry->lo);
	context->hi = READ_ONCE(entry->hi);
	context->sid = sid;
	context->valid = context->lo & BIT_ULL(0);
	return context->valid;
}

/* The same of a PASID, in the table that a context entry of scalable mode points to */
static bool vtd_read_entry(const struct vtd_context *context, u32 pasid,
			   struct pasid_entry *copy)
{
	u64 dirs = BIT_ULL(FIELD_GET(GENMASK_ULL(11, 9), context->lo) + 7);
	struct pasid_dir_entry *dir = phys_to_virt(context->lo & VTD_PAGE_MASK);
	struct pasid_entry *entries;

	if (pasid >> PASID_PDE_SHIFT >= dirs)
		return false;
	entries = get_pasid_table_from_pde(&dir[pasid >> PASID_PDE_SHIFT]);
	if (!entries)
		return false;
	*copy = entries[pasid & PASID_PTE_MASK];
	return pasid_pte_is_present(copy);
}

static bool vtd_is_present(const struct vtd_context *context)
{
	return context->lo & BIT_ULL(0);
}

/* The context entry as the unit knows it, NULL if it is not present */
static const struct vtd_context *vtd_cached_context(struct vtd_unit *unit, u16 sid)
{
	struct vtd_context *context, *room = NULL;

	for (context = unit->context; context < unit->context + VTD_CONTEXTS;
	     context++) {
		if (context->valid && context->sid == sid)
			return vtd_is_present(context) ? context : NULL;
		if (!context->valid)
			room = context;
	}
	if (!room) {
		kiommu_complain(unit->bus.k, "a context cache is full");
		room = unit->context;
	}
	if (vtd_read_context(unit, sid, room))
		return room;
	if (cap_caching_mode(unit->iommu.cap))
		*room = (struct vtd_context){ .valid = true, .sid = sid };
	return NULL;
}

/* The PASID entry as the unit knows it */
static struct pasid_entry *vtd_cached_entry(struct vtd_unit *unit,
					    const struct vtd_context *context,
					    u32 pasid)
{
	struct vtd_pasid_cache *pc, *room = NULL;

	for (pc = unit->pasid_cache; pc < unit->pasid_cache + VTD_ENTRIES; pc++) {
		if (pc->valid && pc->sid == context->sid && pc->pasid == pasid)
			return vtd_pc_is_present(pc) ? &pc->entry : NULL;
		if (!pc->valid)
			room = pc;
	}
	if (!room) {
		kiommu_complain(unit->bus.k, "a PASID cache is full");
		room = unit->pasid_cache;
	}
	*room = (struct vtd_pasid_cache){ .valid = true, .sid = context->sid, .pasid = pasid };
	if (vtd_read_entry(context, pasid, &room->entry))
		return &room->entry;
	room->valid = cap_caching_mode(unit->iommu.cap);
	return NULL;
}

static bool vtd_context_dte(struct vtd_unit *unit, const struct vtd_context *context)
{
	if (sm_supported(&unit->iommu))
		return context->lo & BIT_ULL(2);
	return FIELD_GET(GENMASK_ULL(3, 2), context->lo) == CONTEXT_TT_DEV_IOTLB;
}

/* Whether a function may ask for translations, and use what its ATC holds */
static bool vtd_dte(struct vtd_fn *fn)
{
	const struct vtd_context *context = vtd_cached_context(fn->unit,
							       kiommu_id(&fn->pci));

	return context && vtd_context_dte(fn->unit, context);
}

/* By what table a context entry of legacy mode translates */
static void vtd_context_table(const struct vtd_context *context,
			      struct kiommu_tlb *tlb)
{
	bool pt = FIELD_GET(GENMASK_ULL(3, 2), context->lo) ==
		CONTEXT_TT_PASS_THROUGH;

	tlb->type = pt ? PASID_ENTRY_PGTT_PT : PASID_ENTRY_PGTT_SL_ONLY;
	tlb->tag = FIELD_GET(GENMASK_ULL(23, 8), context->hi);
	tlb->root = pt ? 0 : context->lo & VTD_PAGE_MASK;
	tlb->level = agaw_to_level(context->hi & 7);
}

/* The PASID of requests without one, and whether those with one are let in */
static int vtd_effective_pasid(struct vtd_fn *fn, const struct vtd_context *context,
			       u32 *pasid)
{
	if (!*pasid)
		*pasid = context->hi & GENMASK_ULL(19, 0);
	else if (fn->pci.no_pasids || !(context->lo & BIT_ULL(3)))
		return -EFAULT;
	return 0;
}

static int vtd_find_table(struct vtd_fn *fn, u16 sid, u32 pasid,
			  struct kiommu_tlb *tlb)
{
	const struct vtd_context *context = vtd_cached_context(fn->unit, sid);
	struct pasid_entry *entry;

	if (!context)
		return -EFAULT;
	if (!sm_supported(&fn->unit->iommu)) {
		vtd_context_table(context, tlb);
		return 0;
	}
	if (vtd_effective_pasid(fn, context, &pasid))
		return -EFAULT;
	entry = vtd_cached_entry(fn->unit, context, pasid);
	if (!entry)
		return -EFAULT;
	vtd_table(entry, tlb);
	return 0;
}

/* By the unit, on behalf of a requester */
static int vtd_translate(struct vtd_fn *fn, u16 sid, u32 pasid, struct kiommu_tlb *tlb)
{
	const struct kiommu_tlb *hit;
	int ret;

	lockdep_assert_held(&fn->unit->lock);

	ret = vtd_find_table(fn, sid, pasid, tlb);
	if (ret)
		return ret;
	if (tlb->type == PASID_ENTRY_PGTT_NESTED)
		return -EOPNOTSUPP;
	tlb->pasid = tlb->type == PASID_ENTRY_PGTT_SL_ONLY ? 0 : pasid;
	hit = kiommu_tlb_find(fn->unit->iotlb, tlb);
	if (hit) {
		*tlb = *hit;
		return hit->absent ? -EFAULT : 0;
	}
	tlb->absent = !vtd_walk(tlb, &tlb->pfn);
	if (tlb->absent && (!cap_caching_mode(fn->unit->iommu.cap) ||
			    tlb->type != PASID_ENTRY_PGTT_SL_ONLY))
		return -EFAULT;
	kiommu_tlb_add(fn->unit->bus.k, fn->unit->iotlb, tlb);
	return tlb->absent ? -EFAULT : 0;
}

/**
 * vtd_access() - a function accesses memory
 * @fn: the function
 * @pasid: PASID, or IOMMU_NO_PASID
 * @iova: address
 * @pa: what it is translated to
 *
 * Context: any.
 * Return: 0, -EFAULT without a translation, -EPERM if the function uses ATS and may not,
 * -EOPNOTSUPP if the translation would be of a kind that is not modelled.
 */
int vtd_access(struct vtd_fn *fn, u32 pasid, u64 iova, u64 *pa)
{
	struct kiommu_tlb tlb = { .page = iova >> VTD_PAGE_SHIFT };
	const struct kiommu_tlb *hit;
	unsigned long flags;
	int ret = 0;

	raw_spin_lock_irqsave(&fn->unit->lock, flags);
	hit = kiommu_atc_find(&fn->pci, pasid, tlb.page);
	if (!hit)
		ret = vtd_translate(fn, kiommu_id(&fn->pci), pasid, &tlb);
	else if (vtd_dte(fn))
		tlb = *hit;
	else
		ret = -EPERM;
	if (!ret && !hit && kiommu_ats(&fn->pci) && !vtd_dte(fn))
		ret = -EPERM;
	if (!ret && !hit && kiommu_ats(&fn->pci))
		kiommu_atc_add(&fn->pci, pasid, &tlb);
	raw_spin_unlock_irqrestore(&fn->unit->lock, flags);
	*pa = ret ? 0 : tlb.pfn << VTD_PAGE_SHIFT | offset_in_page(iova);
	return ret;
}

/**
 * vtd_access_as() - a function accesses memory under the requester ID of an alias
 * @fn: the function
 * @devfn: the alias, on the function's bus
 * @iova: address
 * @pa: what it is translated to
 *
 * Such requests have no PASID, and do not use the ATC.
 *
 * Context: any.
 * Return: 0, -EFAULT without a translation.
 */
int vtd_access_as(struct vtd_fn *fn, u8 devfn, u64 iova, u64 *pa)
{
	struct kiommu_tlb tlb = { .page = iova >> VTD_PAGE_SHIFT };
	unsigned long flags;
	int ret;

	raw_spin_lock_irqsave(&fn->unit->lock, flags);
	ret = vtd_translate(fn, PCI_DEVID(fn->unit->bus.bus.number, devfn),
			    IOMMU_NO_PASID, &tlb);
	raw_spin_unlock_irqrestore(&fn->unit->lock, flags);
	*pa = ret ? 0 : tlb.pfn << VTD_PAGE_SHIFT | offset_in_page(iova);
	return ret;
}

/**
 * vtd_request() - a function asks for a page
 * @fn: the function
 * @pasid: PASID, or IOMMU_NO_PASID
 * @iova: address
 * @flags: %VTD_READ, %VTD_WRITE, %VTD_LAST, %VTD_ON_THE_WAY, VTD_GROUP()
 *
 * Context: any.
 * Return: 0; -EPERM if the unit lets it ask for none; -ENOSPC if it found no room in the
 * ring, and was answered. Nobody knows that yet of one that is on the way.
 */
int vtd_request(struct vtd_fn *fn, u32 pasid, u64 iova, unsigned int flags)
{
	struct vtd_request req = {
		.qw = {
			1 | (u64)kiommu_id(&fn->pci) << 16,
			(iova & VTD_PAGE_MASK) |
			FIELD_PREP(GENMASK_ULL(11, 3), flags >> 4) |
			(flags & (VTD_READ | VTD_WRITE | VTD_LAST)),
		},
	};
	struct vtd_unit *unit = fn->unit;
	const struct vtd_context *context;
	unsigned long irqs;
	int ret = 0;

	if (pasid != IOMMU_NO_PASID)
		req.qw[0] |= BIT_ULL(8) | (u64)pasid << 32;
	raw_spin_lock_irqsave(&unit->lock, irqs);
	context = vtd_cached_context(unit, kiommu_id(&fn->pci));
	if (!context || !(context->lo & BIT_ULL(4)))
		ret = -EPERM;
	else if (flags & VTD_ON_THE_WAY && unit->nr_late == VTD_LATE)
		ret = -EBUSY;
	if (!ret && flags & VTD_LAST)
		fn->owed++;
	if (!ret && flags & VTD_ON_THE_WAY)
		unit->late[unit->nr_late++] = req;
	else if (!ret && !vtd_arrive(unit, &req))
		ret = -ENOSPC;
	raw_spin_unlock_irqrestore(&unit->lock, irqs);
	return ret;
}

/**
 * vtd_post() - a function writes to memory by what its ATC holds
 * @fn: the function
 * @pasid: PASID, or IOMMU_NO_PASID
 * @iova: address
 *
 * Context: any.
 * Return: 0, and vtd_in_flight(); -ENOENT if the ATC does not have it, -EPERM if the unit does
 * not let it pass.
 */
int vtd_post(struct vtd_fn *fn, u32 pasid, u64 iova)
{
	unsigned long flags;
	int ret = 0;

	raw_spin_lock_irqsave(&fn->unit->lock, flags);
	if (!kiommu_atc_find(&fn->pci, pasid, iova >> VTD_PAGE_SHIFT))
		ret = -ENOENT;
	else if (!vtd_dte(fn))
		ret = -EPERM;
	else
		fn->in_flight = true;
	raw_spin_unlock_irqrestore(&fn->unit->lock, flags);
	return ret;
}

/**
 * vtd_in_flight() - whether a write of a function has yet to get to memory
 * @fn: the function
 *
 * Context: any.
 * Return: true if vtd_post() has made one, and nothing has pushed it there.
 */
bool vtd_in_flight(struct vtd_fn *fn)
{
	return READ_ONCE(fn->in_flight);
}

/* --- the hardware: what is in the caches --- */

/* Not what is in the page table now */
static bool vtd_is_old(const struct kiommu_tlb *tlb)
{
	u64 pfn;

	if (!vtd_walk(tlb, &pfn))
		return !tlb->absent;
	return tlb->absent || pfn != tlb->pfn;
}

static unsigned int vtd_find(struct vtd_machine *machine, u64 root, u64 iova,
			     u64 size, kiommu_is_old_t *is_old)
{
	unsigned int n, m, found = 0;
	struct vtd_unit *unit;
	unsigned long flags;

	for (n = 0; n < machine->nr_units; n++) {
		unit = &machine->unit[n];
		raw_spin_lock_irqsave(&unit->lock, flags);
		found += kiommu_tlb_count(unit->iotlb, root, iova, size, is_old);
		for (m = 0; m < unit->bus.nr_fns; m++)
			found += kiommu_tlb_count(unit->bus.fn[m]->atc, root, iova, size,
						  is_old);
		raw_spin_unlock_irqrestore(&unit->lock, flags);
	}
	return found;
}

/**
 * vtd_stale() - count cached translations that differ from the page table
 * @machine: the machine
 * @root: the page table, see vtd_root(). It still exists
 * @iova: a range that nobody else is changing
 * @size: its size
 *
 * Context: any.
 * Return: their number, in all IOTLBs and ATCs.
 */
unsigned int vtd_stale(struct vtd_machine *machine, u64 root, u64 iova, u64 size)
{
	return vtd_find(machine, root, iova, size, vtd_is_old);
}

/**
 * vtd_cached() - count cached translations of a page table
 * @machine: the machine
 * @root: the page table, see vtd_root()
 *
 * Context: any.
 * Return: their number, in all IOTLBs and ATCs.
 */
unsigned int vtd_cached(struct vtd_machine *machine, u64 root)
{
	return vtd_find(machine, root, 0, U64_MAX, NULL);
}

/* --- the hardware: the audit --- */

typedef bool vtd_sid_fn(struct vtd_unit *unit, u16 sid, const struct kiommu_tlb *tlb);

/* For each requester ID of the functions behind a unit, until one says yes */
static bool vtd_any_sid(struct vtd_unit *unit, const struct kiommu_tlb *tlb,
			vtd_sid_fn *check)
{
	struct kiommu_bus *bus = &unit->bus;
	unsigned int n, devfn;
	struct pci_dev *pdev;

	for (n = 0; n < bus->nr_fns; n++) {
		pdev = &bus->fn[n]->pdev;
		if (check(unit, kiommu_id(bus->fn[n]), tlb))
			return true;
		if (!pdev->dma_alias_mask)
			continue;
		for_each_set_bit(devfn, pdev->dma_alias_mask, VTD_DEVFNS)
			if (check(unit, PCI_DEVID(bus->bus.number, devfn), tlb))
				return true;
	}
	return false;
}

static bool vtd_same_table(const struct kiommu_tlb *a, const struct kiommu_tlb *b)
{
	return a->type == b->type && a->tag == b->tag && a->root == b->root;
}

/* Whether the table that a translation came from still is that of a PASID */
static bool vtd_pasid_uses(struct vtd_unit *unit, const struct vtd_context *context,
			   u32 pasid, const struct kiommu_tlb *tlb)
{
	struct pasid_entry entry;
	struct kiommu_tlb now;

	if (!sm_supported(&unit->iommu)) {
		vtd_context_table(context, &now);
		return vtd_same_table(&now, tlb);
	}
	if (!vtd_read_entry(context, pasid, &entry))
		return false;
	vtd_table(&entry, &now);
	return vtd_same_table(&now, tlb);
}

/* The same of a requester. Of the second level, the IOTLB does not know the PASID. */
static bool vtd_sid_uses(struct vtd_unit *unit, u16 sid, const struct kiommu_tlb *tlb)
{
	struct vtd_context context;
	u32 pasid, end = 1;

	if (!vtd_read_context(unit, sid, &context))
		return false;
	if (tlb->type != PASID_ENTRY_PGTT_SL_ONLY)
		return vtd_pasid_uses(unit, &context, tlb->pasid, tlb);
	if (sm_supported(&unit->iommu))
		end = BIT(FIELD_GET(GENMASK_ULL(11, 9), context.lo) + 7 +
			  PASID_PDE_SHIFT);
	for (pasid = 0; pasid < end; pasid++)
		if (vtd_pasid_uses(unit, &context, pasid, tlb))
			return true;
	return false;
}

static void vtd_audit_iotlb(struct vtd_unit *unit)
{
	const struct kiommu_tlb *tlb;

	kiommu_for_each_tlb(unit->iotlb, tlb)
		if (!vtd_any_sid(unit, tlb, vtd_sid_uses) || vtd_is_old(tlb))
			kiommu_complain(unit->bus.k,
					"IOTLB of unit %u: did=%u pasid=%u page %llx is old",
					unit->index, tlb->tag, tlb->pasid, tlb->page);
}

/* Its ATC went with it. */
static bool vtd_is_away(struct vtd_fn *fn)
{
	return pci_dev_is_disconnected(&fn->pci.pdev);
}

/* While the unit lets nothing pass that was translated, it does no harm. */
static void vtd_audit_atc(struct vtd_fn *fn)
{
	struct vtd_context context;
	const struct kiommu_tlb *tlb;

	if (vtd_is_away(fn) || !kiommu_ats(&fn->pci) ||
	    !vtd_read_context(fn->unit, kiommu_id(&fn->pci), &context) ||
	    !vtd_context_dte(fn->unit, &context))
		return;
	kiommu_for_each_tlb(fn->pci.atc, tlb)
		if (!vtd_pasid_uses(fn->unit, &context, tlb->pasid, tlb) ||
		    vtd_is_old(tlb))
			kiommu_complain(fn->unit->bus.k,
					"ATC of %x: pasid=%u page %llx is old",
					kiommu_id(&fn->pci), tlb->pasid, tlb->page);
}

static bool vtd_context_is_current(struct vtd_unit *unit,
				   const struct vtd_context *context)
{
	struct vtd_context now;

	if (!vtd_read_context(unit, context->sid, &now))
		return !vtd_is_present(context);
	return now.lo == context->lo && now.hi == context->hi;
}

static void vtd_audit_contexts(struct vtd_unit *unit)
{
	const struct vtd_context *context;

	for (context = unit->context; context < unit->context + VTD_CONTEXTS;
	     context++)
		if (context->valid && !vtd_context_is_current(unit, context))
			kiommu_complain(unit->bus.k,
					"context cache of unit %u: that of %x is old",
					unit->index, context->sid);
}

static bool vtd_pc_is_old(struct vtd_unit *unit, const struct vtd_pasid_cache *pc)
{
	struct vtd_context context;
	struct pasid_entry now;

	if (!vtd_read_context(unit, pc->sid, &context) ||
	    !vtd_read_entry(&context, pc->pasid, &now))
		return vtd_pc_is_present(pc);
	return memcmp(&now, &pc->entry, sizeof(now));
}

static void vtd_audit_entries(struct vtd_unit *unit)
{
	const struct vtd_pasid_cache *pc;

	for (pc = unit->pasid_cache; pc < unit->pasid_cache + VTD_ENTRIES; pc++)
		if (pc->valid && vtd_pc_is_old(unit, pc))
			kiommu_complain(unit->bus.k,
					"PASID cache of unit %u: that of %x, PASID %u is old",
					unit->index, pc->sid, pc->pasid);
}

/**
 * vtd_audit() - complain about whatever is cached and not in memory any more
 * @machine: the machine; nothing is under way, and nobody changes a table
 *
 * Context: any.
 */
void vtd_audit(struct vtd_machine *machine)
{
	struct vtd_unit *unit;
	unsigned long flags;
	unsigned int n;

	if (machine->unaudited)
		return;
	for (n = 0; n < machine->nr_units; n++) {
		unit = &machine->unit[n];
		if (!unit->iommu.root_entry)
			continue;
		raw_spin_lock_irqsave(&unit->lock, flags);
		vtd_audit_contexts(unit);
		vtd_audit_entries(unit);
		vtd_audit_iotlb(unit);
		raw_spin_unlock_irqrestore(&unit->lock, flags);
	}
	for (n = 0; n < machine->nr_fns; n++) {
		unit = machine->fn[n]->unit;
		raw_spin_lock_irqsave(&unit->lock, flags);
		vtd_audit_atc(machine->fn[n]);
		raw_spin_unlock_irqrestore(&unit->lock, flags);
	}
}

/* In memory, if it is not another kernel's, and in the caches */
static bool vtd_knows_sid(struct vtd_unit *unit, u16 sid, const struct kiommu_tlb *tlb)
{
	const struct vtd_pasid_cache *pc;
	struct vtd_context context;

	if (context_copied(&unit->iommu, PCI_BUS_NUM(sid), sid & 0xff))
		return false;
	for (pc = unit->pasid_cache; pc < unit->pasid_cache + VTD_ENTRIES; pc++)
		if (pc->valid && pc->sid == sid && vtd_pc_is_present(pc))
			return true;
	return vtd_read_context(unit, sid, &context);
}

/**
 * vtd_audit_released() - complain about what is left of a function
 * @fn: the function, which the driver has released
 *
 * Of contexts that are cached, vtd_audit() finds those that are not in memory.
 *
 * Context: any.
 */
void vtd_audit_released(struct vtd_fn *fn)
{
	struct vtd_unit *unit = fn->unit;
	unsigned long flags;

	if (unit->machine->unaudited || !unit->iommu.root_entry)
		return;
	raw_spin_lock_irqsave(&unit->lock, flags);
	if (vtd_knows_sid(unit, kiommu_id(&fn->pci), NULL))
		kiommu_complain(unit->bus.k, "there still is a context entry of %x",
				kiommu_id(&fn->pci));
	if (kiommu_ats(&fn->pci) && !vtd_is_away(fn))
		kiommu_complain(unit->bus.k, "ATS of %x still is on", kiommu_id(&fn->pci));
	if (fn->owed)
		kiommu_complain(unit->bus.k, "%x still waits for %u answers",
				kiommu_id(&fn->pci), fn->owed);
	raw_spin_unlock_irqrestore(&unit->lock, flags);
}

/* --- the hardware: faults --- */

/**
 * vtd_let_others() - let other CPUs go on with the queue
 * @unit: the unit
 *
 * To be called by &vtd_unit.before, which otherwise keeps them away until it
 * returns. The command that it was called for may leave the queue meanwhile.
 */
void vtd_let_others(struct vtd_unit *unit)
{
	unsigned long flags;

	raw_spin_lock_irqsave(&unit->lock, flags);
	kiommu_turn_give_up(&unit->turn);
	raw_spin_unlock_irqrestore(&unit->lock, flags);
}

/**
 * vtd_name_nobody() - let a unit not say who did not answer
 * @unit: the unit
 * @ahead: how many submissions it has fetched when it finds out, beside the one
 *	that is not answered. They are lost as well
 *
 * Context: any.
 */
void vtd_name_nobody(struct vtd_unit *unit, unsigned int ahead)
{
	unsigned long flags;

	raw_spin_lock_irqsave(&unit->lock, flags);
	unit->nameless = true;
	unit->ahead = ahead;
	raw_spin_unlock_irqrestore(&unit->lock, flags);
}

/**
 * vtd_queue_error() - let a unit not understand a command
 * @unit: the unit
 * @nth: which of those that are not wait descriptors, counted from now: 1 is the next
 *
 * The unit stops there until the descriptor has been replaced, and the error has
 * been cleared.
 *
 * Context: any.
 */
void vtd_queue_error(struct vtd_unit *unit, unsigned int nth)
{
	unsigned long flags;

	raw_spin_lock_irqsave(&unit->lock, flags);
	unit->iqe = nth;
	raw_spin_unlock_irqrestore(&unit->lock, flags);
}

/**
 * vtd_shows_fault() - whether there is an error that software has not cleared
 * @unit: the unit
 *
 * Context: any.
 * Return: true until software has written to the fault status register.
 */
bool vtd_shows_fault(struct vtd_unit *unit)
{
	return vtd_readl(unit, DMAR_FSTS_REG) & VTD_FSTS_MARK;
}

/**
 * vtd_refuse() - let a unit refuse every command of a type
 * @unit: the unit
 * @type: QI_..._TYPE, 0 for none
 *
 * Context: any.
 */
void vtd_refuse(struct vtd_unit *unit, u8 type)
{
	unsigned long flags;

	raw_spin_lock_irqsave(&unit->lock, flags);
	unit->refuse = type;
	raw_spin_unlock_irqrestore(&unit->lock, flags);
}

/**
 * vtd_completion_error() - let a unit get a completion that it does not understand
 * @unit: the unit
 * @nth: before which of those that are not wait descriptors, counted from now
 *
 * Context: any.
 */
void vtd_completion_error(struct vtd_unit *unit, unsigned int nth)
{
	unsigned long flags;

	raw_spin_lock_irqsave(&unit->lock, flags);
	unit->ice = nth;
	raw_spin_unlock_irqrestore(&unit->lock, flags);
}

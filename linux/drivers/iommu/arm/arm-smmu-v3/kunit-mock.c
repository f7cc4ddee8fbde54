// SPDX-License-Identifier: GPL-2.0-only
/*
 * SMMUv3 instances made of memory: the command queue
 *
 * An instance consumes the commands between CONS and PROD in order, each not before it is
 * ready, and only when whoever waits for it lets it (iommu_kunit_hw_run()). What a command
 * promises is kept as late as it may be: configuration and translations that it names are
 * used until a CMD_SYNC behind it has completed, and what is cached meanwhile stays. An ATC
 * invalidation is the exception. It gets to the function at once, so that the function may
 * ask again before the TLB has forgotten: who sends both without a CMD_SYNC in between is
 * found out.
 *
 * A CMD_SYNC completes by CONS or, with an address, by a write of its data there as well. That
 * may come later, up to when the next CMD_SYNC leaves the queue, or not at all.
 * It fails once for a function that has not answered (CERROR_ATC_INV_SYNC). Another command
 * can be an illegal one (CERROR_ILL). In both cases GERROR says so and the queue stands until
 * GERRORN does as well: the driver's interrupt handler is called by tests, or not at all.
 *
 * Not modelled: stages that are nested, events and stalls, page requests, SEV, secure state,
 * and the time that a translation takes. RESUME and PRI_RESP do nothing but being in the log.
 */
#include <linux/bitfield.h>
#include <linux/io.h>
#include <linux/ktime.h>
#include <linux/smp.h>

#include "kunit-mock.h"

static u32 smmu_readl(struct smmu_unit *unit, unsigned int reg)
{
	return readl_relaxed(unit->smmu.base + reg);
}

/* What is announced is in memory before. */
static void smmu_writel(struct smmu_unit *unit, unsigned int reg, u32 val)
{
	writel(val, unit->smmu.base + reg);
}

/* --- the log --- */

static void smmu_log(struct smmu_unit *unit, struct smmu_cmd *cmd)
{
	lockdep_assert_held(&unit->lock);

	cmd->done = kiommu_seq(&unit->machine->k);
	unit->count[cmd->op]++;
	if (unit->nr_logged < SMMU_LOG)
		unit->log[unit->nr_logged] = *cmd;
	unit->nr_logged++;
}

/**
 * smmu_clear_log() - start counts and logs from zero
 * @machine: the machine; nothing is under way
 */
void smmu_clear_log(struct smmu_machine *machine)
{
	unsigned int n;

	for (n = 0; n < machine->nr_units; n++) {
		smmu_settle(&machine->unit[n]);
		memset(machine->unit[n].count, 0, sizeof(machine->unit[n].count));
		machine->unit[n].nr_logged = 0;
	}
}

/**
 * smmu_count() - commands of an instance since smmu_clear_log()
 * @unit: the instance; nothing is under way
 * @op: CMDQ_OP_...
 *
 * Return: how many of them left the queue. A CMD_SYNC that failed counts each time.
 */
unsigned int smmu_count(struct smmu_unit *unit, u8 op)
{
	smmu_settle(unit);
	return unit->count[op];
}

/* --- the queue: positions --- */

static u32 smmu_mask(const struct smmu_unit *unit)
{
	return (2U << unit->smmu.cmdq.q.llq.max_n_shift) - 1;
}

static struct smmu_slot *smmu_slot(struct smmu_unit *unit, u32 pos)
{
	return &unit->slot[Q_IDX(&unit->smmu.cmdq.q.llq, pos)];
}

static void smmu_read_slot(struct smmu_unit *unit, u32 pos, u64 *qw)
{
	const __le64 *ent = Q_ENT(&unit->smmu.cmdq.q, pos);
	unsigned int n;

	for (n = 0; n < CMDQ_ENT_DWORDS; n++)
		qw[n] = le64_to_cpu(READ_ONCE(ent[n]));
}

static void smmu_show_cons(struct smmu_unit *unit, u8 error)
{
	smmu_writel(unit, ARM_SMMU_CMDQ_CONS,
		    unit->head | FIELD_PREP(CMDQ_CONS_ERR, error));
}

static u64 smmu_latency(struct smmu_unit *unit, const struct smmu_slot *slot)
{
	return (slot->qw[0] & CMDQ_0_OP) == CMDQ_OP_CMD_SYNC ?
		unit->latency : unit->cmd_latency;
}

/* It goes forwards, and not past CONS. */
static bool smmu_is_prod(struct smmu_unit *unit, u32 prod)
{
	u32 mask = smmu_mask(unit);
	u32 used = (prod - unit->head) & mask;

	return used <= (mask + 1) / 2 && used >= ((unit->tail - unit->head) & mask);
}

/* New commands, which are in memory before PROD says so */
static void smmu_accept(struct smmu_unit *unit)
{
	u32 prod = readl(unit->smmu.base + ARM_SMMU_CMDQ_PROD);
	struct smmu_slot *slot;

	lockdep_assert_held(&unit->lock);

	if (prod & ~smmu_mask(unit) || !smmu_is_prod(unit, prod)) {
		kiommu_complain(&unit->machine->k,
				"PROD of instance %u goes from %x to %x, CONS is %x",
				unit->index, unit->tail, prod, unit->head);
		return;
	}
	unit->busy_until = max(unit->busy_until, ktime_get_mono_fast_ns());
	while (unit->tail != prod) {
		slot = smmu_slot(unit, unit->tail);
		memset(slot, 0, sizeof(*slot));
		slot->issued = kiommu_seq(&unit->machine->k);
		smmu_read_slot(unit, unit->tail, slot->qw);
		unit->busy_until += smmu_latency(unit, slot);
		slot->ready = unit->busy_until;
		unit->tail = (unit->tail + 1) & smmu_mask(unit);
	}
}

/* --- the queue: errors --- */

static void smmu_stop(struct smmu_unit *unit, struct smmu_cmd *cmd, u8 error)
{
	u32 gerror = smmu_readl(unit, ARM_SMMU_GERROR);

	u32 pos;

	cmd->error = error;
	smmu_log(unit, cmd);
	/* Those behind it are fetched again, too. */
	for (pos = unit->head; pos != unit->tail; pos = (pos + 1) & smmu_mask(unit))
		smmu_slot(unit, pos)->bad = true;
	unit->stopped = true;
	smmu_show_cons(unit, error);
	if (!((gerror ^ smmu_readl(unit, ARM_SMMU_GERRORN)) & GERROR_CMDQ_ERR))
		smmu_writel(unit, ARM_SMMU_GERROR, gerror ^ GERROR_CMDQ_ERR);
}

/**
 * smmu_shows_error() - whether there is an error that software has not acknowledged
 * @unit: the instance
 *
 * Context: any.
 * Return: true until GERRORN says what GERROR says.
 */
bool smmu_shows_error(struct smmu_unit *unit)
{
	return (smmu_readl(unit, ARM_SMMU_GERROR) ^
		smmu_readl(unit, ARM_SMMU_GERRORN)) & GERROR_CMDQ_ERR;
}

static bool smmu_is_stopped(struct smmu_unit *unit)
{
	if (unit->stopped && !smmu_shows_error(unit))
		unit->stopped = false;
	return unit->stopped;
}

/**
 * smmu_fail() - let an instance stop at a command
 * @unit: the instance
 * @error: why, CMDQ_ERR_CERROR_ILL_IDX or CMDQ_ERR_CERROR_ABT_IDX
 * @nth: which of those that are no CMD_SYNC, counted from now: 1 is the next, 0: none
 *
 * Context: any.
 */
void smmu_fail(struct smmu_unit *unit, u8 error, unsigned int nth)
{
	unsigned long flags;

	smmu_settle(unit);
	raw_spin_lock_irqsave(&unit->lock, flags);
	unit->fail = error;
	unit->fail_nth = nth;
	raw_spin_unlock_irqrestore(&unit->lock, flags);
}

/**
 * smmu_refuse() - let each command of a kind be an illegal one
 * @unit: the instance
 * @op: CMDQ_OP_..., 0: none
 *
 * Context: any.
 */
void smmu_refuse(struct smmu_unit *unit, u8 op)
{
	unsigned long flags;

	raw_spin_lock_irqsave(&unit->lock, flags);
	unit->refuse = op;
	raw_spin_unlock_irqrestore(&unit->lock, flags);
}

/* --- ATC invalidations --- */

static struct smmu_fn *smmu_fn_of_sid(struct smmu_unit *unit, u32 sid)
{
	struct smmu_machine *machine = unit->machine;
	unsigned int n, i;

	for (n = 0; n < machine->nr_fns; n++) {
		if (machine->fn[n]->unit != unit)
			continue;
		for (i = 0; i < machine->fn[n]->nr_sids; i++)
			if (machine->fn[n]->sid[i] == sid)
				return machine->fn[n];
	}
	return NULL;
}

static void smmu_answer(const struct smmu_atc_inv *inv)
{
	kiommu_atc_drop(&inv->fn->fn, inv->ssid, inv->page, inv->order);
}

static void smmu_answer_later(struct smmu_unit *unit, const struct smmu_atc_inv *inv,
			      u64 ns)
{
	unit->answer_at = max(unit->answer_at, ktime_get_mono_fast_ns() + ns);
	if (unit->nr_outstanding < SMMU_OUTSTANDING)
		unit->outstanding[unit->nr_outstanding++] = *inv;
	else
		kiommu_complain(&unit->machine->k, "too many ATC invalidations are late");
}

/* The function has ATS off: nobody answers for it, and it has nothing cached. */
static void smmu_asked_off(struct smmu_unit *unit, struct smmu_fn *fn, u32 sid)
{
	fn->asked_off++;
	if (unit->machine->strict_ats)
		kiommu_complain(&unit->machine->k,
				"ATC invalidation for %x, which has no ATS", sid);
}

static void smmu_atc_inv(struct smmu_unit *unit, const struct smmu_cmd *cmd)
{
	u32 sid = FIELD_GET(CMDQ_ATC_0_SID, cmd->qw[0]);
	struct smmu_atc_inv inv = {
		.fn = smmu_fn_of_sid(unit, sid),
		.ssid = cmd->qw[0] & CMDQ_0_SSV ?
			FIELD_GET(CMDQ_ATC_0_SSID, cmd->qw[0]) : KIOMMU_ANY_PASID,
		.page = (cmd->qw[1] & CMDQ_ATC_1_ADDR_MASK) >> 12,
		.order = FIELD_GET(CMDQ_ATC_1_SIZE, cmd->qw[1]),
	};

	if (!inv.fn || !(unit->smmu.features & ARM_SMMU_FEAT_ATS)) {
		kiommu_complain(&unit->machine->k,
				"ATC invalidation for %x, which is not there", sid);
		return;
	}
	if (cmd->qw[0] & CMDQ_ATC_0_GLOBAL)
		inv.ssid = KIOMMU_ANY_PASID;
	if (!kiommu_ats(&inv.fn->fn)) {
		smmu_asked_off(unit, inv.fn, sid);
		return;
	}
	if (!kiommu_answers(&inv.fn->fn)) {
		unit->answer_at = max(unit->answer_at,
				      ktime_get_mono_fast_ns() + unit->atc_timeout);
		unit->lost = true;
	} else if (inv.fn->late_ns) {
		smmu_answer_later(unit, &inv, inv.fn->late_ns);
	} else {
		smmu_answer(&inv);
	}
}

/* --- the queue: execution --- */

static void smmu_write_msi(const struct smmu_msi *msi)
{
	/* Hardware's writes to memory are in order; nobody pairs. */
	smp_store_release(msi->at, msi->data);
}

/* Those that have been on their way for long enough, or all */
static void smmu_write_msis(struct smmu_unit *unit, bool all)
{
	unsigned int n, kept = 0;

	for (n = 0; n < unit->nr_msis; n++) {
		if (all || !unit->msi[n].turns--)
			smmu_write_msi(&unit->msi[n]);
		else
			unit->msi[kept++] = unit->msi[n];
	}
	unit->nr_msis = kept;
}

/* Whoever has waited may use the slots again at once. */
static void smmu_complete(struct smmu_unit *unit, const struct smmu_cmd *cmd)
{
	struct smmu_msi msi = {
		.at = phys_to_virt(cmd->qw[1] & CMDQ_SYNC_1_MSIADDR_MASK),
		.data = FIELD_GET(CMDQ_SYNC_0_MSIDATA, cmd->qw[0]),
		.turns = unit->msi_turns,
	};

	if (FIELD_GET(CMDQ_SYNC_0_CS, cmd->qw[0]) != CMDQ_SYNC_0_CS_IRQ)
		return;
	if (unit->lose_msis)
		unit->lose_msis--;
	else if (!msi.turns || unit->nr_msis == SMMU_MSIS)
		smmu_write_msi(&msi);
	else
		unit->msi[unit->nr_msis++] = msi;
}

static void smmu_leave(struct smmu_unit *unit, struct smmu_cmd *cmd)
{
	smmu_log(unit, cmd);
	unit->head = (unit->head + 1) & smmu_mask(unit);
	smmu_show_cons(unit, CMDQ_ERR_CERROR_NONE_IDX);
}

static void smmu_sync(struct smmu_unit *unit, struct smmu_cmd *cmd)
{
	unsigned int n;

	if (unit->lost) {
		unit->lost = false;
		smmu_stop(unit, cmd, CMDQ_ERR_CERROR_ATC_INV_IDX);
		return;
	}
	for (n = 0; n < unit->nr_outstanding; n++)
		smmu_answer(&unit->outstanding[n]);
	unit->nr_outstanding = 0;
	smmu_drop_doomed(unit);
	smmu_write_msis(unit, true);
	smmu_leave(unit, cmd);
	smmu_complete(unit, cmd);
}

/* True if there is such a command, and the instance can do it */
static bool smmu_do(struct smmu_unit *unit, const struct smmu_cmd *cmd)
{
	switch (cmd->op) {
	case CMDQ_OP_PREFETCH_CFG:
		smmu_prefetch(unit, FIELD_GET(CMDQ_PREFETCH_0_SID, cmd->qw[0]));
		return true;
	case CMDQ_OP_ATC_INV:
		smmu_atc_inv(unit, cmd);
		return true;
	case CMDQ_OP_PRI_RESP:
	case CMDQ_OP_RESUME:
		return true;
	default:
		return smmu_cfgi(unit, cmd) || smmu_tlbi(unit, cmd);
	}
}

/* A command leaves the queue, unless it stops there. */
static void smmu_execute(struct smmu_unit *unit, struct smmu_cmd *cmd)
{
	lockdep_assert_held(&unit->lock);

	if (cmd->op == CMDQ_OP_CMD_SYNC) {
		smmu_sync(unit, cmd);
		return;
	}
	if (unit->refuse == cmd->op) {
		smmu_stop(unit, cmd, CMDQ_ERR_CERROR_ILL_IDX);
		return;
	}
	if (unit->fail_nth && !--unit->fail_nth) {
		smmu_stop(unit, cmd, unit->fail);
		return;
	}
	if (smmu_do(unit, cmd)) {
		smmu_leave(unit, cmd);
		return;
	}
	kiommu_complain(&unit->machine->k, "bad command %llx %llx", cmd->qw[0], cmd->qw[1]);
	smmu_stop(unit, cmd, CMDQ_ERR_CERROR_ILL_IDX);
}

/* What is in memory now; software may not have touched it meanwhile. */
static void smmu_fetch(struct smmu_unit *unit, struct smmu_slot *slot,
		       struct smmu_cmd *cmd)
{
	memset(cmd, 0, sizeof(*cmd));
	smmu_read_slot(unit, unit->head, cmd->qw);
	if (!slot->bad && memcmp(cmd->qw, slot->qw, sizeof(slot->qw)))
		kiommu_complain(&unit->machine->k,
				"slot %x of instance %u was %llx, is %llx", unit->head,
				unit->index, slot->qw[0], cmd->qw[0]);
	cmd->op = FIELD_GET(CMDQ_0_OP, cmd->qw[0]);
	cmd->issued = slot->issued;
}

static void smmu_tell(struct smmu_unit *unit, struct smmu_slot *slot,
		      const struct smmu_cmd *cmd)
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

static bool smmu_is_idle(struct smmu_unit *unit)
{
	return unit->head == unit->tail ||
		ktime_get_mono_fast_ns() < smmu_slot(unit, unit->head)->ready;
}

/* Nothing that a CMD_SYNC would have to wait for? */
static bool smmu_is_answered(struct smmu_unit *unit, const struct smmu_cmd *cmd)
{
	return cmd->op != CMDQ_OP_CMD_SYNC ||
		ktime_get_mono_fast_ns() >= unit->answer_at;
}

/* Do one thing, if it is time for one. */
static bool smmu_step(struct smmu_unit *unit)
{
	struct smmu_slot *slot;
	struct smmu_cmd cmd;

	lockdep_assert_held(&unit->lock);

	if (kiommu_turn_is_others(&unit->turn) || smmu_is_stopped(unit) || smmu_is_idle(unit))
		return false;
	slot = smmu_slot(unit, unit->head);
	smmu_fetch(unit, slot, &cmd);
	if (!slot->seen)
		kiommu_hold_see(&unit->hold, cmd.op);
	slot->seen = true;
	if (kiommu_hold_stops(&unit->hold) || !smmu_is_answered(unit, &cmd))
		return false;
	if (unit->before && !slot->told)
		smmu_tell(unit, slot, &cmd);
	else
		smmu_execute(unit, &cmd);
	return true;
}

/**
 * smmu_queue() - &iommu_kunit_hw.run of an instance
 * @hw: of the instance
 * @submitted: PROD was written, or an error acknowledged; otherwise somebody waits
 *
 * Context: any. Of those who wait, everybody may call it at the same time.
 */
void smmu_queue(struct iommu_kunit_hw *hw, bool submitted)
{
	struct smmu_unit *unit = hw_to_smmu_unit(hw);
	unsigned long flags;

	raw_spin_lock_irqsave(&unit->lock, flags);
	smmu_accept(unit);
	if (!submitted) {
		smmu_write_msis(unit, false);
		while (smmu_step(unit))
			;
	}
	raw_spin_unlock_irqrestore(&unit->lock, flags);
}

/* The next command is ready now, unless somebody waits for it. */
static void smmu_hurry(struct smmu_unit *unit)
{
	struct smmu_slot *slot = smmu_slot(unit, unit->head);

	if (unit->head != unit->tail && (slot->qw[0] & CMDQ_0_OP) != CMDQ_OP_CMD_SYNC)
		slot->ready = 0;
}

/**
 * smmu_settle() - let an instance execute what nobody waits for
 * @unit: the instance
 *
 * Some commands have no CMD_SYNC behind them. It stops where it would stop otherwise.
 *
 * Context: any, without &smmu_unit.lock.
 */
void smmu_settle(struct smmu_unit *unit)
{
	unsigned long flags;

	raw_spin_lock_irqsave(&unit->lock, flags);
	smmu_accept(unit);
	do {
		smmu_hurry(unit);
	} while (smmu_step(unit));
	raw_spin_unlock_irqrestore(&unit->lock, flags);
}

/**
 * smmu_calm() - forget what an instance is to do wrong, and what it waits for
 * @unit: the instance
 *
 * Context: any, without &smmu_unit.lock.
 */
void smmu_calm(struct smmu_unit *unit)
{
	unsigned long flags;

	kiommu_let_go(&unit->hold);
	raw_spin_lock_irqsave(&unit->lock, flags);
	unit->latency = 0;
	unit->cmd_latency = 0;
	unit->fail_nth = 0;
	unit->refuse = 0;
	unit->msi_turns = 0;
	unit->lose_msis = 0;
	smmu_write_msis(unit, true);
	unit->lost = false;
	unit->answer_at = 0;
	raw_spin_unlock_irqrestore(&unit->lock, flags);
}

/**
 * smmu_let_others() - let other CPUs go on with the queue
 * @unit: the instance
 *
 * To be called by &smmu_unit.before, which otherwise keeps them away until it returns. The
 * command that it was called for may leave the queue meanwhile.
 */
void smmu_let_others(struct smmu_unit *unit)
{
	unsigned long flags;

	raw_spin_lock_irqsave(&unit->lock, flags);
	kiommu_turn_give_up(&unit->turn);
	raw_spin_unlock_irqrestore(&unit->lock, flags);
}

/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * holds: RESET_EMPTIES+ATS_LAST INTERRUPT
 * variants freed: NO_FLUSH_MB SKIP_ON_FENCING NO_CONTEXT_FLUSH NO_IOTLB_AFTER_CONTEXT
 * variants freed: NO_WAIT_BETWEEN FENCED_BEFORE_WAIT FENCE_IGNORES_ABORT
 * variants freed: CLEAR_FIRST FENCE_UNLOCKED NO_MASK TOLERANT+NO_GRACE_PERIOD
 * variants freed: LIVE_AFTER_DTE LIVE_AT_ONCE NO_TAG_FLUSH NO_ATC_FLUSH ATS_LAST
 * variants freed: RESUMES_ANYHOW
 * variants answers: NO_GRACE_PERIOD
 * variants knows_fenced: ASKED_AGAIN
 * variants dte: NO_CONTEXT_FLUSH_LAST
 * variants deadlock: INTERRUPT+WAITS_FOR_OTHER INTERRUPT+IRQS_ON
 *
 * A function stops answering, or is reset, again and again, while the page table changes. Two
 * walks may be under way, the second one as often as it likes; whoever resets the function also
 * brings it back; and somebody else writes to the context entry.
 *
 * ATS_LAST: ATS goes on behind DTE, and the ATC is flushed after that; RESET_EMPTIES: it is
 * empty then. TOLERANT: a function in reset answers at once.
 * INTERRUPT: the second walk may be one, on the CPU of the first, and nobody resets.
 */
#define FENCE
#define MEMORY	{ OLD, LISTED, LISTED, PRESENT, CLEAR, LIVE, DTE_ON }
#include "cpu.h"
#include "fence.h"

#define WALKER		0
#define OTHER_WALKER	1
#define RESETTER	2

#ifdef INTERRUPT
#define not_interrupted	provided (!in_irq)
#else
#define not_interrupted
#endif

active proctype invalidate() not_interrupted
{
	byte state;
	bool again;

	store(WALKER, PTE, NEW);
	/* iommu_alist_flush() */
#ifndef NO_FLUSH_MB
	smp_mb(WALKER);
#endif
	rcu_read_lock(WALKER);
	walk(WALKER);
	rcu_read_unlock(WALKER);
	/* the caller */
	freed = true
}

active proctype invalidate_other()
{
	byte state;
	bool again;

end:	do
	::
#ifdef INTERRUPT
		if
		:: d_step { !irqs_off -> in_irq = true }
		:: true
		fi;
#endif
		rcu_read_lock(OTHER_WALKER);
		walk(OTHER_WALKER);
		rcu_read_unlock(OTHER_WALKER);
#ifdef INTERRUPT
		in_irq = false;
		break
#endif
	od
}

#ifndef INTERRUPT
active proctype reset()
{
	bool live;

end:	do
	::	/* pci_dev_reset_iommu_prepare() */
		fence(RESETTER);
		smp_mb(RESETTER);
#ifndef NO_GRACE_PERIOD
		synchronize_rcu_with(WALKER);
		synchronize_rcu_with(OTHER_WALKER);
#endif
#ifdef TOLERANT
		ats = false;
#else
		d_step { answers = false; ats = false };
#endif
		/* the reset: the ATC may be empty behind it, or not */
		if
#ifndef RESET_EMPTIES
		:: true
#endif
		:: old_in_atc = false
		fi;
		/* pci_dev_reset_iommu_done() */
#ifdef ATS_LAST
		answers = true;
#else
		d_step { answers = true; ats = true };
#endif
#ifdef LIVE_AFTER_DTE
		d_step { !locked -> memory[CONTEXT] = DTE_ON };
#endif
#ifdef LIVE_AT_ONCE
		store(RESETTER, STATE, LIVE);
#else
		store(RESETTER, STATE, RESUMING);
#endif
		/* The doorbell would do here; resume.pml is why it is needed. */
		d_step { smp_mb(RESETTER) -> forget_fenced() };
		do
		::	d_step {
#ifndef NO_TAG_FLUSH
				issued[RESETTER].tag = true;
#endif
				if
				:: asks(load(STATE)) ->
#if !defined(NO_ATC_FLUSH) && !defined(ATS_LAST)
					issued[RESETTER].atc = true
#endif
				:: else
				fi
			};
			if
			:: done(RESETTER) -> break
			:: d_step { repeat(RESETTER) }
			:: d_step { repeat(RESETTER) }; fence(RESETTER); break
			fi
		od;
		go_live(RESETTER);
#ifdef ATS_LAST
		ats = true;
		if
		:: asks(load(STATE)) -> issue(RESETTER, atc)
		:: else
		fi;
		if
		:: done(RESETTER)
		:: d_step { repeat(RESETTER) }; fence(RESETTER)
		fi
#endif
	od
}

/* Who changes the context entry, for whatever reason, composes DTE anew. */
active proctype other_writer()
{
	bool masked;

end:	do
	::	d_step { !locked -> locked = true; masked = load(STATE) != LIVE };
		d_step {
#ifdef NO_MASK
			memory[CONTEXT] = DTE_ON;
#else
			memory[CONTEXT] = !masked;
#endif
			masked = false; locked = false
		}
	od
}
#endif

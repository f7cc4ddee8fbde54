/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * holds: RESET_EMPTIES+LISTED_ATCS_ONLY
 * variants freed: NO_FLUSH_MB NO_RESUME_MB NO_JOIN_FLUSH
 * variants freed: NO_TAG_FLUSH LISTED_ATCS_ONLY STATE_READ_FIRST NO_ENTRY_FLUSH
 * variants answers: NO_GRACE_PERIOD
 *
 * A PASID of a function is attached and detached again and again, while the function is fenced,
 * reset and brought back, and the page table of the PASID's domain changes. The tag is a
 * neighbour's, too. Who brings the function back takes no lock against attaching: what it
 * has to flush it finds on the list.
 *
 * LISTED_ATCS_ONLY: of the ATC, it flushes the PASIDs that are attached.
 */
#define FENCE
#define PASID_COMES_AND_GOES
#define MEMORY	{ OLD, LISTED, UNLISTED, CLEAR, CLEAR, LIVE, DTE_ON }
#include "cpu.h"
#include "fence.h"

#define WALKER		0
#define ATTACHER	1	/* whoever has iommu_alist.lock */
#define RESETTER	2

active proctype invalidate()
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

active proctype attach()
{
	byte state;
	bool again;

end:	do
	::	/* iommu_alist_commit() */
		store(ATTACHER, ATC, LISTED);
		smp_mb(ATTACHER);
#ifndef NO_JOIN_FLUSH
		do
		::	issue(ATTACHER, tag);
			if
			:: done(ATTACHER) -> break
			:: d_step { repeat(ATTACHER) }
			fi
		od;
#endif
		/* the driver */
		store(ATTACHER, ENTRY, PRESENT);

		/* the driver */
		store(ATTACHER, ENTRY, CLEAR);
#ifdef STATE_READ_FIRST
		state = load(STATE);
#endif
		do
		::
#ifndef NO_ENTRY_FLUSH
			issue(ATTACHER, entry);
#endif
			if
			:: done(ATTACHER) -> break
			:: d_step { repeat(ATTACHER) }
			fi
		od;
		/* iommu_alist_remove() */
		rcu_read_lock(ATTACHER);
#ifdef STATE_READ_FIRST
		if
		:: state == FENCED -> issue(ATTACHER, tag); done(ATTACHER); state = 0
		:: else -> walk(ATTACHER)
		fi;
#else
		walk(ATTACHER);
#endif
		rcu_read_unlock(ATTACHER);
		store(ATTACHER, ATC, UNLISTED)
	od
}

active proctype reset()
{
	bool live, listed;

end:	do
	::	/* pci_dev_reset_iommu_prepare() */
		fence(RESETTER);
		smp_mb(RESETTER);
#ifndef NO_GRACE_PERIOD
		synchronize_rcu_with(WALKER);
		synchronize_rcu_with(ATTACHER);
#endif
		atomic { answers = false; ats = false };
		/* the reset */
		if
#ifndef RESET_EMPTIES
		:: true
#endif
		:: old_in_atc = false
		fi;
		/* pci_dev_reset_iommu_done() */
		d_step { answers = true; ats = true };
		store(RESETTER, STATE, RESUMING);
#ifndef NO_RESUME_MB
		d_step { smp_mb(RESETTER) -> forget_fenced() };
#endif
		listed = load(ATC) == LISTED;
		do
		::	d_step {
				smp_mb(RESETTER);
				if
#ifndef NO_TAG_FLUSH
				:: listed -> issued[RESETTER].tag = true
#endif
				:: else
				fi;
				if
#ifdef LISTED_ATCS_ONLY
				:: asks(load(STATE)) && listed -> issued[RESETTER].atc = true
#else
				:: asks(load(STATE)) -> issued[RESETTER].atc = true
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
		listed = false;
		go_live(RESETTER)
	od
}

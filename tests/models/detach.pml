/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * holds: ABORTS
 * variants freed: UNPUBLISH_FIRST UNPUBLISH_BEFORE_WAIT
 * variants freed: NO_ENTRY_FLUSH ENTRY_FLUSH_NOT_WAITED
 * variants freed: ABORTS+REMOVE_IGNORES_ABORT ABORTS+WALK_IGNORES_ABORT
 * variants answers: NO_SYNCHRONIZE TWO_SECTIONS
 * variants issued: WAIT_BY_SECOND_WALK
 * variants elements_gone: NO_GRACE_PERIOD
 *
 * A function with ATS leaves while the page table changes. To the domain that it
 * leaves a replacement is the same: the entry stops being its own.
 *
 * ABORTS: twice, the instance drops whatever was issued.
 */
#define MEMORY	{ OLD, LISTED, LISTED, PRESENT, CLEAR }
#define ATS	true
#include "cpu.h"
#include "iommu.h"

#define DETACHER	0
#define INVALIDATOR	1

bool reading;		/* the walk is inside rcu_read_lock() */
bool elements_gone;	/* freed, or used again */

#define rcu_read_lock()		reading = true
#define rcu_read_unlock()	reading = false
#define synchronize_rcu(cpu)	smp_mb(cpu); !reading

#define unpublish() \
	store(DETACHER, ATC, UNLISTED); \
	store(DETACHER, TAG, UNLISTED)

#ifdef ABORTS
bool aborted[CPUS];

#define drop(cpu) \
	aborted[cpu] = aborted[cpu] || outstanding(cpu); \
	issued[cpu].entry = false; \
	issued[cpu].tag = false; \
	issued[cpu].atc = false

active proctype instance()
{
	byte aborts;

end:	do
	:: d_step { aborts < 2 && (outstanding(DETACHER) || outstanding(INVALIDATOR)) ->
		aborts++; drop(DETACHER); drop(INVALIDATOR) }
	od
}

#define wait_or_repeat(cpu) \
	wait(cpu); \
	if \
	:: aborted[cpu] -> aborted[cpu] = false \
	:: else -> break \
	fi
#else
#define wait_or_repeat(cpu)	wait(cpu); break
#endif

active proctype detach()
{
#ifdef UNPUBLISH_FIRST
	unpublish();
#endif
	/* the driver */
	store(DETACHER, ENTRY, CLEAR);
	do
	::
#ifndef NO_ENTRY_FLUSH
		issue(DETACHER, entry);
#endif
#ifdef ENTRY_FLUSH_NOT_WAITED
		break;
#endif
		wait_or_repeat(DETACHER)
	od;
	/* iommu_alist_remove() */
	do
	::	issue(DETACHER, tag);
		issue(DETACHER, atc);
#ifdef UNPUBLISH_BEFORE_WAIT
		unpublish();
#endif
#ifdef REMOVE_IGNORES_ABORT
		wait(DETACHER); break;
#endif
		wait_or_repeat(DETACHER)
	od;
	unpublish();
#ifdef NO_GRACE_PERIOD
	elements_gone = true;
#endif
	/* iommu_alist_synchronize() */
#ifndef NO_SYNCHRONIZE
	synchronize_rcu(DETACHER);
#endif
	/* the driver: ATS off */
	answers = false;
	/* kfree_rcu() */
	synchronize_rcu(DETACHER);
	elements_gone = true;
}

active proctype invalidate()
{
	store(INVALIDATOR, PTE, NEW);
	/* iommu_alist_flush() */
	smp_mb(INVALIDATOR);
	rcu_read_lock();
	do
	::	if
		:: load(TAG) == LISTED -> assert(!elements_gone); issue(INVALIDATOR, tag)
		:: else
		fi;
		if
		:: load(ATC) == LISTED -> assert(!elements_gone); issue(INVALIDATOR, atc)
		:: else
		fi;
#ifdef TWO_SECTIONS
		rcu_read_unlock();
		rcu_read_lock();
#endif
#ifdef WAIT_BY_SECOND_WALK
		if
		:: load(TAG) == LISTED || load(ATC) == LISTED -> wait(INVALIDATOR)
		:: else
		fi;
		break;
#endif
#ifdef WALK_IGNORES_ABORT
		wait(INVALIDATOR); break;
#endif
		wait_or_repeat(INVALIDATOR)
	od;
	/* It waited for all that it issued. */
	assert(!outstanding(INVALIDATOR));
	rcu_read_unlock();
	/* the caller */
	freed = true;
}

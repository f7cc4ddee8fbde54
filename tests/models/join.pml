/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * holds: UNORDERED
 * variants freed: NO_JOIN_FLUSH JOIN_FLUSH_NOT_WAITED NO_FLUSH_MB
 * variants freed: UNORDERED+NO_JOIN_FLUSH UNORDERED+JOIN_FLUSH_NOT_WAITED
 * variants freed: UNORDERED+ONE_PHASE
 *
 * A function with ATS joins a tag that a neighbour uses, while the page table changes.
 * The IOTLB may be old for as long as the invalidation's flush is under way.
 *
 * Ordered queue: one pass over tag and ATC. UNORDERED: IOMMU_ALIST_SYNC_BEFORE_ATC,
 * a pass for each.
 */
#define MEMORY	{ OLD, LISTED, UNLISTED, CLEAR, PRESENT }
#define ATS	true
#include "cpu.h"
#include "iommu.h"

#define JOINER		0
#define INVALIDATOR	1

active proctype join()
{
	/* iommu_alist_commit() */
	store(JOINER, ATC, LISTED);
	smp_mb(JOINER);
#ifndef NO_JOIN_FLUSH
	issue(JOINER, tag);
#endif
#ifndef JOIN_FLUSH_NOT_WAITED
	wait(JOINER);
#endif
	/* the driver */
	store(JOINER, ENTRY, PRESENT);
}

active proctype invalidate()
{
	bool looked, listed;

	store(INVALIDATOR, PTE, NEW);
	/* iommu_alist_flush() */
#ifndef NO_FLUSH_MB
	smp_mb(INVALIDATOR);
#endif
	/* Nothing keeps the load for the ATC behind the tag's flush, or its sync. */
	if
	:: looked = true; listed = load(ATC) == LISTED
	:: true
	fi;
	issue(INVALIDATOR, tag);
#if defined(UNORDERED) && !defined(ONE_PHASE)
	wait(INVALIDATOR);
#endif
	if
	:: looked
	:: else -> listed = load(ATC) == LISTED
	fi;
	if
	:: listed -> issue(INVALIDATOR, atc)
	:: else
	fi;
	wait(INVALIDATOR);
	/* the caller */
	freed = true;
}

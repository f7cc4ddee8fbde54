/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * variants freed: NO_COMMIT_MB NO_FLUSH_MB PRESENT_BEFORE_PUBLISH
 * variants answers: ATS_ON_LAST
 *
 * A domain gets its first function on an instance while its page table changes: both
 * elements are new, and the two smp_mb() are all that there is between them.
 */
#define MEMORY	{ OLD, UNLISTED, UNLISTED, CLEAR, CLEAR }
#define ATS	false
#include "cpu.h"
#include "iommu.h"

#define ATTACHER	0
#define INVALIDATOR	1

active proctype attach()
{
#ifndef ATS_ON_LAST
	answers = true;
#endif
#ifdef PRESENT_BEFORE_PUBLISH
	store(ATTACHER, ENTRY, PRESENT);
	smp_mb(ATTACHER);
#endif
	/* iommu_alist_commit() */
	store(ATTACHER, TAG, LISTED);
	store(ATTACHER, ATC, LISTED);
#ifndef NO_COMMIT_MB
	smp_mb(ATTACHER);
#endif
	/* the driver */
	store(ATTACHER, ENTRY, PRESENT);
#ifdef ATS_ON_LAST
	answers = true;
#endif
}

active proctype invalidate()
{
	store(INVALIDATOR, PTE, NEW);
	/* iommu_alist_flush() */
#ifndef NO_FLUSH_MB
	smp_mb(INVALIDATOR);
#endif
	if
	:: load(TAG) == LISTED -> issue(INVALIDATOR, tag)
	:: else
	fi;
	if
	:: load(ATC) == LISTED -> issue(INVALIDATOR, atc)
	:: else
	fi;
	wait(INVALIDATOR);
	/* the caller */
	freed = true;
}

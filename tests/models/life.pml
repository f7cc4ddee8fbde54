/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * holds: UNORDERED FLUSH_LAST_USER UNORDERED+FLUSH_LAST_USER
 * variants freed: NO_COMMIT_MB NO_FLUSH_MB NO_JOIN_FLUSH UNORDERED+NO_JOIN_FLUSH
 * variants answers: NO_SYNCHRONIZE
 * variants old_in_iotlb: NO_TAG_FLUSH FLUSH_LAST_USER+NO_TAG_FLUSH
 *
 * The parts of the contract one after the other, as often as one likes: both functions
 * come and go, ATS goes off or stays on, and a page is mapped and unmapped all the time.
 *
 * FLUSH_LAST_USER: who leaves the tag to the other does not flush it.
 */
#define MEMORY	{ OLD, UNLISTED, UNLISTED, CLEAR, CLEAR }
#define ATS	false
#include "cpu.h"
#include "iommu.h"

#ifdef FLUSH_LAST_USER
#define stays(other)	(other)
#else
#define stays(other)	false
#endif

#define CHANGER		0	/* whoever has iommu_alist.lock */
#define INVALIDATOR	1

bool reading;			/* the walk is inside rcu_read_lock() */

active proctype change()
{
	bool function, neighbour;	/* are attached */

end:	do
	:: !neighbour ->
		/* iommu_alist_commit() */
		if
		:: function
		:: else -> assert(!old_in_iotlb); store(CHANGER, TAG, LISTED)
		fi;
#ifndef NO_COMMIT_MB
		smp_mb(CHANGER);
#endif
		/* the driver */
		store(CHANGER, NEIGHBOUR, PRESENT);
		neighbour = true

	:: neighbour ->
		/* the driver */
		store(CHANGER, NEIGHBOUR, CLEAR);
		issue(CHANGER, neighbour);
		wait(CHANGER);
		/* iommu_alist_remove() */
#ifndef NO_TAG_FLUSH
		if
		:: stays(function)
		:: else -> issue(CHANGER, tag)
		fi;
#endif
		wait(CHANGER);
		if
		:: function
		:: else -> store(CHANGER, TAG, UNLISTED)
		fi;
		neighbour = false

	:: !function ->
		answers = true;
		/* iommu_alist_commit() */
		if
		:: neighbour
		:: else -> assert(!old_in_iotlb); store(CHANGER, TAG, LISTED)
		fi;
		store(CHANGER, ATC, LISTED);
#ifndef NO_COMMIT_MB
		smp_mb(CHANGER);
#endif
#ifndef NO_JOIN_FLUSH
		if
		:: neighbour -> issue(CHANGER, tag); wait(CHANGER)
		:: else
		fi;
#endif
		/* the driver */
		store(CHANGER, ENTRY, PRESENT);
		function = true

	:: function ->
		/* the driver */
		store(CHANGER, ENTRY, CLEAR);
		issue(CHANGER, entry);
		wait(CHANGER);
		/* iommu_alist_remove() */
		if
		:: stays(neighbour)
		:: else -> issue(CHANGER, tag)
		fi;
#ifdef UNORDERED
		wait(CHANGER);
#endif
		issue(CHANGER, atc);
		wait(CHANGER);
		store(CHANGER, ATC, UNLISTED);
		if
		:: neighbour
		:: else -> store(CHANGER, TAG, UNLISTED)
		fi;
		function = false;
		/* iommu_alist_synchronize(), the driver; or ATS stays on */
		if
		:: true ->
#ifndef NO_SYNCHRONIZE
			smp_mb(CHANGER);
			!reading;
#endif
			answers = false
		:: true
		fi
	od
}

active proctype invalidate()
{
	bool looked, listed;

end:	do
	::	store(INVALIDATOR, PTE, NEW);
		/* iommu_alist_flush(); join.pml says why it may look early */
#ifndef NO_FLUSH_MB
		smp_mb(INVALIDATOR);
#endif
		reading = true;
		if
		:: looked = true; listed = load(ATC) == LISTED
		:: true
		fi;
		if
		:: load(TAG) == LISTED -> issue(INVALIDATOR, tag)
		:: else
		fi;
#ifdef UNORDERED
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
		looked = false; listed = false;
		reading = false;
		/* the caller: another page, and the same again */
		freed = true;
		freed = false;
		store(INVALIDATOR, PTE, OLD)
	od
}

/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * variants freed: REMOVE_FIRST OVERWRITE_FIRST NO_ENTRY_FLUSH
 * variants freed: NO_JOIN_FLUSH ATC_NOT_FLUSHED
 * variants entry: OLD_LOCK_LATE
 * variants deadlock: LOCKS_UNORDERED
 *
 * Two functions with ATS change places, each in one step of its entry: LEAVER goes from
 * domain X to Y, JOINER from Y to X, while the page table of X changes. Seen from Y it
 * is the same with the names exchanged. Barriers are the business of attach.pml: here
 * every store is seen at once, and a flush that is waited for is one step.
 */
#define X		0
#define Y		1

#define LEAVER		0
#define JOINER		1

bool locked[2];			/* iommu_alist.lock of X and of Y */
byte entry[2] = { X, Y };	/* of a function */
byte copy[2] = { X, Y };	/* that the IOMMU keeps of it */

/* X's list */
byte users = 1;			/* of its tag: listed if there are any */
bool listed[2] = { true, false };	/* the function's ATC */

bool maps_old = true;		/* X's page table; then X's old translation, */
bool in_iotlb;			/* under X's tag */
bool in_atc[2];			/* under the PASID that serves X and Y */
bool freed;

bool tag_issued;		/* by the invalidation, not yet executed */
bool atc_issued[2];

#define lock(d)		d_step { !locked[d] -> locked[d] = true }
#define unlock(d)	locked[d] = false

#ifdef NO_ENTRY_FLUSH
#define overwrite(f, d)	entry[f] = d
#else
#define overwrite(f, d)	entry[f] = d; copy[f] = d
#endif

/* iommu_alist_remove() from X */
inline remove()
{
	in_iotlb = false;
#ifndef ATC_NOT_FLUSHED
	in_atc[LEAVER] = false;
#endif
	listed[LEAVER] = false;
	users--
}

active proctype leave()
{
#ifndef OLD_LOCK_LATE
	lock(X);
#endif
	lock(Y);
#ifdef REMOVE_FIRST
	remove();
#endif
	overwrite(LEAVER, Y);
#ifdef OLD_LOCK_LATE
	lock(X);
#endif
#ifndef REMOVE_FIRST
	remove();
#endif
	unlock(Y);
	unlock(X);
}

active proctype join()
{
	bool joins;

#ifdef LOCKS_UNORDERED
	lock(Y);
	lock(X);
#else
	lock(X);
	lock(Y);
#endif
#ifdef OVERWRITE_FIRST
	overwrite(JOINER, X);
#endif
	/* iommu_alist_commit() to X */
	joins = users > 0;
	users++;
	listed[JOINER] = true;
#ifndef NO_JOIN_FLUSH
	if
	:: joins -> in_iotlb = false
	:: else
	fi;
#endif
#ifndef OVERWRITE_FIRST
	overwrite(JOINER, X);
#endif
	unlock(Y);
	unlock(X);
}

active proctype invalidate()
{
	maps_old = false;
	/* iommu_alist_flush() */
	if
	:: users -> tag_issued = true
	:: else
	fi;
	if
	:: listed[LEAVER] -> atc_issued[LEAVER] = true
	:: else
	fi;
	if
	:: listed[JOINER] -> atc_issued[JOINER] = true
	:: else
	fi;
	!tag_issued && !atc_issued[LEAVER] && !atc_issued[JOINER];
	/* the caller */
	freed = true;
}

/* With X's lock, such as when its mm goes: what is listed has an entry of X's to clear. */
active proctype release()
{
	lock(X);
	assert(!listed[LEAVER] || entry[LEAVER] == X);
	assert(!listed[JOINER] || entry[JOINER] == X);
	unlock(X);
}

#define serve(f) \
	:: d_step { copy[f] != entry[f] -> copy[f] = entry[f] } \
	:: d_step { copy[f] == X && (in_iotlb || maps_old) -> \
		assert(!freed); in_iotlb = true; in_atc[f] = true } \
	:: d_step { in_atc[f] -> assert(!freed) } \
	:: d_step { atc_issued[f] && !tag_issued -> atc_issued[f] = false; in_atc[f] = false }

active proctype hardware()
{
end:	do
	:: d_step { tag_issued -> tag_issued = false; in_iotlb = false }
	serve(LEAVER)
	serve(JOINER)
	od
}

/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * holds: FLUSH_LAST_USER
 * variants owner: PUT_UNLOCKED GET_REVIVES
 * variants iotlb: FREE_BEFORE_FLUSH ERROR_FORGOTTEN
 * variants iotlb: FLUSH_LAST_USER+ERROR_FORGOTTEN FLUSH_LAST_USER+LAST_USER_TOO
 *
 * Get and put of the tag that domain X has on an instance, by functions that come and
 * go, while domain Y takes any tag that is free. Functions 0 and 1 share a PASID and so
 * an element; function 2 has another element of the same tag. One flush fails.
 *
 * FLUSH_LAST_USER: who leaves an element that has other users does not flush it.
 */
#define NOBODY		0
#define X		1
#define Y		2

#define IDS		2
#define PASIDS		2
#define FUNCTIONS	3
#define PASID(f)	((f) / 2)

byte owner[IDS];		/* of a tag; NOBODY: it is free */
byte iotlb[IDS * PASIDS];	/* whose translations there are under tag and PASID */
#define entries(id, pasid)	iotlb[(id) * PASIDS + (pasid)]

/* X's list */
bool locked;
byte tag;
byte users[PASIDS];
bool listed[PASIDS];		/* without users: could not be flushed */

bool present[FUNCTIONS];	/* the hardware's entry */
bool issued[FUNCTIONS];		/* and not yet executed */
bool error[FUNCTIONS];

byte tag_of_y;
bool y_present;

#define lock()		d_step { !locked -> locked = true }
#define unlock()	locked = false

#define tag_alloc(who, id, its_tag) \
	d_step { owner[id] == NOBODY -> \
		assert(entries(id, 0) == NOBODY && entries(id, 1) == NOBODY); \
		owner[id] = who; its_tag = id }

/* iommu_alist_remove() of function f, with PASID p, step by step */
#define flush()		issued[f] = true; !issued[f]
#define is_last()	last = users[p] == 1 && !listed[1 - p]
/* iommu_alist_tag_stays() */
#ifdef FLUSH_LAST_USER
#ifdef LAST_USER_TOO
#define stays(p)	true
#else
#define stays(p)	(users[p] > 1)
#endif
#else
#define stays(p)	false
#endif
#define flush_unless_stays() \
	if \
	:: stays(p) \
	:: else -> flush() \
	fi
#define drop()		users[p]--
#define unpublish() \
	if \
	:: users[p] == 0 && keeps(f) -> listed[p] = false \
	:: else \
	fi
#define free_if_last() \
	if \
	:: last && !error[f] -> owner[tag] = NOBODY \
	:: else \
	fi
#ifdef ERROR_FORGOTTEN
#define keeps(f)	true
#define tag_free()	free_if_last()
#else
#define keeps(f)	!error[f]
#define tag_free() \
	if \
	:: !listed[0] && !listed[1] -> owner[tag] = NOBODY \
	:: else \
	fi
#endif

active [FUNCTIONS] proctype function()
{
	byte f = _pid;
	byte p = PASID(_pid);
	bool last, dirty;

end:	do
	::	lock();
		/* iommu_alist_prepare() */
		if
		:: listed[0] || listed[1]
		:: else ->
			if
			:: tag_alloc(X, 0, tag)
			:: tag_alloc(X, 1, tag)
			fi
		fi;
		dirty = listed[p] && !users[p];
		users[p]++;
		/* iommu_alist_commit() */
		listed[p] = true;
		if
		:: dirty -> flush()
		:: else
		fi;
		/* the driver */
		present[f] = !error[f];
		error[f] = false;
		unlock();

#if defined(PUT_UNLOCKED)
		present[f] = false;
		is_last(); flush();
		lock();
		drop(); unpublish(); free_if_last();
#elif defined(GET_REVIVES)
		lock();
		present[f] = false;
		is_last(); drop();
		unlock();
		flush();
		lock();
		unpublish(); free_if_last();
#elif defined(FREE_BEFORE_FLUSH)
		lock();
		present[f] = false;
		is_last(); free_if_last(); flush(); drop(); unpublish();
#else
		lock();
		/* the driver */
		present[f] = false;
		/* iommu_alist_remove() */
		flush_unless_stays(); is_last(); drop(); unpublish(); tag_free();
#endif
		error[f] = false;
		unlock()
	od
}

active proctype other_domain()
{
end:	do
	::	if
		:: tag_alloc(Y, 0, tag_of_y)
		:: tag_alloc(Y, 1, tag_of_y)
		fi;
		y_present = true;
		y_present = false;
		d_step {
			entries(tag_of_y, 0) = NOBODY;
			entries(tag_of_y, 1) = NOBODY;
			owner[tag_of_y] = NOBODY
		}
	od
}

/* What is in the IOTLB hits; what is not gets there. */
#define translate(who, id, pasid) \
	assert(owner[id] == who); \
	assert(entries(id, pasid) == NOBODY || entries(id, pasid) == who); \
	entries(id, pasid) = who

#define execute(f) \
	d_step { issued[f] -> issued[f] = false; entries(tag, PASID(f)) = NOBODY }
#define fail(f) \
	d_step { issued[f] && !failed -> issued[f] = false; error[f] = true; failed = true }

active proctype hardware()
{
	bool failed;

end:	do
	:: d_step { present[0] -> translate(X, tag, PASID(0)) }
	:: d_step { present[1] -> translate(X, tag, PASID(1)) }
	:: d_step { present[2] -> translate(X, tag, PASID(2)) }
	:: d_step { y_present -> translate(Y, tag_of_y, 0) }
	:: d_step { y_present -> translate(Y, tag_of_y, 1) }
	:: execute(0)
	:: execute(1)
	:: execute(2)
	:: fail(0)
	:: fail(1)
	:: fail(2)
	od
}

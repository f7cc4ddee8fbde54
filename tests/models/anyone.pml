/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * holds: OTHER_ORDER SECOND_SYNC REISSUE_HOLDING_SLOTS INTERRUPT+IRQS_ON
 * variants deadlock: WAITERS_RECLAIM+OTHER_ORDER WAITERS_RECLAIM+SECOND_SYNC
 * variants deadlock: WAITERS_RECLAIM+REISSUE_HOLDING_SLOTS WAITERS_RECLAIM+INTERRUPT+IRQS_ON
 *
 * Three walks through two instances, as in queues.pml, but whoever needs slots reclaims what the
 * hardware is through with: the queues of VT-d and of SMMUv3. Then there is no order to be kept,
 * neither of instances nor of syncs, and interrupts may be on. Once, an instance aborts all
 * that it has.
 *
 * INTERRUPT: the last walk is one, on the CPU of the first.
 */
#define INSTANCES	2
#define WALKS		3

/* A slot has a batch and the sync behind it. */
#define FREE		0
#define TO_BE_FREED	1	/* waited for, but not the oldest */
#define USED_BY(walk)	(2 + walk)
#define ABORTED(walk)	(2 + WALKS + walk)

typedef slots {
	byte oldest;
	byte newest
};

slots queue[INSTANCES];
bool irqs_off;
bool in_irq;

#define submit(i) \
	d_step { queue[i].newest == FREE -> \
		if \
		:: queue[i].oldest == FREE -> queue[i].oldest = USED_BY(_pid) \
		:: else -> queue[i].newest = USED_BY(_pid) \
		fi }

#ifndef WAITERS_RECLAIM
bool aborted_of[INSTANCES * WALKS];

#define is_of(slot)	(slot == USED_BY(_pid) || slot == ABORTED(_pid))

/* Done, or aborted, with nobody's help: see reclaim() */
#define wait(i, aborted) \
	d_step { !is_of(queue[i].oldest) && !is_of(queue[i].newest) -> \
		aborted = aborted_of[i * WALKS + _pid]; \
		aborted_of[i * WALKS + _pid] = false }
#else
#define free_oldest(i) \
	if \
	:: queue[i].oldest == TO_BE_FREED -> \
		queue[i].oldest = queue[i].newest; queue[i].newest = FREE \
	:: else \
	fi

/* The instance gets to it sooner or later: there is nothing to wait for. */
#define wait(i, aborted) \
	d_step { \
		aborted = queue[i].oldest == ABORTED(_pid) || \
			  queue[i].newest == ABORTED(_pid); \
		if \
		:: queue[i].oldest == USED_BY(_pid) || queue[i].oldest == ABORTED(_pid) -> \
			queue[i].oldest = TO_BE_FREED \
		:: else -> queue[i].newest = TO_BE_FREED \
		fi; \
		free_oldest(i); \
		free_oldest(i) }
#endif

/* iommu_alist_reissue(), where a wait said so */
#define reissue(i, aborted) \
	do \
	:: aborted -> submit(i); wait(i, aborted) \
	:: else -> break \
	od; \
	skip

/* iommu_alist_issue(), iommu_alist_add_again(): one batch, or two, with -ENOSPC between them */
#define issue(i, aborted) \
	submit(i); \
	if \
	:: true -> wait(i, aborted); reissue(i, aborted); submit(i) \
	:: true \
	fi

active [WALKS] proctype walk() provided (!in_irq || _pid != 0)
{
	byte a = 0, b = 1;
	bool a_aborted, b_aborted;

#ifdef OTHER_ORDER
	if
	:: _pid == 1 -> a = 1; b = 0
	:: else
	fi;
#endif
#ifdef INTERRUPT
	if
	:: _pid == 0 ->
#ifndef IRQS_ON
		irqs_off = true
#endif
	:: _pid == 2 -> atomic { !irqs_off -> in_irq = true }
	:: else
	fi;
#endif
	issue(a, a_aborted);
#ifdef SECOND_SYNC
	submit(a);
	wait(a, a_aborted);
#endif
	issue(b, b_aborted);
	/* iommu_alist_drain() */
	wait(a, a_aborted);
#ifdef REISSUE_HOLDING_SLOTS
	reissue(a, a_aborted);
#endif
	wait(b, b_aborted);
#if defined(WAITERS_RECLAIM) || !defined(SECOND_SYNC) && !defined(REISSUE_HOLDING_SLOTS)
	/* There, the one abort has been seen before */
	reissue(a, a_aborted);
#endif
	reissue(b, b_aborted);
#ifdef INTERRUPT
	if
	:: _pid == 0 -> irqs_off = false
	:: _pid == 2 -> in_irq = false
	:: else
	fi
#endif
}

#define abort_slot(slot) \
	if \
	:: slot >= USED_BY(0) && slot < ABORTED(0) -> slot = slot + WALKS \
	:: else \
	fi

active proctype abort()
{
end:	if
	:: d_step { queue[0].oldest -> abort_slot(queue[0].oldest); abort_slot(queue[0].newest) }
	:: d_step { queue[1].oldest -> abort_slot(queue[1].oldest); abort_slot(queue[1].newest) }
	fi
}

#ifndef WAITERS_RECLAIM
/* The hardware goes on, and whoever looks for room sees it. */
#define reclaim(i) \
	d_step { queue[i].oldest != FREE -> \
		if \
		:: queue[i].oldest >= ABORTED(0) -> \
			aborted_of[i * WALKS + queue[i].oldest - ABORTED(0)] = true \
		:: else \
		fi; \
		queue[i].oldest = queue[i].newest; \
		queue[i].newest = FREE }

active proctype hardware()
{
end:	do
	:: reclaim(0)
	:: reclaim(1)
	od
}
#endif

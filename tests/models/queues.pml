/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * holds: INTERRUPT
 * variants deadlock: OTHER_ORDER SECOND_SYNC REISSUE_HOLDING_SLOTS
 * variants deadlock: INTERRUPT+IRQS_ON
 *
 * Three walks through two instances whose queues, as that of VT-d, get slots back from
 * waiters only, the oldest first. Once, an instance aborts all that it has.
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
	reissue(a, a_aborted);
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

/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * holds: MSI INTERRUPT MSI+LOST
 * variants early: REGISTER_FIRST MSI+REGISTER_FIRST
 * variants overwritten: MSI+NOT_BEFORE MSI+FIRST_ONLY MSI+SLOTS_FIRST MSI+NO_CMPXCHG
 * variants deadlock: MSI+SLOT_ONLY MSI+CONS_FIRST
 * variants lost: BY_SLOT SAMPLE_LATE RESULT_EARLY
 * variants deadlock: INTERRUPT+IRQS_ON INTERRUPT+WAITERS_RECLAIM
 *
 * The command queue of SMMUv3, with two slots. A thread submits a CMD_SYNC and waits for it,
 * twice. Somebody else submits commands, and a CMD_SYNC, and waits for none of them: an
 * interrupt on the thread's CPU, with INTERRUPT. Positions go on, but CONS wraps, and has no
 * more than the wrap bit beside the index.
 *
 * A CMD_SYNC of the thread may fail. The queue stands then, until whoever waits for it, for
 * completion or for room, has noted that.
 *
 * MSI: completion is a write to the CMD_SYNC's slot. It may come at any time after CONS has passed
 * it, up to when CONS passes another CMD_SYNC. LOST: or not at all, which is known when nothing
 * else happens any more: the limit is over.
 */
#define SIZE		2
#define POSITIONS	5
#define register(pos)	((pos) % (2 * SIZE))
#define index(pos)	((pos) % SIZE)

/* What is in a slot */
#define NOTHING		0	/* an MSI was written there */
#define COMMAND		1
#define SYNC		2
#define SYNC_TO_FAIL	3

/* cmdq->q.llq, and the registers */
byte prod, cons;
byte PROD, CONS;

byte slot[SIZE];
byte owner[SIZE];	/* of a slot: the position that wrote it last */
bool msi_due[SIZE];

bool stopped;
byte nr_failed;
bool failed[POSITIONS];
bool failed_slot[SIZE];

byte pending;		/* CMD_SYNCs that are waited for */
bool irqs_off;
bool in_irq;
#ifdef IRQS_ON
#define IRQS_OFF	false
#else
#define IRQS_OFF	true
#endif

bool early;		/* a CMD_SYNC counts as complete, and is not */
bool overwritten;	/* a slot is written that hardware still needs */
bool lost;		/* a CMD_SYNC has failed, and nobody was told */

/* arm_smmu_cmdq_handle_err() */
#define check_err() \
	d_step { \
		if \
		:: stopped -> \
			failed[CONS] = true; \
			failed_slot[index(CONS)] = true; \
			nr_failed++; \
			slot[index(CONS)] = SYNC; \
			stopped = false \
		:: else \
		fi }

/* arm_smmu_cmdq_cons() */
#ifdef REGISTER_FIRST
#define read_cons(c, r, end) \
	r = register(CONS); \
	c = cons; \
	end = c + (r + 2 * SIZE - register(c)) % (2 * SIZE)
#else
#define read_cons(c, r, end) \
	c = cons; \
	r = register(CONS); \
	end = c + (r + 2 * SIZE - register(c)) % (2 * SIZE)
#endif

#define has_msi(what)	(what == SYNC || what == SYNC_TO_FAIL)

/* arm_smmu_cmdq_before_msi(): there are SIZE slots at most, and the last is looked at first */
#if defined(MSI) && defined(SLOTS_FIRST)
#define see_slots()	d_step { seen0 = slot[0]; seen1 = slot[1] }
#define seen(pos)	(index(pos) == 0 -> seen0 : seen1)
#else
#define see_slots()
#define seen(pos)	slot[index(pos)]
#endif

#if defined(MSI) && defined(FIRST_ONLY)
#define before_msi(c, end) \
	if \
	:: end > c && has_msi(seen(c)) -> end = c \
	:: else \
	fi
#elif defined(MSI) && !defined(NOT_BEFORE)
#define before_msi(c, end) \
	if \
	:: end == c + 2 && has_msi(seen(c + 1)) -> end = c + 1 \
	:: end == c + 2 && seen(c + 1) == COMMAND && has_msi(seen(c)) -> end = c \
	:: end == c + 1 && has_msi(seen(c)) -> end = c \
	:: else \
	fi
#else
#define before_msi(c, end)
#endif

#ifdef NO_CMPXCHG
#define move_cons(c, end)	cons = end
#else
#define move_cons(c, end) \
	d_step { \
		if \
		:: cons == c -> cons = end \
		:: else \
		fi }
#endif

/* arm_smmu_cmdq_reclaim() */
#define reclaim(c, r, end) \
	see_slots(); \
	read_cons(c, r, end); \
	before_msi(c, end); \
	move_cons(c, end); \
	c = 0; r = 0; end = 0

#ifdef WAITERS_RECLAIM
#define may_reclaim	(pending == 0)
#else
#define may_reclaim	true
#endif

/* The first slot that is in use has been consumed, and is kept for an MSI */
#ifdef MSI
#define kept \
	(has_msi(slot[index(cons)]) && (CONS == cons + 1 || slot[index(cons + 1)] == COMMAND))
#else
#define kept		false
#endif

#ifdef LOST
#define give_up_msi() \
	:: timeout -> d_step { CONS != cons && kept -> cons++ }
#else
#define give_up_msi()
#endif

/* arm_smmu_cmdq_alloc(), which looks for room again when something has happened */
#define alloc(c, r, end, pos, off) \
	do \
	:: d_step { prod - cons < SIZE -> pos = prod; prod++; irqs_off = off }; \
		break \
	:: prod - cons >= SIZE && may_reclaim && (CONS != cons && !kept || stopped) -> \
		check_err(); \
		reclaim(c, r, end) \
	give_up_msi() \
	od; \
	skip

/* arm_smmu_cmdq_submit(): others may come between all of this */
#define write_slot(pos, what) \
	d_step { \
		overwritten = CONS + SIZE <= pos || msi_due[index(pos)]; \
		assert(!overwritten); \
		slot[index(pos)] = what; \
		owner[index(pos)] = pos; \
		failed_slot[index(pos)] = false }

#define publish(pos) \
	d_step { PROD == pos -> PROD = pos + 1 }

active proctype thread() provided (!in_irq)
{
	byte c, r, end, pos, was, nr, n;
	byte seen0, seen1, mine;
	bool told, fails;

	do
	:: n < 2 ->
		n++;
#ifdef SAMPLE_LATE
		skip;
#else
		nr = nr_failed;
#endif
		alloc(c, r, end, pos, IRQS_OFF);
		if
		:: fails = true
		:: fails = false
		fi;
		if
		:: fails -> write_slot(pos, SYNC_TO_FAIL)
		:: else -> write_slot(pos, SYNC)
		fi;
		pending++;
		publish(pos);
		irqs_off = false;
#ifdef SAMPLE_LATE
		nr = nr_failed;
#endif
		/* arm_smmu_cmdq_wait() */
		mine = pos;
#ifdef RESULT_EARLY
		told = nr_failed != nr && failed[mine];
#endif
#ifdef MSI
		/* __arm_smmu_cmdq_poll_until_msi(), woken by a change of the slot alone */
		do
#ifdef CONS_FIRST
		:: c = cons; d_step { was = owner[index(mine)]; seen0 = slot[index(mine)] };
#else
		:: d_step { was = owner[index(mine)]; seen0 = slot[index(mine)] };
			c = cons;
#endif
			if
			:: seen0 == NOTHING -> break
#ifndef SLOT_ONLY
			:: c > mine -> break
#endif
			:: else
			fi;
			if
			:: owner[index(mine)] != was || slot[index(mine)] != seen0
			:: stopped -> check_err()
#ifdef LOST
			:: timeout -> CONS > mine -> break
#endif
			fi
		od;
		skip;
#else
		/* __arm_smmu_cmdq_poll_until_consumed() */
		do
		:: read_cons(c, r, end);
			if
			:: end > mine -> break
			:: else
			fi;
			if
			:: register(CONS) != r || cons != c
			:: stopped -> check_err()
			fi
		od;
#endif
		skip;
		d_step { early = CONS <= mine; assert(!early) }
		/* arm_smmu_cmdq_sync_result() */
#ifdef BY_SLOT
		told = failed_slot[index(mine)];
#elif !defined(RESULT_EARLY)
		told = nr_failed != nr && failed[mine];
#endif
		d_step { lost = fails && !told; assert(!lost) }
		pending--;
#ifdef WAITERS_RECLAIM
		if
		:: pending == 0 -> reclaim(c, r, end)
		:: else
		fi;
#endif
		c = 0; r = 0; end = 0; was = 0; seen0 = 0; seen1 = 0; told = false
	:: else -> break
	od
}

active proctype other()
{
	byte c, r, end, pos, n, what;
	byte seen0, seen1;

#ifdef INTERRUPT
	atomic { !irqs_off -> in_irq = true };
#endif
	do
	:: n < 3 ->
		n++;
		what = (n == 3 -> SYNC : COMMAND);
		alloc(c, r, end, pos, irqs_off);
		write_slot(pos, what);
		publish(pos)
	:: else -> break
	od;
	in_irq = false
}

#define write_msi(i) \
	if \
	:: msi_due[i] -> slot[i] = NOTHING; msi_due[i] = false \
	:: else \
	fi

active proctype smmu()
{
end:	do
	:: d_step { !stopped && CONS < PROD ->
			if
			:: slot[index(CONS)] == SYNC_TO_FAIL -> stopped = true
			:: else ->
#ifdef MSI
				if
				:: slot[index(CONS)] == SYNC ->
					write_msi(0);
					write_msi(1);
					msi_due[index(CONS)] = true
				:: else
				fi;
#endif
				CONS++
			fi }
#ifdef MSI
	:: d_step { msi_due[0] -> slot[0] = NOTHING; msi_due[0] = false }
	:: d_step { msi_due[1] -> slot[1] = NOTHING; msi_due[1] = false }
#ifdef LOST
	:: d_step { msi_due[0] -> msi_due[0] = false }
	:: d_step { msi_due[1] -> msi_due[1] = false }
#endif
#endif
	od
}

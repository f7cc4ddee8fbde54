/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A function with ATS that may stop answering, behind a unit that can block its translated
 * requests, as VT-d does with DTE of the context entry; and the software that fences it.
 *
 * What the function sends with a translation of its ATC passes DTE at the unit, and gets to
 * memory some time later: @in_flight. An invalidation of the IOTLB, and the answer to one of
 * the ATC, push it there. The unit keeps a copy of the context entry, and may read it again at
 * any time. A command for the ATC is executed, or times out and aborts everybody's.
 *
 * What a walk notices of the state while it adds commands, it acts on when its commands are
 * over. It may fence the function after each abort: to be right does not depend on who is
 * accused, or how often it was asked.
 */
typedef commands {
	bool context;		/* read CONTEXT again */
	bool entry;		/* drop the copy of ENTRY */
	bool tag;		/* drop what the IOTLB has, and drain */
	bool drain;		/* an IOTLB invalidation of whichever tag */
	bool atc		/* drop what the ATC has, and drain */
};

commands issued[CPUS];		/* and not yet executed */
bool aborted[CPUS];		/* some were dropped */
bool dte = DTE_ON;		/* the unit's copy of it */
bool ats = true;		/* enabled in the function */
#ifdef PASID_COMES_AND_GOES
bool entry_copied;
#else
#define entry_copied		true
#endif
bool old_in_iotlb;
bool old_in_atc;
bool in_flight;			/* a translated request for the old page */
bool answers = true;		/* false: in reset, or fenced and waited for; nobody may ask */
bool freed;			/* the invalidation returned: the old page is not ours */
bool knows_fenced[CPUS];	/* FENCED when its walk began, and never else since */

bool locked;			/* the unit's raw lock of its context entries */
bool reading[CPUS];		/* inside rcu_read_lock() */
#ifdef INTERRUPT
bool in_irq;
bool irqs_off;
#ifdef IRQS_ON
#define IRQS_OFF(cpu)
#else
#define IRQS_OFF(cpu)		irqs_off = cpu == 0
#endif
#endif

#define forget_fenced() \
	knows_fenced[0] = false; knows_fenced[1] = false

/* The doorbell is a writel(): what was stored before it is visible. */
#define issue(cpu, what)	d_step { smp_mb(cpu) -> issued[cpu].what = true }
#define outstanding(cpu)	(issued[cpu].context || issued[cpu].entry || \
				 issued[cpu].tag || issued[cpu].drain || issued[cpu].atc)
#define wait(cpu)		!outstanding(cpu)
#define done(cpu)		!outstanding(cpu) && !aborted[cpu]
#define repeat(cpu)		!outstanding(cpu) && aborted[cpu] -> aborted[cpu] = false

/* rcu_read_unlock() of a reader comes with its stores: synchronize_rcu() promises that. */
#define synchronize_rcu_with(cpu)	!reading[cpu] && empty(buffer[cpu])

#define arrive() \
	if \
	:: in_flight -> assert(!freed); in_flight = false \
	:: else \
	fi

#define drop(cpu) \
	aborted[cpu] = aborted[cpu] || outstanding(cpu); \
	issued[cpu].context = false; issued[cpu].entry = false; issued[cpu].tag = false; \
	issued[cpu].drain = false; issued[cpu].atc = false

#ifdef PASID_COMES_AND_GOES
#define EXECUTE_ENTRY(cpu) \
	:: d_step { issued[cpu].entry -> issued[cpu].entry = false; entry_copied = false }
#else
#define EXECUTE_ENTRY(cpu)
#endif

#define execute(cpu) \
	:: d_step { issued[cpu].context -> issued[cpu].context = false; dte = load(CONTEXT) } \
	EXECUTE_ENTRY(cpu) \
	:: d_step { issued[cpu].tag -> \
		issued[cpu].tag = false; old_in_iotlb = false; arrive() } \
	:: d_step { issued[cpu].drain -> issued[cpu].drain = false; arrive() } \
	:: d_step { issued[cpu].atc && !issued[cpu].tag -> \
		assert(answers); \
		issued[cpu].atc = false; old_in_atc = false; arrive() } \
	:: d_step { issued[cpu].atc -> \
		assert(answers); \
		drop(0); drop(1); drop(2) }

active proctype queue()
{
end:	do
	execute(0)
	execute(1)
	execute(2)
	od
}

#define translates_old		(old_in_iotlb || load(PTE) == OLD)

#ifndef INTERRUPT
active proctype hardware()
{
end:	do
	:: d_step { dte != load(CONTEXT) -> dte = load(CONTEXT) }
#ifdef PASID_COMES_AND_GOES
	:: d_step { load(ENTRY) == PRESENT && !entry_copied -> entry_copied = true }
#endif
	/* Not translated before: a neighbour with the same tag, or what a fence lets pass. */
	:: d_step { translates_old -> assert(!freed); old_in_iotlb = true }
	:: d_step { entry_copied && dte && ats && translates_old ->
		assert(!freed); old_in_iotlb = true; old_in_atc = true }
	:: d_step { old_in_atc && dte && ats -> in_flight = true }
	:: d_step { arrive() }
	od
}
#endif

/*
 * By whoever was told that the function does not answer, meets FENCING, or resets it. When it
 * returns, no translated request of before gets to memory any more.
 */
inline fence(cpu)
{
#ifdef CLEAR_FIRST
	d_step { !locked -> memory[CONTEXT] = DTE_OFF };
#endif
	/* try_cmpxchg(): FENCED stays */
	d_step {
		smp_mb(cpu);
		if
		:: load(STATE) == LIVE || load(STATE) == RESUMING ->
			memory[STATE] = FENCING;
			forget_fenced()
		:: else
		fi
	};
	if
	:: load(STATE) == FENCING ->
		/* under the lock */
#if defined(CLEAR_FIRST)
		skip;
#elif defined(FENCE_UNLOCKED)
		memory[CONTEXT] = DTE_OFF;
#elif defined(INTERRUPT)
		d_step { !locked -> locked = true; IRQS_OFF(cpu) };
		d_step { memory[CONTEXT] = DTE_OFF; locked = false; irqs_off = false };
#else
		d_step { !locked -> memory[CONTEXT] = DTE_OFF };
#endif
		do
		::
#ifndef NO_CONTEXT_FLUSH
			issue(cpu, context);
#ifndef NO_WAIT_BETWEEN
			wait(cpu);
#endif
#endif
#ifndef NO_IOTLB_AFTER_CONTEXT
			issue(cpu, drain);
#endif
#ifdef FENCED_BEFORE_WAIT
			store(cpu, STATE, FENCED);
#endif
			if
			/* smp_store_release() */
			:: d_step { done(cpu) && smp_mb(cpu) -> store(cpu, STATE, FENCED) }; break
#ifdef FENCE_IGNORES_ABORT
			:: d_step { repeat(cpu) -> store(cpu, STATE, FENCED) }; break
#else
			:: d_step { repeat(cpu) }
#endif
			fi
		od
	:: else
	fi
}

#define asks(state)		(state == LIVE || state == RESUMING)
#ifdef ASKED_AGAIN
#define skips(state)		false
#else
#define skips(state)		(state == FENCED || state == FENCING)
#endif

/* What is walked has a tag that is always listed, and perhaps an ATC. */
inline walk(cpu)
{
	do
	::
#ifdef PASID_COMES_AND_GOES
		state = load(ATC);
		state = (state == LISTED -> load(STATE) : FENCED);
#else
		state = load(STATE);
#endif
		/* one batch */
		d_step {
			smp_mb(cpu);
			issued[cpu].tag = true;
			if
			:: !skips(state) ->
				assert(!knows_fenced[cpu] || load(STATE) != FENCED);
				issued[cpu].atc = true
			:: else
			fi
		};
		d_step { !outstanding(cpu) -> again = aborted[cpu]; aborted[cpu] = false };
		if
		/* It was the function, again. */
		:: asks(state) && again -> fence(cpu)
#if defined(WAITS_FOR_OTHER)
		:: state == FENCING -> load(STATE) != FENCING
		:: state != FENCING
#elif defined(SKIP_ON_FENCING)
		:: true
#else
		:: state == FENCING -> fence(cpu)
		:: state != FENCING
#endif
		fi;
		if
		:: d_step { again -> again = false }
		:: d_step { else -> state = 0 }; break
		fi
	od
}

#ifdef TOLERANT
#define rcu_read_lock(cpu)	reading[cpu] = true
#else
#define rcu_read_lock(cpu) \
	atomic { reading[cpu] = true; knows_fenced[cpu] = load(STATE) == FENCED }
#endif
#define rcu_read_unlock(cpu) \
	atomic { reading[cpu] = false; knows_fenced[cpu] = false }

/* The state is RESUMING: DTE on, unless it has been fenced anew. Under the lock. */
inline go_live(cpu)
{
	atomic {
		!locked && smp_mb(cpu) -> locked = true;
		if
#if defined(RESUMES_ANYHOW)
		:: true ->
#elif defined(LIVE_AT_ONCE)
		:: load(STATE) == LIVE ->
#else
		:: load(STATE) == RESUMING ->
#endif
			memory[STATE] = LIVE; live = true
		:: else
		fi
	};
	d_step {
		if
		:: live -> memory[CONTEXT] = DTE_ON
		:: else
		fi;
		locked = false; live = false
	};
	do
	::
#ifndef NO_CONTEXT_FLUSH_LAST
		issue(cpu, context);
#endif
		if
#if defined(TOLERANT) || defined(RESUMES_ANYHOW)
		:: done(cpu) -> break
#else
		/* It works again. */
		:: d_step { done(cpu) -> assert(dte || load(CONTEXT) == DTE_OFF) }; break
#endif
		:: d_step { repeat(cpu) }
		fi
	od
}

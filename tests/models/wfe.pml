/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * holds: INTERRUPT
 * variants deadlock: WFE_FIRST INTERRUPT+NO_EVENT_ON_RETURN
 *
 * A thread has submitted to two SMMUv3 and waits for one after the other, in WFE until an
 * SMMU sends an event. The CPU has one event register, which WFE clears.
 *
 * INTERRUPT: on the thread's CPU, submits to a third one, and waits.
 *
 * Left out: the timer's event stream, with which nobody waits for ever, but for too long.
 */
#define SMMUS	3

bool consumed[SMMUS];	/* CONS has passed the CMD_SYNC */
bool submitted[SMMUS];
bool event;
bool in_irq;

/* __arm_smmu_cmdq_poll_until_consumed() */
#ifdef WFE_FIRST
#define first()	d_step { event -> event = false }
#else
#define first()	skip
#endif

#define wait(i) \
	first(); \
	do \
	:: consumed[i] -> break \
	:: !consumed[i] -> \
		d_step { event -> event = false } \
	od; \
	skip

active proctype thread() provided (!in_irq)
{
	submitted[0] = true;
	submitted[1] = true;
	wait(0);
	wait(1)
}

#ifdef INTERRUPT
active proctype interrupt()
{
	in_irq = true;
	submitted[2] = true;
	wait(2);
#ifndef NO_EVENT_ON_RETURN
	/* A return from an exception is one */
	event = true;
#endif
	in_irq = false
}
#endif

active [SMMUS] proctype smmu()
{
	byte i = _pid % SMMUS;

end:	d_step { submitted[i] && !consumed[i] -> consumed[i] = true; event = true };
end2:	false
}

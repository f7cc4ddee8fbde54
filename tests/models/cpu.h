/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * CPUs with store buffers. Others see a store when it has left the buffer, and stores
 * to different locations leave in any order. A load takes place where it is written; a
 * model that wants one earlier says so.
 *
 * The model defines MEMORY, the locations at the beginning. If it has a function that can be
 * fenced, it defines FENCE, and there are two locations more, and a CPU.
 */
#ifdef FENCE
#define CPUS		3
#else
#define CPUS		2
#endif

#define PTE		0
#define TAG		1
#define ATC		2
#define ENTRY		3
#define NEIGHBOUR	4
#ifdef FENCE
#define STATE		5
#define CONTEXT		6
#define LOCATIONS	7
#else
#define LOCATIONS	5
#endif

/* PTE */
#define OLD		0
#define NEW		1
/* TAG, ATC: the elements */
#define UNLISTED	0
#define LISTED		1
/* ENTRY, NEIGHBOUR: what makes a function use the domain */
#define CLEAR		0
#define PRESENT		1
/* STATE of the function */
#define LIVE		0
#define FENCING		1
#define FENCED		2
#define RESUMING	3
/*
 * CONTEXT: the entry's bit that lets the function use ATS, DTE of VT-d. It is written under a
 * lock, so the model need not keep it in a buffer.
 */
#define DTE_OFF		0
#define DTE_ON		1

#ifdef FENCE
#define value_t		byte
#else
#define value_t		bit
#endif

value_t memory[LOCATIONS] = MEMORY;
chan buffer[CPUS] = [3] of { byte, value_t };

#define load(where)			memory[where]
#define store(cpu, where, what)		buffer[cpu] ! where, what
#define smp_mb(cpu)			empty(buffer[cpu])

#define leave(where) \
	d_step { buffer[_pid] ?? where, value -> memory[where] = value; value = 0 }

/* The first processes to start: the pid is the CPU. */
active [CPUS] proctype store_buffer()
{
	value_t value;

end:	do
	:: leave(PTE)
	:: leave(TAG)
	:: leave(ATC)
	:: leave(ENTRY)
	:: leave(NEIGHBOUR)
#ifdef FENCE
	:: leave(STATE)
#endif
	od
}

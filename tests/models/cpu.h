/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * CPUs with store buffers. Others see a store when it has left the buffer, and stores
 * to different locations leave in any order. A load takes place where it is written; a
 * model that wants one earlier says so.
 *
 * The model defines MEMORY, the locations at the beginning.
 */
#define CPUS		2

#define PTE		0
#define TAG		1
#define ATC		2
#define ENTRY		3
#define NEIGHBOUR	4
#define LOCATIONS	5

/* PTE */
#define OLD		0
#define NEW		1
/* TAG, ATC: the elements */
#define UNLISTED	0
#define LISTED		1
/* ENTRY, NEIGHBOUR: what makes a function use the domain */
#define CLEAR		0
#define PRESENT		1

bit memory[LOCATIONS] = MEMORY;
chan buffer[CPUS] = [3] of { byte, bit };

#define load(where)			memory[where]
#define store(cpu, where, what)		buffer[cpu] ! where, what
#define smp_mb(cpu)			empty(buffer[cpu])

#define leave(where) \
	d_step { buffer[_pid] ?? where, value -> memory[where] = value; value = 0 }

/* The first processes to start: the pid is the CPU. */
active [CPUS] proctype store_buffer()
{
	bit value;

end:	do
	:: leave(PTE)
	:: leave(TAG)
	:: leave(ATC)
	:: leave(ENTRY)
	:: leave(NEIGHBOUR)
	od
}

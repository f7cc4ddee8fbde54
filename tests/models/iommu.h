/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * An IOMMU instance, a function with ATS behind it, and a neighbour without, under the
 * same tag. Of a cache only this is kept: whether it holds the old translation. What is
 * in flight when a flush comes is flushed with it, as the specifications promise: each
 * step of the hardware is atomic.
 *
 * The queue executes commands in any order, but an ATC flush behind an IOTLB flush that
 * the same CPU issued before; UNORDERED, not even that.
 *
 * The model defines ATS: whether it is on at the beginning.
 */
typedef commands {
	bool entry;		/* drop the copy of ENTRY */
	bool neighbour;		/* drop the copy of NEIGHBOUR */
	bool tag;		/* drop what the IOTLB has */
	bool atc		/* drop what the ATC has */
};

commands issued[CPUS];		/* and not yet executed */
bool entry_copied;		/* into a cache of the IOMMU */
bool neighbour_copied;
bool old_in_iotlb;
bool old_in_atc;
bool answers = ATS;		/* the function takes commands for its ATC */
bool freed;			/* the invalidation returned: the old page is not ours */

/* The doorbell is a writel(): what was stored before it is visible. */
#define issue(cpu, what)	atomic { smp_mb(cpu) -> issued[cpu].what = true }
#define outstanding(cpu)	(issued[cpu].entry || issued[cpu].neighbour || \
				 issued[cpu].tag || issued[cpu].atc)
#define wait(cpu)		!outstanding(cpu)

#ifdef UNORDERED
#define turn_of_atc(cpu)	true
#else
#define turn_of_atc(cpu)	!issued[cpu].tag
#endif

active [CPUS] proctype queue()
{
	byte cpu = _pid - CPUS;

end:	do
	:: d_step { issued[cpu].entry -> issued[cpu].entry = false; entry_copied = false }
	:: d_step { issued[cpu].neighbour ->
		issued[cpu].neighbour = false; neighbour_copied = false }
	:: d_step { issued[cpu].tag -> issued[cpu].tag = false; old_in_iotlb = false }
	:: d_step { issued[cpu].atc && turn_of_atc(cpu) ->
		/* Else it aborts everybody's. */
		assert(answers);
		issued[cpu].atc = false; old_in_atc = false }
	od
}

/* A hit in the IOTLB, or a walk of the page table. */
#define translates_old		(old_in_iotlb || load(PTE) == OLD)

active proctype ats_function()
{
end:	do
	:: d_step { load(ENTRY) == PRESENT && !entry_copied -> entry_copied = true }
	:: d_step { entry_copied && translates_old -> assert(!freed); old_in_iotlb = true }
	:: d_step { entry_copied && translates_old && answers ->
		assert(!freed); old_in_iotlb = true; old_in_atc = true }
	:: d_step { old_in_atc && answers -> assert(!freed) }
	od
}

active proctype plain_function()
{
end:	do
	:: d_step { load(NEIGHBOUR) == PRESENT && !neighbour_copied -> neighbour_copied = true }
	:: d_step { neighbour_copied && translates_old -> assert(!freed); old_in_iotlb = true }
	od
}

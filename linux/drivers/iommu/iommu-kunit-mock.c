// SPDX-License-Identifier: GPL-2.0-only
/*
 * What tests of an IOMMU's driver need beside the hardware of that IOMMU
 *
 * A PCI function is a device that is never added, of a root complex, on a bus that is only there
 * for it. Its configuration space is memory, with the capabilities ATS, PASID and PRI. What the
 * driver switches there has its effect: an ATC that is switched off forgets everything, and
 * the PASID capability does not change while ATS is on. A test can have something done when
 * ATS has been switched on, and before it is switched off. Functions can be pulled out, or
 * not answer some invalidation. Power states and other capabilities are left out.
 *
 * An ATC has entries of 4K pages, by PASID. An invalidation without PASID reaches what is cached
 * for PASIDs, too. Nothing is ever evicted, so that what was not invalidated stays. Who asks
 * whom for a translation, and whether the answer may be used, is for the mock of each IOMMU.
 *
 * Everything that happens has a number, counted over all instances, so that it shows what was
 * issued before something else was waited for.
 *
 * A group that kiommu_group_init() makes has no list of its devices: what the core does with
 * those is not for a test that asks the driver by itself.
 *
 * Lock order: locks of the driver's queue, &kiommu_bus.lock, &kiommu.lock.
 */
#include <linux/bitfield.h>
#include <linux/bitmap.h>
#include <linux/bits.h>
#include <linux/cpumask.h>
#include <linux/delay.h>
#include <linux/jiffies.h>
#include <linux/kthread.h>
#include <linux/mman.h>
#include <linux/pci-ats.h>
#include <linux/prandom.h>
#include <linux/sched/mm.h>
#include <linux/sched/signal.h>
#include <linux/timekeeping.h>
#include <linux/uaccess.h>

#include "iommu-kunit-mock.h"

/* How long a queue stops if the test does not notice */
#define HOLD_NS		(20ULL * NSEC_PER_SEC)

/**
 * kiommu_init() - the beginning of a test
 * @k: all zeroes
 */
void kiommu_init(struct kiommu *k)
{
	raw_spin_lock_init(&k->lock);
}

/**
 * kiommu_seq() - the number of what happens now
 * @k: of the test
 *
 * Context: any.
 * Return: the number, which is the highest one so far.
 */
u64 kiommu_seq(struct kiommu *k)
{
	return atomic64_inc_return(&k->seq);
}

/**
 * kiommu_complain() - note that something happened that must not happen
 * @k: of the test
 * @fmt: what
 *
 * Context: any.
 */
void kiommu_complain(struct kiommu *k, const char *fmt, ...)
{
	unsigned long flags;
	va_list args;

	raw_spin_lock_irqsave(&k->lock, flags);
	if (!k->nr_complaints++) {
		va_start(args, fmt);
		vscnprintf(k->complaint, sizeof(k->complaint), fmt, args);
		va_end(args);
	}
	raw_spin_unlock_irqrestore(&k->lock, flags);
}

/**
 * kiommu_expect_complaints() - how many there were, which are forgotten then
 * @test: the test
 * @k: of the test; nothing is under way
 * @nr: how many there are to be; with 0, the first one is the message
 */
void kiommu_expect_complaints(struct kunit *test, struct kiommu *k, unsigned int nr)
{
	KUNIT_EXPECT_EQ_MSG(test, nr, k->nr_complaints, "%s", k->complaint);
	k->nr_complaints = 0;
}

/**
 * kiommu_at_exit() - have something done when the test's machine comes to its end
 * @test: the test
 * @k: of the test
 * @fn: what to do. It may not assert anything
 * @arg: argument of @fn
 *
 * Actions of KUnit come after &kunit_suite.exit, which is too late for what that would wait
 * for. What was added last is done first, also if an assertion has failed.
 */
void kiommu_at_exit(struct kunit *test, struct kiommu *k, void (*fn)(void *arg),
		    void *arg)
{
	if (k->nr_ends == KIOMMU_ENDS) {
		fn(arg);
		KUNIT_FAIL_AND_ABORT(test, "too much to do in the end");
	}
	k->end[k->nr_ends].fn = fn;
	k->end[k->nr_ends++].arg = arg;
}

/**
 * kiommu_end() - do what was passed to kiommu_at_exit()
 * @k: of the test, whose machine still is what it was
 */
void kiommu_end(struct kiommu *k)
{
	unsigned int n;

	while (k->nr_ends) {
		n = --k->nr_ends;
		k->end[n].fn(k->end[n].arg);
	}
}

/* --- caches of translations --- */

/**
 * kiommu_in_range() - whether a page is in the range of an invalidation
 * @page: the page
 * @first: any page of the range
 * @order: the range has two to that many pages, and is aligned; %KIOMMU_ALL or more:
 *	it is everything
 *
 * Return: true if it is.
 */
bool kiommu_in_range(u64 page, u64 first, unsigned int order)
{
	return order >= KIOMMU_ALL || !((page ^ first) >> order);
}

/**
 * kiommu_next_tlb() - what a cache has, in turn
 * @cache: the cache; the caller holds the lock of it
 * @tlb: the last one, NULL to begin with
 *
 * Return: the next one, NULL if there is none.
 */
struct kiommu_tlb *kiommu_next_tlb(struct kiommu_tlb *cache,
				   const struct kiommu_tlb *tlb)
{
	unsigned int n = tlb ? tlb - cache + 1 : 0;

	for (; n < KIOMMU_TLB; n++)
		if (cache[n].valid)
			return &cache[n];
	return NULL;
}

/**
 * kiommu_tlb_find() - look up a cached translation
 * @cache: the cache; the caller holds the lock of it
 * @key: its type, tag, PASID and page
 *
 * Return: the entry, NULL if there is none.
 */
struct kiommu_tlb *kiommu_tlb_find(struct kiommu_tlb *cache,
				   const struct kiommu_tlb *key)
{
	struct kiommu_tlb *tlb;

	kiommu_for_each_tlb(cache, tlb)
		if (tlb->type == key->type && tlb->tag == key->tag &&
		    tlb->pasid == key->pasid && tlb->page == key->page)
			return tlb;
	return NULL;
}

/**
 * kiommu_tlb_add() - cache a translation
 * @k: of the test
 * @cache: the cache, which does not have it; the caller holds the lock of it
 * @tlb: the translation
 */
void kiommu_tlb_add(struct kiommu *k, struct kiommu_tlb *cache,
		    const struct kiommu_tlb *tlb)
{
	struct kiommu_tlb *room = cache;

	while (room < cache + KIOMMU_TLB && room->valid)
		room++;
	if (room == cache + KIOMMU_TLB) {
		kiommu_complain(k, "a cache is full");
		room = cache;
	}
	*room = *tlb;
	room->valid = true;
}

/**
 * kiommu_tlb_count() - count cached translations of a page table
 * @cache: the cache; the caller holds the lock of it
 * @root: the page table
 * @iova: a range
 * @size: its size, U64_MAX: everything
 * @is_old: count only those of which it says so, NULL: all
 *
 * Return: their number.
 */
unsigned int kiommu_tlb_count(struct kiommu_tlb *cache, u64 root, u64 iova,
			      u64 size, kiommu_is_old_t *is_old)
{
	const struct kiommu_tlb *tlb;
	unsigned int found = 0;
	u64 addr;

	kiommu_for_each_tlb(cache, tlb) {
		addr = tlb->page << KIOMMU_PAGE_SHIFT;
		found += tlb->root == root && addr >= iova && addr - iova < size &&
			 (!is_old || is_old(tlb));
	}
	return found;
}

/* --- PCI functions: configuration space --- */

static struct kiommu_fn *kiommu_fn_of_bus(struct kiommu_bus *bus, unsigned int devfn)
{
	unsigned int n;

	for (n = 0; n < bus->nr_fns; n++)
		if (bus->fn[n]->pdev.devfn == devfn)
			return bus->fn[n];
	return NULL;
}

/**
 * kiommu_find_fn() - the function that has a requester ID
 * @bus: the bus behind an instance
 * @id: the requester ID
 *
 * Context: any.
 * Return: the function, NULL if there is none. An alias is none.
 */
struct kiommu_fn *kiommu_find_fn(struct kiommu_bus *bus, u16 id)
{
	return PCI_BUS_NUM(id) == bus->bus.number ?
		kiommu_fn_of_bus(bus, id & 0xff) : NULL;
}

static u16 *kiommu_ats_ctrl(struct kiommu_fn *fn)
{
	return (u16 *)&fn->cfg[KIOMMU_CFG_ATS + PCI_ATS_CTRL];
}

/**
 * kiommu_ats() - whether a function uses ATS
 * @fn: the function
 *
 * Context: any.
 * Return: what its ATS control register says.
 */
bool kiommu_ats(struct kiommu_fn *fn)
{
	return READ_ONCE(*kiommu_ats_ctrl(fn)) & PCI_ATS_CTRL_ENABLE;
}

static int kiommu_cfg_read(struct pci_bus *pci_bus, unsigned int devfn, int where,
			   int size, u32 *val)
{
	struct kiommu_bus *bus = container_of(pci_bus, struct kiommu_bus, bus);
	struct kiommu_fn *fn = kiommu_fn_of_bus(bus, devfn);

	if (!fn || READ_ONCE(fn->gone) || where + size > KIOMMU_CFG_SIZE) {
		PCI_SET_ERROR_RESPONSE(val);
		return PCIBIOS_DEVICE_NOT_FOUND;
	}
	*val = 0;
	memcpy(val, fn->cfg + where, size);
	return PCIBIOS_SUCCESSFUL;
}

/* An ATC that is switched off forgets everything. */
static void kiommu_ats_off(struct kiommu_fn *fn, u16 ctrl)
{
	unsigned long flags;

	if (fn->ats_hook)
		fn->ats_hook(fn, false);
	raw_spin_lock_irqsave(fn->bus->lock, flags);
	WRITE_ONCE(*kiommu_ats_ctrl(fn), ctrl);
	memset(fn->atc, 0, sizeof(fn->atc));
	fn->ats_off = kiommu_seq(fn->bus->k);
	raw_spin_unlock_irqrestore(fn->bus->lock, flags);
}

static void kiommu_ats_on(struct kiommu_fn *fn, u16 ctrl)
{
	unsigned long flags;

	raw_spin_lock_irqsave(fn->bus->lock, flags);
	WRITE_ONCE(*kiommu_ats_ctrl(fn), ctrl);
	fn->ats_on = kiommu_seq(fn->bus->k);
	raw_spin_unlock_irqrestore(fn->bus->lock, flags);
	if (fn->ats_hook)
		fn->ats_hook(fn, true);
}

static void kiommu_ats_write(struct kiommu_fn *fn, u16 ctrl)
{
	if (ctrl & PCI_ATS_CTRL_ENABLE && !kiommu_ats(fn))
		kiommu_ats_on(fn, ctrl);
	else if (!(ctrl & PCI_ATS_CTRL_ENABLE) && kiommu_ats(fn))
		kiommu_ats_off(fn, ctrl);
}

static void kiommu_pasid_write(struct kiommu_fn *fn, u16 ctrl)
{
	if (kiommu_ats(fn))
		kiommu_complain(fn->bus->k, "PASIDs of %x are switched with ATS on",
				kiommu_id(fn));
	if (ctrl & PCI_PASID_CTRL_ENABLE)
		fn->no_pasids = false;
}

static int kiommu_cfg_write(struct pci_bus *pci_bus, unsigned int devfn, int where,
			    int size, u32 val)
{
	struct kiommu_bus *bus = container_of(pci_bus, struct kiommu_bus, bus);
	struct kiommu_fn *fn = kiommu_fn_of_bus(bus, devfn);

	if (!fn || READ_ONCE(fn->gone) || where + size > KIOMMU_CFG_SIZE)
		return PCIBIOS_DEVICE_NOT_FOUND;
	if (where == KIOMMU_CFG_ATS + PCI_ATS_CTRL) {
		kiommu_ats_write(fn, val);
		return PCIBIOS_SUCCESSFUL;
	}
	if (where == KIOMMU_CFG_PASID + PCI_PASID_CTRL)
		kiommu_pasid_write(fn, val);
	memcpy(fn->cfg + where, &val, size);
	return PCIBIOS_SUCCESSFUL;
}

static struct pci_ops kiommu_pci_ops = {
	.read = kiommu_cfg_read,
	.write = kiommu_cfg_write,
};

/* --- PCI functions: their life --- */

/**
 * kiommu_bus_init() - make the bus behind an instance
 * @bus: the bus, all zeroes
 * @k: of the test
 * @lock: of the instance, see &kiommu_bus.lock
 * @number: of the bus
 * @sysdata: what the architecture wants to know about it, as &pci_bus.sysdata
 */
void kiommu_bus_init(struct kiommu_bus *bus, struct kiommu *k, raw_spinlock_t *lock,
		     unsigned char number, void *sysdata)
{
	bus->k = k;
	bus->lock = lock;
	bus->bus.ops = &kiommu_pci_ops;
	bus->bus.number = number;
	bus->bus.sysdata = sysdata;
}

static void kiommu_init_ids(struct kiommu_fn *fn)
{
	*(u16 *)&fn->cfg[PCI_VENDOR_ID] = PCI_VENDOR_ID_INTEL;
	*(u16 *)&fn->cfg[PCI_DEVICE_ID] = 0xfeed;
	fn->pdev.vendor = PCI_VENDOR_ID_INTEL;
}

static void kiommu_init_caps(struct kiommu_fn *fn, unsigned int flags)
{
	/* Of a root complex, PCI takes for granted what PASIDs need on the way. */
	fn->pdev.pcie_cap = KIOMMU_CFG_PCIE;
	fn->pdev.pcie_flags_reg = PCI_EXP_TYPE_RC_END << 4;
	fn->pdev.pasid_no_tlp = 1;
	if (flags & KIOMMU_ATS) {
		fn->pdev.ats_cap = KIOMMU_CFG_ATS;
		*(u16 *)&fn->cfg[KIOMMU_CFG_ATS + PCI_ATS_CAP] =
			PCI_ATS_CAP_PAGE_ALIGNED | 16;
	}
	if (flags & KIOMMU_PASID) {
		fn->pdev.pasid_cap = KIOMMU_CFG_PASID;
		*(u16 *)&fn->cfg[KIOMMU_CFG_PASID + PCI_PASID_CAP] =
			FIELD_PREP(PCI_PASID_CAP_WIDTH, 8);
	}
	if (flags & KIOMMU_PRI) {
		fn->pdev.pri_cap = KIOMMU_CFG_PRI;
		fn->pdev.pasid_required = 1;
		*(u16 *)&fn->cfg[KIOMMU_CFG_PRI + PCI_PRI_STATUS] =
			PCI_PRI_STATUS_STOPPED;
		*(u32 *)&fn->cfg[KIOMMU_CFG_PRI + PCI_PRI_MAX_REQ] = 32;
	}
}

static void kiommu_fn_release(struct device *dev)
{
	struct kiommu_fn *fn = to_kiommu_fn(dev);

	bitmap_free(fn->pdev.dma_alias_mask);
	fn->free(fn);
}

static void kiommu_init_dev(struct kiommu_fn *fn, unsigned int nr)
{
	struct device *dev = &fn->pdev.dev;

	device_initialize(dev);
	dev->bus = &pci_bus_type;
	dev->release = kiommu_fn_release;
	dev->iommu = &fn->dev_iommu;
	mutex_init(&fn->dev_iommu.lock);
	set_dev_node(dev, NUMA_NO_NODE);
	dev_set_name(dev, "mock%x-fn%u", fn->bus->bus.number, nr);
}

/**
 * kiommu_fn_init() - a function appears on a bus
 * @fn: the function, all zeroes
 * @bus: the bus
 * @flags: %KIOMMU_ATS, %KIOMMU_PASID, %KIOMMU_PRI
 * @free: see &kiommu_fn.free
 *
 * It is device 0, 1 and so on of the bus, function 0. Nobody is told.
 *
 * Return: 0, to be followed by kiommu_fn_put() in the end; -ENOSPC if there are
 * %KIOMMU_FNS already.
 */
int kiommu_fn_init(struct kiommu_fn *fn, struct kiommu_bus *bus, unsigned int flags,
		   void (*free)(struct kiommu_fn *fn))
{
	unsigned int nr = bus->nr_fns;

	if (nr == KIOMMU_FNS)
		return -ENOSPC;
	fn->bus = bus;
	fn->free = free;
	fn->pdev.bus = &bus->bus;
	fn->pdev.devfn = PCI_DEVFN(nr, 0);
	fn->pdev.error_state = pci_channel_io_normal;
	kiommu_init_ids(fn);
	kiommu_init_caps(fn, flags);
	kiommu_init_dev(fn, nr);
	bus->fn[bus->nr_fns++] = fn;
	return 0;
}

/**
 * kiommu_fn_put() - the end of a function
 * @fn: the function, which the driver has released
 *
 * It stays on its bus: nothing looks there any more.
 */
void kiommu_fn_put(struct kiommu_fn *fn)
{
	iommu_group_put(fn->pdev.dev.iommu_group);
	put_device(&fn->pdev.dev);
}

/**
 * kiommu_group_init() - let a function have a group
 * @fn: the function, which has none
 * @group: the group, NULL: a new one
 *
 * Return: 0, or that there is no memory.
 */
int kiommu_group_init(struct kiommu_fn *fn, struct iommu_group *group)
{
	group = group ? iommu_group_ref_get(group) : iommu_group_alloc();
	if (IS_ERR(group))
		return PTR_ERR(group);
	fn->pdev.dev.iommu_group = group;
	return 0;
}

/* --- PCI functions: what happens to them --- */

/**
 * kiommu_reset() - a function is reset
 * @fn: the function
 *
 * Its ATC is empty then, and ATS and PASID are off. Who has it reset tells the core
 * before.
 */
void kiommu_reset(struct kiommu_fn *fn)
{
	if (kiommu_ats(fn))
		kiommu_ats_off(fn, 0);
	*(u16 *)&fn->cfg[KIOMMU_CFG_PASID + PCI_PASID_CTRL] = 0;
	fn->no_pasids = true;
}

/**
 * kiommu_remove() - pull a function out
 * @fn: the function
 *
 * The IOMMU driver has not been told. Configuration requests and invalidations are not
 * answered any more, and the PCI core knows.
 *
 * Context: any.
 */
void kiommu_remove(struct kiommu_fn *fn)
{
	WRITE_ONCE(fn->gone, true);
	WRITE_ONCE(fn->pdev.error_state, pci_channel_io_perm_failure);
}

/**
 * kiommu_mute() - let a function answer no invalidation
 * @fn: the function
 * @mute: true; or false: from now on it does
 *
 * Configuration requests are answered.
 *
 * Context: any.
 */
void kiommu_mute(struct kiommu_fn *fn, bool mute)
{
	WRITE_ONCE(fn->mute, mute);
}

/**
 * kiommu_drop() - let a function not answer an invalidation
 * @fn: the function
 * @nth: which one, counted from now: 1 is the next
 *
 * Context: any.
 */
void kiommu_drop(struct kiommu_fn *fn, unsigned int nth)
{
	unsigned long flags;

	raw_spin_lock_irqsave(fn->bus->lock, flags);
	fn->drop = nth;
	raw_spin_unlock_irqrestore(fn->bus->lock, flags);
}

/**
 * kiommu_calm_down() - from now on a function answers, and nothing is done about its ATS
 * @fn: the function. The PCI core still knows that it was pulled out
 */
void kiommu_calm_down(struct kiommu_fn *fn)
{
	fn->gone = false;
	kiommu_mute(fn, false);
	fn->ats_hook = NULL;
	kiommu_drop(fn, 0);
}

/* --- PCI functions: their ATC --- */

/**
 * kiommu_answers() - an invalidation is sent to a function
 * @fn: the function; the caller holds &kiommu_bus.lock
 *
 * Return: whether the function answers.
 */
bool kiommu_answers(struct kiommu_fn *fn)
{
	lockdep_assert_held(fn->bus->lock);

	fn->asked++;
	return !fn->gone && !fn->mute && (!fn->drop || --fn->drop);
}

/**
 * kiommu_atc_find() - look up a translation in a function's ATC
 * @fn: the function; the caller holds &kiommu_bus.lock
 * @pasid: PASID, or IOMMU_NO_PASID
 * @page: the page
 *
 * Return: the entry, NULL if there is none.
 */
struct kiommu_tlb *kiommu_atc_find(struct kiommu_fn *fn, u32 pasid, u64 page)
{
	struct kiommu_tlb *tlb;

	kiommu_for_each_tlb(fn->atc, tlb)
		if (tlb->pasid == pasid && tlb->page == page)
			return tlb;
	return NULL;
}

/**
 * kiommu_atc_add() - a function caches a translation
 * @fn: the function, whose ATC does not have it; the caller holds &kiommu_bus.lock
 * @pasid: PASID that it asked with, or IOMMU_NO_PASID
 * @tlb: what the instance said
 */
void kiommu_atc_add(struct kiommu_fn *fn, u32 pasid, const struct kiommu_tlb *tlb)
{
	struct kiommu_tlb copy = *tlb;

	copy.pasid = pasid;
	kiommu_tlb_add(fn->bus->k, fn->atc, &copy);
}

/**
 * kiommu_atc_drop() - a function executes an invalidation
 * @fn: the function; the caller holds &kiommu_bus.lock
 * @pasid: PASID, %KIOMMU_ANY_PASID: all, and what has none
 * @page: any page of the range
 * @order: of the range, see kiommu_in_range()
 */
void kiommu_atc_drop(struct kiommu_fn *fn, u32 pasid, u64 page, unsigned int order)
{
	struct kiommu_tlb *tlb;

	lockdep_assert_held(fn->bus->lock);

	kiommu_for_each_tlb(fn->atc, tlb)
		if ((pasid == KIOMMU_ANY_PASID || pasid == tlb->pasid) &&
		    kiommu_in_range(tlb->page, page, order))
			tlb->valid = false;
}

/* --- queues that stop --- */

/**
 * kiommu_hold() - let a queue stop before a command
 * @hold: of the queue; one at a time
 * @type: type of the command
 * @nth: which one of this type, counted from now: 1 is the next
 * @ms: for how long at most, once kiommu_is_held() has said so. It goes on then, or
 *	after kiommu_let_go()
 *
 * Whoever waits for the queue does so as the driver does, perhaps with interrupts off.
 *
 * Context: any.
 */
void kiommu_hold(struct kiommu_hold *hold, unsigned int type, unsigned int nth,
		 unsigned int ms)
{
	unsigned long flags;

	raw_spin_lock_irqsave(hold->lock, flags);
	hold->held = false;
	hold->type = type;
	hold->nth = nth;
	hold->ms = ms;
	raw_spin_unlock_irqrestore(hold->lock, flags);
}

/**
 * kiommu_is_held() - whether a queue has stopped at where kiommu_hold() told it
 * @hold: of the queue
 *
 * Context: any.
 * Return: true if it has, and has not gone on yet.
 */
bool kiommu_is_held(struct kiommu_hold *hold)
{
	unsigned long flags;
	bool held;

	raw_spin_lock_irqsave(hold->lock, flags);
	held = kiommu_hold_stops(hold);
	if (held && hold->ms) {
		hold->until = ktime_get_mono_fast_ns() + hold->ms * NSEC_PER_MSEC;
		hold->ms = 0;
	}
	raw_spin_unlock_irqrestore(hold->lock, flags);
	return held;
}

/**
 * kiommu_let_go() - let a queue go on, and forget about a stop it has not come to
 * @hold: of the queue
 *
 * Context: any.
 */
void kiommu_let_go(struct kiommu_hold *hold)
{
	kiommu_hold(hold, 0, 0, 0);
}

/**
 * kiommu_hold_see() - a command gets to the head of a queue
 * @hold: of the queue; the caller holds &kiommu_hold.lock
 * @type: its type, not 0. Once for each command
 */
void kiommu_hold_see(struct kiommu_hold *hold, unsigned int type)
{
	if (hold->type != type || --hold->nth)
		return;
	hold->type = 0;
	hold->held = true;
	hold->until = ktime_get_mono_fast_ns() + HOLD_NS;
}

/**
 * kiommu_hold_stops() - whether a queue is to do nothing
 * @hold: of the queue; the caller holds &kiommu_hold.lock
 *
 * Return: true if it has got to where it stops, and may not go on yet.
 */
bool kiommu_hold_stops(struct kiommu_hold *hold)
{
	lockdep_assert_held(hold->lock);

	if (hold->held && ktime_get_mono_fast_ns() >= hold->until)
		hold->held = false;
	return hold->held;
}

/* --- queues that ask the test before they go on --- */

/**
 * kiommu_turn_is_others() - whether another CPU keeps this one from going on
 * @turn: of the queue; the caller holds its lock
 *
 * Return: false to the CPU that is in the callback itself, too: the callback may wait for
 * commands of its own, and those before them leave the queue first.
 */
bool kiommu_turn_is_others(const struct kiommu_turn *turn)
{
	return turn->cpu >= 0 && turn->cpu != smp_processor_id();
}

/**
 * kiommu_turn_begin() - this CPU is about to call the test's callback
 * @turn: of the queue; the caller holds its lock, and drops it for the callback
 *
 * Return: what kiommu_turn_end() wants.
 */
int kiommu_turn_begin(struct kiommu_turn *turn)
{
	int before = turn->cpu;

	turn->cpu = smp_processor_id();
	return before;
}

/**
 * kiommu_turn_end() - the test's callback has returned
 * @turn: of the queue; the caller holds its lock again
 * @before: what kiommu_turn_begin() has returned
 *
 * If the callback has let others go on, one of them may be in its own.
 */
void kiommu_turn_end(struct kiommu_turn *turn, int before)
{
	if (turn->cpu == smp_processor_id())
		turn->cpu = before;
}

/**
 * kiommu_turn_give_up() - let others go on, in the callback already
 * @turn: of the queue; the caller holds its lock
 */
void kiommu_turn_give_up(struct kiommu_turn *turn)
{
	turn->cpu = -1;
}

/* --- processes --- */

/**
 * kiommu_mm() - the test becomes a process with an empty mm
 * @test: the test
 *
 * Return: the mm, with one user. To be passed to kiommu_mm_exit().
 */
struct mm_struct *kiommu_mm(struct kunit *test)
{
	struct mm_struct *mm = mm_alloc();

	KUNIT_ASSERT_NOT_NULL(test, mm);
	mm->task_size = TASK_SIZE;
	arch_pick_mmap_layout(mm, &current->signal->rlim[RLIMIT_STACK]);
	kthread_use_mm(mm);
	return mm;
}

/**
 * kiommu_mm_exit() - the process exits
 * @mm: its mm
 *
 * Context: may sleep.
 */
void kiommu_mm_exit(struct mm_struct *mm)
{
	kthread_unuse_mm(mm);
	mmput(mm);
}

/**
 * kiommu_mm_map() - map some memory of the test's process, and use it
 * @test: the test
 * @pages: how much
 *
 * Return: its address.
 */
unsigned long kiommu_mm_map(struct kunit *test, unsigned int pages)
{
	unsigned long addr;
	unsigned int n;

	addr = vm_mmap(NULL, 0, pages * PAGE_SIZE, PROT_READ | PROT_WRITE,
		       MAP_ANONYMOUS | MAP_PRIVATE, 0);
	KUNIT_ASSERT_FALSE(test, IS_ERR_VALUE(addr));
	for (n = 0; n < pages; n++)
		KUNIT_ASSERT_EQ(test, 0, put_user(n, (unsigned int __user *)
						  (addr + n * PAGE_SIZE)));
	return addr;
}

/* --- threads --- */

/**
 * kiommu_two_cpus() - the test stays on its CPU, so that there is one for a thread
 * @test: the test, skipped on a machine with one CPU
 */
void kiommu_two_cpus(struct kunit *test)
{
	const struct cpumask *cpu = cpumask_of(raw_smp_processor_id());

	if (num_online_cpus() < 2)
		kunit_skip(test, "there is one CPU only");
	KUNIT_ASSERT_EQ(test, 0, set_cpus_allowed_ptr(current, cpu));
}

static int kiommu_thread_fn(void *arg)
{
	struct kiommu_thread *thread = arg;

	thread->ret = thread->run(thread->arg);
	complete(&thread->done);
	return 0;
}

static struct task_struct *kiommu_new_thread(struct kunit *test,
					     struct kiommu_thread *thread,
					     int (*run)(void *arg), void *arg)
{
	unsigned int cpu = cpumask_any_but(cpu_online_mask, raw_smp_processor_id());
	struct task_struct *task;

	thread->run = run;
	thread->arg = arg;
	init_completion(&thread->done);
	task = kthread_create(kiommu_thread_fn, thread, "kiommu_test");
	KUNIT_ASSERT_NOT_ERR_OR_NULL(test, task);
	kthread_bind(task, cpu);
	return task;
}

/**
 * kiommu_start() - do something on another CPU
 * @test: the test, after kiommu_two_cpus()
 * @thread: to be passed to kiommu_join()
 * @run: what to do
 * @arg: argument of @run
 */
void kiommu_start(struct kunit *test, struct kiommu_thread *thread,
		  int (*run)(void *arg), void *arg)
{
	wake_up_process(kiommu_new_thread(test, thread, run, arg));
}

/* Whether one sleeps until it gets a mutex. The owner has to sleep, too, or others spin. */
static bool kiommu_has_waiters(struct mutex *lock)
{
#ifdef CONFIG_PREEMPT_RT
	return !RB_EMPTY_ROOT(&lock->rtmutex.waiters.rb_root);
#else
	return !list_empty_careful(&lock->wait_list);
#endif
}

/**
 * kiommu_start_behind() - do something on another CPU until it waits for a mutex
 * @test: the test, after kiommu_two_cpus()
 * @thread: to be passed to kiommu_join_behind()
 * @lock: the mutex, which is held afterwards
 * @run: what to do
 * @arg: argument of @run
 */
void kiommu_start_behind(struct kunit *test, struct kiommu_thread *thread,
			 struct mutex *lock, int (*run)(void *arg), void *arg)
{
	struct task_struct *task = kiommu_new_thread(test, thread, run, arg);
	unsigned int ms = KIOMMU_AT_LAST_MS;

	mutex_lock(lock);
	wake_up_process(task);
	while (ms-- && !kiommu_has_waiters(lock))
		usleep_range(1000, 2000);
	KUNIT_EXPECT_TRUE(test, kiommu_has_waiters(lock));
}

/**
 * kiommu_wait_held() - wait until a thread has got to where kiommu_hold() stops it
 * @thread: the thread
 * @hold: of the queue that is to stop
 *
 * Return: true if it has, false if the thread came to its end instead.
 */
bool kiommu_wait_held(struct kiommu_thread *thread, struct kiommu_hold *hold)
{
	while (!kiommu_is_held(hold)) {
		if (completion_done(&thread->done))
			return false;
		usleep_range(50, 100);
	}
	return true;
}

/**
 * kiommu_spin_done() - give a thread some time, where nobody may sleep
 * @thread: the thread, which needs nothing that the caller holds
 * @ms: how many milliseconds
 *
 * Return: whether it has come to its end.
 */
bool kiommu_spin_done(struct kiommu_thread *thread, unsigned int ms)
{
	u64 end = ktime_get_mono_fast_ns() + ms * NSEC_PER_MSEC;

	while (!completion_done(&thread->done) && ktime_get_mono_fast_ns() < end)
		cpu_relax();
	return completion_done(&thread->done);
}

/**
 * kiommu_join() - wait for a thread
 * @thread: the thread
 *
 * Return: what it returns.
 */
int kiommu_join(struct kiommu_thread *thread)
{
	wait_for_completion(&thread->done);
	return thread->ret;
}

/**
 * kiommu_join_behind() - let a thread have the mutex, and wait for it
 * @thread: the thread
 * @lock: the mutex
 *
 * Return: what it returns.
 */
int kiommu_join_behind(struct kiommu_thread *thread, struct mutex *lock)
{
	mutex_unlock(lock);
	return kiommu_join(thread);
}

/**
 * kiommu_done_in() - give a thread some time
 * @thread: the thread
 * @ms: how many milliseconds
 *
 * Return: whether it has come to its end.
 */
bool kiommu_done_in(struct kiommu_thread *thread, unsigned int ms)
{
	while (ms-- && !completion_done(&thread->done))
		usleep_range(1000, 2000);
	return completion_done(&thread->done);
}

/* --- threads that attach and detach --- */

#define ATTACH_MS	400
#define ATTACH_MAX_MS	5000	/* on a machine that has other things to do */
#define ATTACHED	20	/* so often at least, by each thread */

static int kiommu_attach_at_random(void *arg)
{
	struct kiommu_attacher *one = arg;
	struct kiommu_attachers *a = one->all;
	unsigned long attached = 0;
	struct rnd_state rnd;
	unsigned int n;

	prandom_seed_state(&rnd, one->first);
	while (!READ_ONCE(a->stop)) {
		n = prandom_u32_state(&rnd) % (a->nr / KIOMMU_ATTACHERS) *
			KIOMMU_ATTACHERS + one->first;
		if (attached & BIT(n))
			a->detach(a->arg, a->from + n);
		else if (a->attach(a->arg, a->from + n))
			one->failed++;
		else
			WRITE_ONCE(one->attached, one->attached + 1);
		attached ^= BIT(n);
		a->access(a->arg);
		cond_resched();
	}
	return 0;
}

static void kiommu_join_attachers(void *arg)
{
	struct kiommu_attachers *a = arg;

	WRITE_ONCE(a->stop, true);
	while (a->running)
		kiommu_join(&a->each[--a->running].thread);
}

/**
 * kiommu_start_attaching() - let threads attach and detach functions
 * @test: the test, after kiommu_two_cpus()
 * @k: of the test
 * @a: which functions, and how
 *
 * Until kiommu_stop_attaching(), or an assertion fails. They share a CPU, which is not the
 * test's.
 */
void kiommu_start_attaching(struct kunit *test, struct kiommu *k, struct kiommu_attachers *a)
{
	struct kiommu_attacher *one;
	unsigned int n;

	a->start = jiffies;
	a->stop = false;
	a->running = 0;
	kiommu_at_exit(test, k, kiommu_join_attachers, a);
	for (n = 0; n < KIOMMU_ATTACHERS; n++) {
		one = &a->each[n];
		*one = (struct kiommu_attacher){ .all = a, .first = n };
		kiommu_start(test, &one->thread, kiommu_attach_at_random, one);
		a->running++;
	}
}

/**
 * kiommu_goes_on() - whether these threads have not done enough yet
 * @a: what was started
 *
 * Context: any.
 */
bool kiommu_goes_on(const struct kiommu_attachers *a)
{
	unsigned int n;

	if (time_before(jiffies, a->start + msecs_to_jiffies(ATTACH_MS)))
		return true;
	if (time_after(jiffies, a->start + msecs_to_jiffies(ATTACH_MAX_MS)))
		return false;
	for (n = 0; n < KIOMMU_ATTACHERS; n++)
		if (READ_ONCE(a->each[n].attached) < ATTACHED)
			return true;
	return false;
}

/**
 * kiommu_stop_attaching() - stop these threads; all that they have attached stays so
 * @test: the test
 * @a: what was started
 *
 * They have to have attached often enough, and never in vain.
 */
void kiommu_stop_attaching(struct kunit *test, struct kiommu_attachers *a)
{
	unsigned int n;

	kiommu_join_attachers(a);
	for (n = 0; n < KIOMMU_ATTACHERS; n++) {
		KUNIT_EXPECT_EQ(test, 0, a->each[n].failed);
		KUNIT_EXPECT_GE(test, a->each[n].attached, ATTACHED);
	}
}

/* --- texts --- */

/**
 * kiommu_text() - begin a text
 * @test: the test
 * @text: the text
 * @lines: it has that many lines of %KIOMMU_LINE characters, at most
 *
 * Context: may sleep.
 */
void kiommu_text(struct kunit *test, struct seq_buf *text, unsigned int lines)
{
	size_t size = KIOMMU_LINE * (lines + 1);
	char *buf = kunit_kzalloc(test, size, GFP_KERNEL);

	KUNIT_ASSERT_NOT_NULL(test, buf);
	seq_buf_init(text, buf, size);
}

/**
 * kiommu_text_end() - the end of a text
 * @test: the test
 * @text: the text, all of which has found room
 *
 * Return: it, as long as the test lives.
 */
const char *kiommu_text_end(struct kunit *test, struct seq_buf *text)
{
	KUNIT_EXPECT_FALSE(test, seq_buf_has_overflowed(text));
	return seq_buf_str(text);
}

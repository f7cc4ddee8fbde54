// SPDX-License-Identifier: GPL-2.0-only
/*
 * KUnit tests of what tests of an IOMMU's driver are made of
 *
 * A rule of iommu-kunit-mock.c that is too lax lets the tests of all drivers pass.
 */
#include <linux/delay.h>
#include <linux/pci-ats.h>
#include <linux/sched/mm.h>
#include <linux/slab.h>
#include <linux/uaccess.h>

#include "iommu-kunit-mock.h"

#define PASID		5
#define OTHER_PASID	6
#define AT_MOST_MS	20	/* for what does not come */
#define ATS_CTRL	(KIOMMU_CFG_ATS + PCI_ATS_CTRL)
#define PASID_CTRL	(KIOMMU_CFG_PASID + PCI_PASID_CTRL)

/**
 * struct rules - two functions on a bus
 * @k: what they have in common
 * @lock: of the bus
 * @bus: the bus
 * @fn: the functions
 * @nr_hooked: calls of the hook of the first one
 * @ats: what its ATS control register said then
 * @cached: whether its ATC had anything then
 */
struct rules {
	struct kiommu k;
	raw_spinlock_t lock;
	struct kiommu_bus bus;
	struct kiommu_fn *fn[2];
	unsigned int nr_hooked;
	bool ats[2];
	bool cached[2];
};

static void rules_free(struct kiommu_fn *fn)
{
	kfree(fn);
}

static int rules_init(struct kunit *test)
{
	struct rules *r = kunit_kzalloc(test, sizeof(*r), GFP_KERNEL);
	struct kiommu_fn *fn;
	unsigned int n;

	KUNIT_ASSERT_NOT_NULL(test, r);
	test->priv = r;
	kiommu_init(&r->k);
	raw_spin_lock_init(&r->lock);
	kiommu_bus_init(&r->bus, &r->k, &r->lock, 0x40, NULL);
	for (n = 0; n < ARRAY_SIZE(r->fn); n++) {
		fn = kzalloc(sizeof(*fn), GFP_KERNEL);
		KUNIT_ASSERT_NOT_NULL(test, fn);
		KUNIT_ASSERT_EQ(test, 0, kiommu_fn_init(fn, &r->bus, KIOMMU_ATS |
							KIOMMU_PASID, rules_free));
		r->fn[n] = fn;
	}
	return 0;
}

static void rules_exit(struct kunit *test)
{
	struct rules *r = test->priv;
	unsigned int n;

	kiommu_end(&r->k);
	kiommu_expect_complaints(test, &r->k, 0);
	for (n = 0; n < r->bus.nr_fns; n++)
		kiommu_fn_put(r->bus.fn[n]);
}

static void cache(struct kiommu_fn *fn, u32 pasid, u64 page)
{
	const struct kiommu_tlb tlb = { .page = page, .pfn = page + 1, .root = SZ_1M };

	kiommu_atc_add(fn, pasid, &tlb);
}

static unsigned int nr_cached(struct kiommu_fn *fn)
{
	return kiommu_tlb_count(fn->atc, SZ_1M, 0, U64_MAX, NULL);
}

/* --- ATS --- */

static void note_ats(struct kiommu_fn *fn, bool on)
{
	struct rules *r = fn->priv;

	r->nr_hooked++;
	r->ats[on] = kiommu_ats(fn);
	r->cached[on] = nr_cached(fn);
}

/* On both sides of the hook the function uses ATS. */
static void ats_hook_while_on(struct kunit *test)
{
	struct rules *r = test->priv;
	struct kiommu_fn *fn = r->fn[0];

	fn->priv = r;
	fn->ats_hook = note_ats;
	KUNIT_ASSERT_EQ(test, 0, pci_enable_ats(&fn->pdev, PCI_ATS_MIN_STU));
	KUNIT_EXPECT_EQ(test, 1, r->nr_hooked);
	KUNIT_EXPECT_TRUE(test, r->ats[true]);
	cache(fn, PASID, 1);
	pci_disable_ats(&fn->pdev);
	KUNIT_EXPECT_EQ(test, 2, r->nr_hooked);
	KUNIT_EXPECT_TRUE(test, r->ats[false]);
	KUNIT_EXPECT_TRUE(test, r->cached[false]);
}

/* In the order of everything else that has a number */
static void ats_off_forgets(struct kunit *test)
{
	struct rules *r = test->priv;
	struct kiommu_fn *fn = r->fn[0];
	u64 seq = kiommu_seq(&r->k);

	KUNIT_ASSERT_EQ(test, 0, pci_enable_ats(&fn->pdev, PCI_ATS_MIN_STU));
	KUNIT_EXPECT_GT(test, fn->ats_on, seq);
	seq = kiommu_seq(&r->k);
	cache(fn, PASID, 1);
	cache(r->fn[1], PASID, 1);
	pci_disable_ats(&fn->pdev);
	KUNIT_EXPECT_FALSE(test, kiommu_ats(fn));
	KUNIT_EXPECT_GT(test, fn->ats_off, seq);
	KUNIT_EXPECT_EQ(test, 0, nr_cached(fn));
	KUNIT_EXPECT_EQ(test, 1, nr_cached(r->fn[1]));
}

static void ats_and_pasid_off_after_reset(struct kunit *test)
{
	struct rules *r = test->priv;
	struct kiommu_fn *fn = r->fn[0];
	u16 ctrl;

	pci_write_config_word(&fn->pdev, PASID_CTRL, PCI_PASID_CTRL_ENABLE);
	KUNIT_ASSERT_EQ(test, 0, pci_enable_ats(&fn->pdev, PCI_ATS_MIN_STU));
	cache(fn, PASID, 1);
	kiommu_reset(fn);
	KUNIT_EXPECT_FALSE(test, kiommu_ats(fn));
	KUNIT_EXPECT_EQ(test, 0, nr_cached(fn));
	KUNIT_EXPECT_TRUE(test, fn->no_pasids);
	pci_read_config_word(&fn->pdev, PASID_CTRL, &ctrl);
	KUNIT_EXPECT_EQ(test, 0, ctrl);
	pci_write_config_word(&fn->pdev, PASID_CTRL, PCI_PASID_CTRL_ENABLE);
	KUNIT_EXPECT_FALSE(test, fn->no_pasids);
}

static void pasid_not_while_ats_is_on(struct kunit *test)
{
	struct rules *r = test->priv;
	struct pci_dev *pdev = &r->fn[0]->pdev;

	pci_write_config_word(pdev, PASID_CTRL, PCI_PASID_CTRL_ENABLE);
	kiommu_expect_complaints(test, &r->k, 0);
	KUNIT_ASSERT_EQ(test, 0, pci_enable_ats(pdev, PCI_ATS_MIN_STU));
	pci_write_config_word(pdev, PASID_CTRL, 0);
	kiommu_expect_complaints(test, &r->k, 1);
	pci_disable_ats(pdev);
	pci_write_config_word(pdev, PASID_CTRL, 0);
	kiommu_expect_complaints(test, &r->k, 0);
}

/* --- functions that do not answer --- */

static bool answers(struct kiommu_fn *fn)
{
	bool ret;

	raw_spin_lock_irq(fn->bus->lock);
	ret = kiommu_answers(fn);
	raw_spin_unlock_irq(fn->bus->lock);
	return ret;
}

static void answers_but_one(struct kunit *test)
{
	struct rules *r = test->priv;
	struct kiommu_fn *fn = r->fn[0];

	kiommu_drop(fn, 2);
	KUNIT_EXPECT_TRUE(test, answers(fn));
	KUNIT_EXPECT_FALSE(test, answers(fn));
	KUNIT_EXPECT_TRUE(test, answers(fn));
	kiommu_mute(fn, true);
	KUNIT_EXPECT_FALSE(test, answers(fn));
	KUNIT_EXPECT_TRUE(test, answers(r->fn[1]));
	kiommu_mute(fn, false);
	KUNIT_EXPECT_TRUE(test, answers(fn));
	KUNIT_EXPECT_EQ(test, 5, fn->asked);
	KUNIT_EXPECT_EQ(test, 1, r->fn[1]->asked);
}

/* One that is pulled out has nothing to say, and keeps its state for the end of the test. */
static void gone_answers_nothing(struct kunit *test)
{
	struct rules *r = test->priv;
	struct kiommu_fn *fn = r->fn[0];
	u16 val;

	kiommu_remove(fn);
	KUNIT_EXPECT_FALSE(test, answers(fn));
	KUNIT_EXPECT_TRUE(test, pci_dev_is_disconnected(&fn->pdev));
	/* The PCI core would not even ask. */
	fn->pdev.error_state = pci_channel_io_normal;
	pci_read_config_word(&fn->pdev, PCI_VENDOR_ID, &val);
	KUNIT_EXPECT_TRUE(test, PCI_POSSIBLE_ERROR(val));
	pci_write_config_word(&fn->pdev, ATS_CTRL, PCI_ATS_CTRL_ENABLE);
	KUNIT_EXPECT_FALSE(test, kiommu_ats(fn));
	kiommu_calm_down(fn);
	KUNIT_EXPECT_TRUE(test, answers(fn));
	pci_read_config_word(&fn->pdev, PCI_VENDOR_ID, &val);
	KUNIT_EXPECT_EQ(test, PCI_VENDOR_ID_INTEL, val);
}

static void found_by_requester_id(struct kunit *test)
{
	struct rules *r = test->priv;

	KUNIT_EXPECT_PTR_EQ(test, r->fn[0], kiommu_find_fn(&r->bus, 0x4000));
	KUNIT_EXPECT_PTR_EQ(test, r->fn[1], kiommu_find_fn(&r->bus, 0x4008));
	KUNIT_EXPECT_EQ(test, 0x4008, kiommu_id(r->fn[1]));
	KUNIT_EXPECT_NULL(test, kiommu_find_fn(&r->bus, 0x4001));
	KUNIT_EXPECT_NULL(test, kiommu_find_fn(&r->bus, 0x4100));
}

/* --- caches --- */

static void drop(struct kiommu_fn *fn, u32 pasid, u64 page, unsigned int order)
{
	raw_spin_lock_irq(fn->bus->lock);
	kiommu_atc_drop(fn, pasid, page, order);
	raw_spin_unlock_irq(fn->bus->lock);
}

/* Of pages 0 to 15, one bit for each that is cached */
static unsigned int cached(struct kiommu_fn *fn, u32 pasid)
{
	unsigned int n, mask = 0;

	for (n = 0; n < 16; n++)
		if (kiommu_atc_find(fn, pasid, n))
			mask |= BIT(n);
	return mask;
}

static void fill(struct kunit *test, struct kiommu_fn *fn)
{
	unsigned int n;

	memset(fn->atc, 0, sizeof(fn->atc));
	for (n = 0; n < 16; n++) {
		cache(fn, IOMMU_NO_PASID, n);
		cache(fn, PASID, n);
		cache(fn, OTHER_PASID, n);
	}
	KUNIT_ASSERT_EQ(test, 0xffff, cached(fn, PASID));
}

/* Exactly the range, which is aligned, goes. */
static void ranges(struct kunit *test)
{
	static const struct {
		u64 page;
		unsigned int order;
		unsigned int left;
	} range[] = {
		{ 0, 0, 0xfffe }, { 5, 0, 0xffdf }, { 6, 1, 0xff3f }, { 7, 1, 0xff3f },
		{ 6, 2, 0xff0f }, { 12, 2, 0x0fff }, { 8, 3, 0x00ff }, { 3, 4, 0 },
		{ 16, 0, 0xffff }, { 16, 4, 0xffff }, { 16, 5, 0 },
		{ BIT_ULL(51), 51, 0xffff }, { BIT_ULL(51), KIOMMU_ALL, 0 },
		{ U64_MAX, 64, 0 },
	};
	struct rules *r = test->priv;
	struct kiommu_fn *fn = r->fn[0];
	unsigned int n;

	for (n = 0; n < ARRAY_SIZE(range); n++) {
		fill(test, fn);
		drop(fn, PASID, range[n].page, range[n].order);
		KUNIT_EXPECT_EQ_MSG(test, range[n].left, cached(fn, PASID), "range %u", n);
		KUNIT_EXPECT_EQ(test, 0xffff, cached(fn, OTHER_PASID));
		KUNIT_EXPECT_EQ(test, 0xffff, cached(fn, IOMMU_NO_PASID));
	}
}

/* With one PASID only that, without all. No PASID is one as well. */
static void pasids_of_an_invalidation(struct kunit *test)
{
	struct rules *r = test->priv;
	struct kiommu_fn *fn = r->fn[0];

	fill(test, fn);
	fill(test, r->fn[1]);
	drop(fn, IOMMU_NO_PASID, 0, 0);
	KUNIT_EXPECT_EQ(test, 0xfffe, cached(fn, IOMMU_NO_PASID));
	KUNIT_EXPECT_EQ(test, 0xffff, cached(fn, PASID));
	drop(fn, KIOMMU_ANY_PASID, 2, 1);
	KUNIT_EXPECT_EQ(test, 0xfff2, cached(fn, IOMMU_NO_PASID));
	KUNIT_EXPECT_EQ(test, 0xfff3, cached(fn, PASID));
	KUNIT_EXPECT_EQ(test, 0xfff3, cached(fn, OTHER_PASID));
	drop(fn, KIOMMU_ANY_PASID, 0, KIOMMU_ALL);
	KUNIT_EXPECT_EQ(test, 0, nr_cached(fn));
	KUNIT_EXPECT_EQ(test, 48, nr_cached(r->fn[1]));
}

static bool is_odd(const struct kiommu_tlb *tlb)
{
	return tlb->page & 1;
}

static void tlb_keys(struct kunit *test)
{
	const struct kiommu_tlb tlb = { .type = 1, .tag = 2, .pasid = 3, .page = 4 };
	struct rules *r = test->priv;
	struct kiommu_tlb *iotlb = r->fn[0]->atc, key = tlb;

	kiommu_tlb_add(&r->k, iotlb, &tlb);
	KUNIT_EXPECT_PTR_EQ(test, iotlb, kiommu_tlb_find(iotlb, &key));
	key.type++;
	KUNIT_EXPECT_NULL(test, kiommu_tlb_find(iotlb, &key));
	key = tlb;
	key.tag++;
	KUNIT_EXPECT_NULL(test, kiommu_tlb_find(iotlb, &key));
	key = tlb;
	key.pasid++;
	KUNIT_EXPECT_NULL(test, kiommu_tlb_find(iotlb, &key));
	key = tlb;
	key.page++;
	KUNIT_EXPECT_NULL(test, kiommu_tlb_find(iotlb, &key));
	iotlb->valid = false;
	KUNIT_EXPECT_NULL(test, kiommu_tlb_find(iotlb, &tlb));
}

/* A test that needs more than a cache holds says so, and nothing is evicted before. */
static void tlb_full(struct kunit *test)
{
	struct rules *r = test->priv;
	struct kiommu_fn *fn = r->fn[0];
	unsigned int n;

	for (n = 0; n < KIOMMU_TLB; n++)
		cache(fn, PASID, n);
	kiommu_expect_complaints(test, &r->k, 0);
	KUNIT_EXPECT_EQ(test, KIOMMU_TLB, nr_cached(fn));
	KUNIT_EXPECT_EQ(test, 0, kiommu_tlb_count(fn->atc, 0, 0, U64_MAX, NULL));
	KUNIT_EXPECT_EQ(test, 3, kiommu_tlb_count(fn->atc, SZ_1M, SZ_4K, 3 * SZ_4K, NULL));
	KUNIT_EXPECT_EQ(test, 2, kiommu_tlb_count(fn->atc, SZ_1M, SZ_4K, 3 * SZ_4K, is_odd));
	cache(fn, PASID, n);
	kiommu_expect_complaints(test, &r->k, 1);
}

/* --- complaints, and the end --- */

/* One that was not expected fails the test, which says what the first one was. */
static void complaints_fail(struct kunit *test)
{
	struct rules *r = test->priv;
	struct kunit *other = kunit_kzalloc(test, sizeof(*other), GFP_KERNEL);

	KUNIT_ASSERT_NOT_NULL(test, other);
	kunit_init_test(other, "fails on purpose", NULL);
	kiommu_expect_complaints(other, &r->k, 0);
	KUNIT_EXPECT_EQ(test, KUNIT_SUCCESS, other->status);
	kiommu_complain(&r->k, "number %u", 1);
	kiommu_complain(&r->k, "number %u", 2);
	KUNIT_EXPECT_STREQ(test, "number 1", r->k.complaint);
	KUNIT_EXPECT_EQ(test, 2, r->k.nr_complaints);
	kiommu_expect_complaints(other, &r->k, 0);
	KUNIT_EXPECT_EQ(test, KUNIT_FAILURE, other->status);
	/* They are told once. */
	kiommu_complain(&r->k, "number %u", 3);
	KUNIT_EXPECT_STREQ(test, "number 3", r->k.complaint);
	kiommu_expect_complaints(test, &r->k, 1);
	kunit_cleanup(other);
}

static void end_three(void *arg)
{
	unsigned int *n = arg;

	*n = *n * 10 + 3;
}

static void end_four(void *arg)
{
	unsigned int *n = arg;

	*n = *n * 10 + 4;
}

static void ends_from_the_last(struct kunit *test)
{
	struct rules *r = test->priv;
	unsigned int n = 0;

	kiommu_at_exit(test, &r->k, end_three, &n);
	kiommu_at_exit(test, &r->k, end_four, &n);
	kiommu_end(&r->k);
	KUNIT_EXPECT_EQ(test, 43, n);
	kiommu_end(&r->k);
	KUNIT_EXPECT_EQ(test, 43, n);
}

/* --- queues that stop --- */

/* What the hardware of a driver does with a command */
static bool stops_at(struct kiommu_hold *hold, unsigned int type)
{
	bool ret;

	raw_spin_lock_irq(hold->lock);
	kiommu_hold_see(hold, type);
	ret = kiommu_hold_stops(hold);
	raw_spin_unlock_irq(hold->lock);
	return ret;
}

static void hold_at_the_nth(struct kunit *test)
{
	struct rules *r = test->priv;
	struct kiommu_hold hold = { .lock = &r->lock };

	KUNIT_EXPECT_FALSE(test, stops_at(&hold, 3));
	kiommu_hold(&hold, 3, 2, 0);
	KUNIT_EXPECT_FALSE(test, stops_at(&hold, 3));
	KUNIT_EXPECT_FALSE(test, stops_at(&hold, 4));
	KUNIT_EXPECT_FALSE(test, kiommu_is_held(&hold));
	KUNIT_EXPECT_TRUE(test, stops_at(&hold, 3));
	KUNIT_EXPECT_TRUE(test, kiommu_is_held(&hold));
	kiommu_let_go(&hold);
	KUNIT_EXPECT_FALSE(test, kiommu_is_held(&hold));
	KUNIT_EXPECT_FALSE(test, stops_at(&hold, 3));
	kiommu_hold(&hold, 3, 1, 0);
	kiommu_let_go(&hold);
	KUNIT_EXPECT_FALSE(test, stops_at(&hold, 3));
}

/* The time counts from when the test has noticed. */
static void hold_for_some_time(struct kunit *test)
{
	struct rules *r = test->priv;
	struct kiommu_hold hold = { .lock = &r->lock };

	kiommu_hold(&hold, 3, 1, 1);
	KUNIT_EXPECT_TRUE(test, stops_at(&hold, 3));
	usleep_range(2000, 3000);
	KUNIT_EXPECT_TRUE(test, stops_at(&hold, 4));
	KUNIT_EXPECT_TRUE(test, kiommu_is_held(&hold));
	usleep_range(2000, 3000);
	KUNIT_EXPECT_FALSE(test, kiommu_is_held(&hold));
}

/* Nobody else goes on meanwhile, and whose turn it became is not forgotten. */
static void turns(struct kunit *test)
{
	struct kiommu_turn turn = { .cpu = -1 };
	int before, other;

	migrate_disable();
	other = smp_processor_id() + 1;
	KUNIT_EXPECT_FALSE(test, kiommu_turn_is_others(&turn));
	before = kiommu_turn_begin(&turn);
	KUNIT_EXPECT_FALSE(test, kiommu_turn_is_others(&turn));
	kiommu_turn_end(&turn, kiommu_turn_begin(&turn));
	KUNIT_EXPECT_EQ(test, smp_processor_id(), turn.cpu);
	kiommu_turn_end(&turn, before);
	KUNIT_EXPECT_EQ(test, -1, turn.cpu);

	before = kiommu_turn_begin(&turn);
	kiommu_turn_give_up(&turn);
	turn.cpu = other;
	KUNIT_EXPECT_TRUE(test, kiommu_turn_is_others(&turn));
	kiommu_turn_end(&turn, before);
	KUNIT_EXPECT_EQ(test, other, turn.cpu);
	migrate_enable();
}

/* --- processes, threads --- */

static int take_mutex(void *arg)
{
	unsigned int cpu = raw_smp_processor_id();

	mutex_lock(arg);
	mutex_unlock(arg);
	return cpu;
}

static void thread_behind_a_mutex(struct kunit *test)
{
	struct kiommu_thread thread;
	struct mutex lock;	/* what the thread waits for */
	unsigned int cpu;

	mutex_init(&lock);
	kiommu_two_cpus(test);
	cpu = raw_smp_processor_id();
	kiommu_start_behind(test, &thread, &lock, take_mutex, &lock);
	KUNIT_EXPECT_FALSE(test, kiommu_done_in(&thread, AT_MOST_MS));
	KUNIT_EXPECT_FALSE(test, kiommu_spin_done(&thread, AT_MOST_MS));
	mutex_unlock(&lock);
	KUNIT_EXPECT_TRUE(test, kiommu_spin_done(&thread, KIOMMU_AT_LAST_MS));
	KUNIT_EXPECT_NE(test, cpu, kiommu_join(&thread));
	KUNIT_EXPECT_EQ(test, cpu, raw_smp_processor_id());
}

static void process_has_its_memory(struct kunit *test)
{
	struct mm_struct *mm = kiommu_mm(test);
	unsigned long addr = kiommu_mm_map(test, 3);
	unsigned int val = 0;

	KUNIT_EXPECT_PTR_EQ(test, mm, current->mm);
	KUNIT_EXPECT_EQ(test, 0, get_user(val, (unsigned int __user *)
					  (addr + 2 * PAGE_SIZE)));
	KUNIT_EXPECT_EQ(test, 2, val);
	KUNIT_EXPECT_EQ(test, 1, atomic_read(&mm->mm_users));
	mmgrab(mm);
	kiommu_mm_exit(mm);
	KUNIT_EXPECT_EQ(test, 0, atomic_read(&mm->mm_users));
	mmdrop(mm);
	KUNIT_EXPECT_NULL(test, current->mm);
}

static struct kunit_case rules_cases[] = {
	KUNIT_CASE(ats_hook_while_on),
	KUNIT_CASE(ats_off_forgets),
	KUNIT_CASE(ats_and_pasid_off_after_reset),
	KUNIT_CASE(pasid_not_while_ats_is_on),
	KUNIT_CASE(answers_but_one),
	KUNIT_CASE(gone_answers_nothing),
	KUNIT_CASE(found_by_requester_id),
	KUNIT_CASE(ranges),
	KUNIT_CASE(pasids_of_an_invalidation),
	KUNIT_CASE(tlb_keys),
	KUNIT_CASE(tlb_full),
	KUNIT_CASE(complaints_fail),
	KUNIT_CASE(ends_from_the_last),
	KUNIT_CASE(hold_at_the_nth),
	KUNIT_CASE(hold_for_some_time),
	KUNIT_CASE(turns),
	KUNIT_CASE(thread_behind_a_mutex),
	KUNIT_CASE(process_has_its_memory),
	{}
};

static struct kunit_suite rules_suite = {
	.name = "iommu_kunit_mock",
	.init = rules_init,
	.exit = rules_exit,
	.test_cases = rules_cases,
};

kunit_test_suite(rules_suite);

MODULE_DESCRIPTION("KUnit tests of what tests of an IOMMU's driver are made of");
MODULE_LICENSE("GPL");

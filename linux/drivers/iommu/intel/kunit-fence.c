// SPDX-License-Identifier: GPL-2.0-only
/*
 * KUnit tests of fencing functions that do not answer, and of resets
 *
 * A function that has stopped answering goes on to write to memory with what its ATC
 * holds. When an unmap is over, no such write passes the unit any more, none is under
 * way, and the function is not asked again: by no domain, and whatever is done with it.
 * Nobody else is taken for it. A reset brings it back.
 */
#include <kunit/test.h>
#include <linux/delay.h>
#include <linux/irq_work.h>
#include <linux/mman.h>
#include <linux/pci-ats.h>
#include <linux/seq_file.h>

#include "kunit-mock.h"

#define PASID		5
#define IOVA		0x10000
#define PAGES		8
#define FNS		3
#define FLAGS		(KIOMMU_ATS | KIOMMU_PASID)
#define HOLD_MS		20
#define LATE_MS		200
#define AT_LAST_MS	10000	/* for what comes, on a machine that is busy */
#define ROUNDS		50
#define MANY		1000
#define TURNS		64	/* asked one at a time, after nobody was named */

static const struct vtd_caps legacy_caps = {
	VTD_CAP, VTD_ECAP & ~(VTD_ECAP_SMTS | VTD_ECAP_PASID)
};

/**
 * struct fence - what a test is about
 * @test: the test
 * @machine: one unit, with @FNS functions
 * @unit: the unit
 * @fn: of the functions, the one that will not answer
 * @other: another one
 * @third: of which most tests make no use
 * @domain: what @fn and @other are attached to, with
 * @pasid: this PASID
 * @aborts: of the queue, when it was last looked at
 * @asked: how often @fn was, then
 * @trace: what @fn could do at each step of the unit, see trace_step()
 * @traced: length of that
 * @work: an interrupt, which asks
 * @irq_fn: this function
 * @irq_ret: and gets this answer
 */
struct fence {
	struct kunit *test;
	struct vtd_machine *machine;
	struct vtd_unit *unit;
	struct vtd_fn *fn;
	struct vtd_fn *other;
	struct vtd_fn *third;
	struct iommu_domain *domain;
	u32 pasid;
	u32 aborts;
	unsigned int asked;
	char trace[512];
	unsigned int traced;
	struct irq_work work;
	struct vtd_fn *irq_fn;
	int irq_ret;
};

/* --- setup --- */

static void look(struct fence *f)
{
	f->aborts = f->unit->iommu.qi->aborts;
	f->asked = f->fn->pci.asked;
	vtd_clear_log(f->machine);
}

static struct fence *fence_machine(struct kunit *test, const struct vtd_caps *caps,
				   unsigned int flags)
{
	struct fence *f = kunit_kzalloc(test, sizeof(*f), GFP_KERNEL);

	KUNIT_ASSERT_NOT_NULL(test, f);
	f->test = test;
	f->machine = vtd_machine(test, 1, caps);
	f->unit = f->machine->unit;
	f->unit->priv = f;
	f->fn = vtd_add_fn(test, 0, flags);
	f->other = vtd_add_fn(test, 0, flags);
	f->third = vtd_add_fn(test, 0, flags);
	f->pasid = PASID;
	look(f);
	return f;
}

static void set_pasid(struct fence *f, struct vtd_fn *fn, u32 pasid,
		      struct iommu_domain *domain)
{
	KUNIT_ASSERT_EQ(f->test, 0, vtd_set_pasid(fn, pasid, domain));
}

static void access(struct fence *f, struct vtd_fn *fn, u64 iova, int ret)
{
	u64 pa;

	KUNIT_EXPECT_EQ(f->test, ret, vtd_access(fn, f->pasid, iova, &pa));
	if (!ret)
		KUNIT_EXPECT_EQ(f->test, VTD_PA(iova), pa);
}

static void map_and_access(struct fence *f, struct vtd_fn *fn)
{
	unsigned int n;

	for (n = 0; n < PAGES; n++)
		access(f, fn, IOVA + n * PAGE_SIZE, 0);
}

static struct fence *fence_setup(struct kunit *test, unsigned int flags)
{
	struct fence *f = fence_machine(test, NULL, FLAGS);

	f->domain = vtd_paging(test, f->fn, flags);
	set_pasid(f, f->fn, PASID, f->domain);
	vtd_map(test, f->domain, IOVA, PAGES);
	map_and_access(f, f->fn);
	look(f);
	return f;
}

static struct fence *legacy_setup(struct kunit *test)
{
	struct fence *f = fence_machine(test, &legacy_caps, KIOMMU_ATS);

	f->pasid = IOMMU_NO_PASID;
	f->domain = vtd_paging(test, f->fn, 0);
	KUNIT_ASSERT_EQ(test, 0, vtd_attach(f->fn, f->domain));
	vtd_map(test, f->domain, IOVA, PAGES);
	map_and_access(f, f->fn);
	look(f);
	return f;
}

/* --- what is to be --- */

static u64 context_lo(struct vtd_fn *fn)
{
	struct context_entry *context;

	context = iommu_context_addr(&fn->unit->iommu, fn->info.bus,
				     fn->info.devfn, false);
	return context ? READ_ONCE(context->lo) : 0;
}

static bool dte_in_memory(struct vtd_fn *fn)
{
	u64 lo = context_lo(fn);

	return sm_supported(&fn->unit->iommu) ? lo & CONTEXT_SM_DTE :
		FIELD_GET(CONTEXT_TT, lo) == CONTEXT_TT_DEV_IOTLB;
}

static u32 state(const struct vtd_fn *fn)
{
	return READ_ONCE(fn->info.fn.state);
}

/* Of what its ATC holds, nothing is of use. */
static void expect_refused(struct fence *f, u64 iova)
{
	KUNIT_EXPECT_FALSE(f->test, vtd_in_flight(f->fn));
	KUNIT_EXPECT_EQ(f->test, -EPERM, vtd_post(f->fn, f->pasid, iova));
	access(f, f->fn, iova, -EPERM);
}

static void expect_fenced(struct fence *f)
{
	KUNIT_EXPECT_EQ(f->test, IOMMU_ALIST_FENCED, state(f->fn));
	KUNIT_EXPECT_FALSE(f->test, dte_in_memory(f->fn));
	expect_refused(f, IOVA);
}

static void expect_live(struct fence *f, struct vtd_fn *fn)
{
	KUNIT_EXPECT_EQ(f->test, IOMMU_ALIST_LIVE, state(fn));
	KUNIT_EXPECT_TRUE(f->test, dte_in_memory(fn));
}

/* Since look() */
static void expect_asked(struct fence *f, unsigned int asked, unsigned int aborts)
{
	KUNIT_EXPECT_EQ(f->test, asked, f->fn->pci.asked - f->asked);
	KUNIT_EXPECT_EQ(f->test, aborts, f->unit->iommu.qi->aborts - f->aborts);
}

static void expect_stream(struct fence *f, const char *stream)
{
	KUNIT_EXPECT_STREQ(f->test, vtd_stream(f->test, f->unit, VTD_WAITS), stream);
}

/* A function that never stops to write */
static void post_at_each_step(struct vtd_unit *unit, const struct vtd_cmd *cmd)
{
	struct fence *f = unit->priv;

	vtd_post(f->fn, f->pasid, IOVA);
}

static void unmap_mute(struct fence *f)
{
	kiommu_mute(&f->fn->pci, true);
	vtd_unmap(f->domain, IOVA, 1);
	KUNIT_EXPECT_EQ(f->test, IOMMU_ALIST_FENCED, state(f->fn));
	look(f);
}

/* --- a function does not answer --- */

static void unmap_is_over(struct fence *f, const char *stream)
{
	f->unit->before = post_at_each_step;
	kiommu_mute(&f->fn->pci, true);
	vtd_unmap(f->domain, IOVA, 1);
	f->unit->before = NULL;
	expect_fenced(f);
	expect_asked(f, 2, 2);
	expect_stream(f, stream);
}

static void mute_second_level(struct kunit *test)
{
	unmap_is_over(fence_setup(test, 0),
		      "iotlb did=2 addr=10000 am=0 ih\n"
		      "devtlb sid=4000 pasid=5 qdep=16 addr=10000 am=0 lost\n"
		      "wait aborted\n"
		      "iotlb did=2 addr=10000 am=0 ih\n"
		      "wait\n"
		      "devtlb sid=4000 pasid=5 qdep=16 addr=10000 am=0 lost\n"
		      "wait aborted\n"
		      "cc gran=3 did=0 sid=4000\n"
		      "wait fence nostatus\n"
		      "iotlb all\n"
		      "wait\n");
}

static void mute_first_level(struct kunit *test)
{
	unmap_is_over(fence_setup(test, VTD_FIRST_LEVEL),
		      "piotlb did=2 pasid=5 addr=10000 am=0 ih\n"
		      "devtlb sid=4000 pasid=5 qdep=16 addr=10000 am=0 lost\n"
		      "wait aborted\n"
		      "piotlb did=2 pasid=5 addr=10000 am=0 ih\n"
		      "wait\n"
		      "devtlb sid=4000 pasid=5 qdep=16 addr=10000 am=0 lost\n"
		      "wait aborted\n"
		      "cc gran=3 did=0 sid=4000\n"
		      "wait fence nostatus\n"
		      "iotlb all\n"
		      "wait\n");
}

/* The unit finds the entry by the domain ID, too. */
static void mute_legacy(struct kunit *test)
{
	unmap_is_over(legacy_setup(test),
		      "iotlb did=2 addr=10000 am=0 ih\n"
		      "devtlb sid=4000 qdep=16 addr=10000 am=0 lost\n"
		      "wait aborted\n"
		      "iotlb did=2 addr=10000 am=0 ih\n"
		      "wait\n"
		      "devtlb sid=4000 qdep=16 addr=10000 am=0 lost\n"
		      "wait aborted\n"
		      "cc gran=3 did=2 sid=4000\n"
		      "wait fence nostatus\n"
		      "iotlb all\n"
		      "wait\n");
}

/* A quirk: it is asked twice each time. */
/* Reads of its configuration fail, too, which says nothing about its power. */
static void mute_unreadable(struct kunit *test)
{
	struct fence *f = fence_setup(test, 0);
	pci_power_t before = f->fn->pci.pdev.current_state;

	f->fn->pci.pdev.current_state = PCI_D3cold;
	unmap_mute(f);
	expect_fenced(f);
	f->fn->pci.pdev.current_state = before;
}

static void mute_asked_twice(struct kunit *test)
{
	struct fence *f = fence_machine(test, NULL, FLAGS);

	f->fn->info.dtlb_extra_inval = 1;
	f->domain = vtd_paging(test, f->fn, 0);
	set_pasid(f, f->fn, PASID, f->domain);
	vtd_map(test, f->domain, IOVA, PAGES);
	map_and_access(f, f->fn);
	look(f);
	kiommu_mute(&f->fn->pci, true);
	vtd_unmap(f->domain, IOVA, 1);
	expect_fenced(f);
	expect_asked(f, 4, 2);
}

static void flush_with_neighbours(struct fence *f)
{
	unsigned int n;

	set_pasid(f, f->other, PASID, f->domain);
	set_pasid(f, f->third, PASID, f->domain);
	map_and_access(f, f->other);
	look(f);
	n = f->other->pci.asked;
	kiommu_mute(&f->fn->pci, true);
	vtd_unmap(f->domain, IOVA, 1);
	expect_fenced(f);
	expect_asked(f, 2, 2);
	/* Once in the batch that was lost, and once by itself */
	KUNIT_EXPECT_EQ(f->test, 2, f->other->pci.asked - n);
	access(f, f->other, IOVA, -EFAULT);
	access(f, f->other, IOVA + PAGE_SIZE, 0);
	expect_live(f, f->other);
	expect_live(f, f->third);
}

static void mute_between_neighbours(struct kunit *test)
{
	flush_with_neighbours(fence_setup(test, 0));
}

static struct iommu_domain *another_domain(struct fence *f, u32 pasid, unsigned int flags)
{
	struct iommu_domain *domain = vtd_paging(f->test, f->fn, flags);

	if (pasid == IOMMU_NO_PASID) {
		KUNIT_ASSERT_EQ(f->test, 0, vtd_attach(f->fn, domain));
		KUNIT_ASSERT_EQ(f->test, 0, vtd_attach(f->other, domain));
	} else {
		set_pasid(f, f->fn, pasid, domain);
		set_pasid(f, f->other, pasid, domain);
	}
	return domain;
}

/* However often, and whatever it is attached to; its neighbour is asked as ever. */
static void not_asked_again(struct kunit *test)
{
	struct fence *f = fence_setup(test, 0);
	struct iommu_domain *domain[] = {
		f->domain,
		another_domain(f, PASID + 1, VTD_FIRST_LEVEL),
		another_domain(f, IOMMU_NO_PASID, 0),
	};
	unsigned int n, asked;

	unmap_mute(f);
	asked = f->other->pci.asked;
	for (n = 0; n < MANY; n++) {
		vtd_map(test, domain[n % 3], IOVA, 1);
		vtd_unmap(domain[n % 3], IOVA, 1);
	}
	expect_asked(f, 0, 0);
	/* It is attached to all but the first. */
	KUNIT_EXPECT_EQ(test, MANY - DIV_ROUND_UP(MANY, 3), f->other->pci.asked - asked);
	KUNIT_EXPECT_EQ(test, MANY, vtd_count(f->unit, QI_IWD_TYPE));
	KUNIT_EXPECT_EQ(test, 0, vtd_count(f->unit, QI_CC_TYPE));
	expect_live(f, f->other);
	expect_fenced(f);
}

/* A table goes with its pages: it would be kept, with a warning, if the flush had failed. */
static void tables_are_freed(struct kunit *test)
{
	struct fence *f = fence_setup(test, 0);
	struct dmar_domain *domain = to_dmar_domain(f->domain);

	kiommu_mute(&f->fn->pci, true);
	KUNIT_EXPECT_EQ(test, 0, cache_flush_range(domain, 0, SZ_2M - 1, false));
	vtd_unmap(f->domain, 0, SZ_2M / SZ_4K);
	expect_fenced(f);
	expect_asked(f, 2, 2);
	KUNIT_EXPECT_EQ(test, 0, cache_flush_all(domain));
	expect_asked(f, 2, 2);
}

/* The first flush that it does not answer is the one that has a table to be freed. */
static void tables_of_first(struct kunit *test)
{
	struct fence *f = fence_setup(test, VTD_FIRST_LEVEL);

	kiommu_mute(&f->fn->pci, true);
	vtd_unmap(f->domain, 0, SZ_2M / SZ_4K);
	expect_fenced(f);
	expect_asked(f, 2, 2);
}

/* Asked again, it answers. */
static void late_once(struct kunit *test)
{
	struct fence *f = fence_setup(test, 0);

	kiommu_drop(&f->fn->pci, 1);
	vtd_unmap(f->domain, IOVA, 1);
	expect_asked(f, 2, 1);
	expect_live(f, f->fn);
	access(f, f->fn, IOVA, -EFAULT);
	access(f, f->fn, IOVA + PAGE_SIZE, 0);
}

/*
 * Accidents of both in one batch, of each, of one when the other has been named, and next to
 * one that is fenced: none is taken for mute.
 */
static void innocent(struct kunit *test)
{
	struct fence *f = fence_setup(test, 0);
	unsigned int n;

	set_pasid(f, f->other, PASID, f->domain);
	for (n = 0; n < ROUNDS; n++) {
		kiommu_drop(&f->fn->pci, n & 1);
		kiommu_drop(&f->other->pci, n >> 1 & 3);
		vtd_unmap(f->domain, IOVA, 1);
		vtd_map(test, f->domain, IOVA, 1);
		KUNIT_EXPECT_EQ(test, IOMMU_ALIST_LIVE, state(f->fn));
		KUNIT_EXPECT_EQ(test, IOMMU_ALIST_LIVE, state(f->other));
	}
	unmap_mute(f);
	for (n = 0; n < ROUNDS; n++) {
		kiommu_drop(&f->other->pci, 1);
		vtd_unmap(f->domain, IOVA, 1);
	}
	expect_asked(f, 0, ROUNDS);
	expect_live(f, f->other);
}

/* What its own commands suffer from others is nothing to fence it for. */
static void innocent_by_itself(struct kunit *test)
{
	struct fence *f = fence_setup(test, 0);
	struct qi_desc desc;
	unsigned int n;

	/* The neighbour has been named, and is again while this one waits. */
	for (n = 0; n < ROUNDS; n++) {
		kiommu_drop(&f->fn->pci, 1);
		qi_desc_dev_iotlb(pci_dev_id(&f->other->pci.pdev), 0, 16, 0,
				  MAX_AGAW_PFN_WIDTH, &desc);
		set_pasid(f, f->other, PASID, f->domain);
		kiommu_drop(&f->other->pci, 1);
		qi_submit(&f->unit->iommu, &desc, 1, 0);
		intel_flush_dev_tlb(&f->fn->info, PASID);
		vtd_remove_pasid(f->other, PASID);
	}
	expect_live(f, f->fn);
	expect_live(f, f->other);
}

/* --- whoever comes across --- */

/* Somebody was interrupted before it had done anything. */
static void fence_is_interrupted(struct kunit *test)
{
	struct fence *f = fence_setup(test, 0);

	kiommu_mute(&f->fn->pci, true);
	f->unit->before = post_at_each_step;
	WRITE_ONCE(f->fn->info.fn.state, IOMMU_ALIST_FENCING);
	vtd_unmap(f->domain, IOVA, 1);
	f->unit->before = NULL;
	expect_fenced(f);
	expect_asked(f, 0, 0);
}

struct job {
	struct fence *f;
	u64 iova;
	int post;
	bool in_flight;
};

static int unmap_job(void *arg)
{
	struct job *job = arg;

	vtd_unmap(job->f->domain, job->iova, 1);
	job->in_flight = vtd_in_flight(job->f->fn);
	job->post = vtd_post(job->f->fn, job->f->pasid, job->iova);
	return 0;
}

/* Two threads unmap something: of the one that returns first it is true already. */
static void unmap_together(struct kunit *test, u8 type, unsigned int nth)
{
	struct job job[2] = {};
	struct kiommu_thread thread;
	struct fence *f;

	kiommu_two_cpus(test);
	f = fence_setup(test, 0);
	job[0].f = f;
	job[0].iova = IOVA;
	job[1].f = f;
	job[1].iova = IOVA + PAGE_SIZE;
	f->unit->before = post_at_each_step;
	kiommu_mute(&f->fn->pci, true);
	kiommu_hold(&f->unit->hold, type, nth, HOLD_MS);
	kiommu_start(test, &thread, unmap_job, &job[0]);
	KUNIT_EXPECT_TRUE(test, kiommu_wait_held(&thread, &f->unit->hold));
	unmap_job(&job[1]);
	kiommu_join(&thread);
	f->unit->before = NULL;
	KUNIT_EXPECT_EQ(test, -EPERM, job[0].post);
	KUNIT_EXPECT_EQ(test, -EPERM, job[1].post);
	KUNIT_EXPECT_FALSE(test, job[0].in_flight);
	KUNIT_EXPECT_FALSE(test, job[1].in_flight);
	expect_fenced(f);
	expect_asked(f, 2, 2);
}

static void together_at_context(struct kunit *test)
{
	unmap_together(test, QI_CC_TYPE, 1);
}

/* Of its first batch, of the repetition, and at last of the fence */
static void together_at_drain(struct kunit *test)
{
	unmap_together(test, QI_IOTLB_TYPE, 3);
}

/* --- what else is done with it --- */

static void disable_pri(void *arg)
{
	struct fence *f = arg;

	if (f->fn->info.pri_enabled)
		KUNIT_EXPECT_EQ(f->test, 0,
				intel_iommu_ops.dev_disable_feat(&f->fn->pci.pdev.dev,
								 IOMMU_DEV_FEAT_IOPF));
	iopf_queue_free(f->unit->iommu.iopf_queue);
	f->unit->iommu.iopf_queue = NULL;
}

static void enable_pri(struct fence *f)
{
	struct iopf_queue *queue = iopf_queue_alloc();

	KUNIT_ASSERT_NOT_NULL(f->test, queue);
	f->unit->iommu.iopf_queue = queue;
	vtd_at_exit(f->test, disable_pri, f);
	f->fn->info.pri_supported = 1;
	f->fn->pci.pdev.pri_cap = KIOMMU_CFG_PRI;
	f->fn->pci.pdev.pasid_required = 1;
	*(u16 *)&f->fn->pci.cfg[KIOMMU_CFG_PRI + PCI_PRI_STATUS] = PCI_PRI_STATUS_STOPPED;
	KUNIT_EXPECT_EQ(f->test, 0,
			intel_iommu_ops.dev_enable_feat(&f->fn->pci.pdev.dev,
							IOMMU_DEV_FEAT_IOPF));
}

static void remove_and_drain(struct fence *f)
{
	vtd_remove_pasid(f->fn, PASID);
	intel_iommu_ops.drain_dev_pasid(&f->fn->pci.pdev.dev, PASID);
}

/* Page requests go on, and off, and are drained. */
static void fenced_page_requests(struct kunit *test)
{
	struct fence *f = fence_setup(test, VTD_FIRST_LEVEL);

	unmap_mute(f);
	enable_pri(f);
	KUNIT_EXPECT_FALSE(test, context_lo(f->fn) & (CONTEXT_SM_DTE | CONTEXT_SM_PRE));
	expect_fenced(f);
	remove_and_drain(f);
	KUNIT_EXPECT_GE(test, vtd_count(f->unit, QI_EIOTLB_TYPE), 2);
	disable_pri(f);
	KUNIT_EXPECT_FALSE(test, context_lo(f->fn) & (CONTEXT_SM_DTE | CONTEXT_SM_PRE));
	expect_asked(f, 0, 0);
}

/* They were on when it was fenced. */
static void page_requests_are_fenced(struct kunit *test)
{
	struct fence *f = fence_setup(test, VTD_FIRST_LEVEL);

	enable_pri(f);
	KUNIT_EXPECT_TRUE(test, context_lo(f->fn) & CONTEXT_SM_PRE);
	unmap_mute(f);
	KUNIT_EXPECT_FALSE(test, context_lo(f->fn) & (CONTEXT_SM_DTE | CONTEXT_SM_PRE));
	KUNIT_EXPECT_TRUE(test, context_lo(f->fn) & CONTEXT_FPD);
	remove_and_drain(f);
	disable_pri(f);
	expect_asked(f, 0, 0);
}

static void fenced_detach(struct kunit *test)
{
	struct fence *f = fence_setup(test, 0);
	struct iommu_domain *domain;

	KUNIT_ASSERT_EQ(test, 0, vtd_attach(f->fn, intel_iommu_ops.identity_domain));
	unmap_mute(f);
	vtd_remove_pasid(f->fn, PASID);
	vtd_block(f->fn);
	/* A paging domain can be attached as before, and left. */
	domain = vtd_paging(test, f->fn, VTD_FIRST_LEVEL);
	KUNIT_EXPECT_EQ(test, 0, vtd_set_pasid(f->fn, PASID, domain));
	KUNIT_EXPECT_EQ(test, 0, vtd_attach(f->fn, domain));
	KUNIT_EXPECT_FALSE(test, dte_in_memory(f->fn));
	vtd_flush_all(domain);
	vtd_release_fn(f->fn);
	expect_asked(f, 0, 0);
}

/* Each attach writes the whole context entry. */
static void fenced_detach_legacy(struct kunit *test)
{
	struct fence *f = legacy_setup(test);

	unmap_mute(f);
	vtd_block(f->fn);
	KUNIT_ASSERT_EQ(test, 0, vtd_attach(f->fn, f->domain));
	KUNIT_EXPECT_FALSE(test, dte_in_memory(f->fn));
	access(f, f->fn, IOVA + PAGE_SIZE, -EPERM);
	vtd_unmap(f->domain, IOVA + PAGE_SIZE, 1);
	vtd_release_fn(f->fn);
	expect_asked(f, 0, 0);
}

static void fenced_sva(struct kunit *test)
{
	struct fence *f = fence_machine(test, NULL, FLAGS);
	struct mm_struct *mm = kiommu_mm(test);
	struct iommu_domain *sva = vtd_sva(test, f->fn, mm);
	unsigned long addr = kiommu_mm_map(test, 1);
	u64 pa;

	set_pasid(f, f->fn, PASID, sva);
	KUNIT_EXPECT_EQ(test, 0, vtd_access(f->fn, PASID, addr, &pa));
	kiommu_mute(&f->fn->pci, true);
	f->unit->before = post_at_each_step;
	KUNIT_EXPECT_EQ(test, 0, vm_munmap(addr, PAGE_SIZE));
	f->unit->before = NULL;
	KUNIT_EXPECT_EQ(test, IOMMU_ALIST_FENCED, state(f->fn));
	expect_refused(f, addr);
	look(f);
	KUNIT_EXPECT_EQ(test, -EIO, vtd_set_pasid(f->fn, PASID + 1, sva));
	KUNIT_EXPECT_EQ(test, 0, vtd_set_pasid(f->other, PASID, sva));
	kiommu_mm_exit(mm);
	vtd_remove_pasid(f->fn, PASID);
	expect_asked(f, 0, 0);
}

/* It is mute when the process exits. */
static void mute_when_mm_exits(struct kunit *test)
{
	struct fence *f = fence_machine(test, NULL, FLAGS);
	struct mm_struct *mm = kiommu_mm(test);
	struct iommu_domain *sva = vtd_sva(test, f->fn, mm);
	unsigned long addr = kiommu_mm_map(test, 1);
	u64 pa;

	set_pasid(f, f->fn, PASID, sva);
	KUNIT_EXPECT_EQ(test, 0, vtd_access(f->fn, PASID, addr, &pa));
	look(f);
	kiommu_mute(&f->fn->pci, true);
	kiommu_mm_exit(mm);
	KUNIT_EXPECT_EQ(test, IOMMU_ALIST_FENCED, state(f->fn));
	expect_refused(f, addr);
	expect_asked(f, 2, 2);
}

/* One that is not there is not asked, nor fenced: it may come back, with an empty ATC. */
static void gone(struct kunit *test)
{
	struct fence *f = fence_setup(test, 0);

	kiommu_remove(&f->fn->pci);
	vtd_remove_pasid(f->fn, PASID);
	expect_asked(f, 0, 0);
	KUNIT_EXPECT_EQ(test, IOMMU_ALIST_LIVE, state(f->fn));
}

/* --- the fence fails --- */

static void fence_fails(struct kunit *test)
{
	struct fence *f = fence_setup(test, 0);

	kiommu_mute(&f->fn->pci, true);
	vtd_refuse(f->unit, QI_CC_TYPE);
	/* What page tables the unit has walked it does not walk any more. */
	KUNIT_EXPECT_EQ(test, 0, cache_flush_all(to_dmar_domain(f->domain)));
	KUNIT_EXPECT_EQ(test, IOMMU_ALIST_FENCING, state(f->fn));
	expect_asked(f, 2, 2);
	look(f);
	KUNIT_EXPECT_NE(test, 0, intel_submit_dev_tlb(&f->fn->info, NULL, 0, 0, 0));
	KUNIT_EXPECT_EQ(test, 0, cache_flush_all(to_dmar_domain(f->domain)));
	KUNIT_EXPECT_EQ(test, IOMMU_ALIST_FENCING, state(f->fn));
	vtd_refuse(f->unit, 0);
	vtd_unmap(f->domain, IOVA, 1);
	expect_fenced(f);
	expect_asked(f, 0, 0);
}

/* --- units that name nobody --- */

static u64 ask(struct vtd_fn *fn)
{
	struct qi_desc desc;

	qi_desc_dev_iotlb(pci_dev_id(&fn->pci.pdev), 0, 16, 0, MAX_AGAW_PFN_WIDTH, &desc);
	return qi_submit(&fn->unit->iommu, &desc, 1, 0);
}

static struct iommu_domain *domain_of(struct fence *f, struct vtd_fn *fn)
{
	struct iommu_domain *domain = vtd_paging(f->test, fn, 0);

	set_pasid(f, fn, PASID, domain);
	return domain;
}

/* Two were asked, one of them does not answer: it could be either. */
static struct fence *nameless_setup(struct kunit *test)
{
	struct fence *f = fence_setup(test, 0);
	u64 sync[2];

	domain_of(f, f->other);
	domain_of(f, f->third);
	look(f);
	vtd_name_nobody(f->unit, 1);
	kiommu_mute(&f->fn->pci, true);
	sync[0] = ask(f->fn);
	sync[1] = ask(f->other);
	KUNIT_EXPECT_EQ(test, -EAGAIN, qi_wait(&f->unit->iommu, sync[0]));
	KUNIT_EXPECT_EQ(test, -EAGAIN, qi_wait(&f->unit->iommu, sync[1]));
	KUNIT_EXPECT_EQ(test, TURNS, f->unit->iommu.qi->turns);
	KUNIT_EXPECT_EQ(test, 0, f->unit->iommu.qi->ite_sid);
	expect_asked(f, 1, 1);
	return f;
}

static void expect_turns_end(struct fence *f)
{
	unsigned int n;

	for (n = 0; n < TURNS; n++)
		intel_flush_dev_tlb(&f->third->info, PASID);
	KUNIT_EXPECT_EQ(f->test, 0, f->unit->iommu.qi->turns);
	expect_live(f, f->other);
	expect_live(f, f->third);
}

static void nameless(struct kunit *test)
{
	struct fence *f = nameless_setup(test);

	intel_flush_dev_tlb(&f->other->info, PASID);
	expect_live(f, f->other);
	vtd_unmap(f->domain, IOVA, 1);
	expect_fenced(f);
	expect_asked(f, 3, 3);
	expect_turns_end(f);
}

/* Both in one batch */
static void nameless_batch(struct kunit *test)
{
	struct fence *f = fence_setup(test, 0);

	set_pasid(f, f->other, PASID, f->domain);
	domain_of(f, f->third);
	vtd_name_nobody(f->unit, 0);
	look(f);
	kiommu_mute(&f->fn->pci, true);
	vtd_unmap(f->domain, IOVA, 1);
	expect_fenced(f);
	expect_asked(f, 3, 3);
	expect_turns_end(f);
}

/* Those who have answered are no suspects, nor is there need for turns. */
static void nameless_alone(struct kunit *test)
{
	struct fence *f = fence_setup(test, 0);
	struct q_inval *qi = f->unit->iommu.qi;

	domain_of(f, f->other);
	intel_flush_dev_tlb(&f->other->info, PASID);
	KUNIT_ASSERT_NE(test, qi->head, qi->tail);
	vtd_name_nobody(f->unit, 0);
	look(f);
	kiommu_mute(&f->fn->pci, true);
	vtd_unmap(f->domain, IOVA, 1);
	expect_fenced(f);
	expect_asked(f, 2, 2);
	KUNIT_EXPECT_EQ(test, 0, qi->turns);
	expect_live(f, f->other);
}

static void one_at_a_time(struct kunit *test)
{
	struct fence *f = nameless_setup(test);
	u64 sync[2];

	look(f);
	sync[0] = ask(f->other);
	KUNIT_EXPECT_EQ(test, 0, vtd_count(f->unit, QI_DIOTLB_TYPE));
	sync[1] = ask(f->third);
	KUNIT_EXPECT_EQ(test, 1, vtd_count(f->unit, QI_DIOTLB_TYPE));
	KUNIT_EXPECT_EQ(test, 0, qi_wait(&f->unit->iommu, sync[0]));
	KUNIT_EXPECT_EQ(test, 0, qi_wait(&f->unit->iommu, sync[1]));
}

static void ask_in_irq(struct irq_work *work)
{
	struct fence *f = container_of(work, struct fence, work);

	f->irq_ret = qi_wait(&f->unit->iommu, ask(f->irq_fn));
}

/* It interrupts the thread whose turn it is. */
static void turn_in_interrupt(struct kunit *test)
{
	struct fence *f = nameless_setup(test);
	u64 sync;

	f->work = IRQ_WORK_INIT_HARD(ask_in_irq);
	f->irq_fn = f->third;
	f->irq_ret = -EINPROGRESS;
	migrate_disable();
	sync = ask(f->other);
	irq_work_queue(&f->work);
	irq_work_sync(&f->work);
	KUNIT_EXPECT_EQ(test, 0, qi_wait(&f->unit->iommu, sync));
	migrate_enable();
	KUNIT_EXPECT_EQ(test, 0, f->irq_ret);
}

struct load {
	struct kunit *test;
	struct iommu_domain *domain;
};

static int load_run(void *arg)
{
	struct load *load = arg;
	unsigned int n;

	for (n = 0; n < 4 * ROUNDS; n++) {
		vtd_unmap(load->domain, IOVA, 1);
		cond_resched();
	}
	return 0;
}

#define MAX_ABORTS	12

/* Three threads, with a function each, of which one is mute */
static void nameless_load(struct kunit *test)
{
	struct kiommu_thread thread[2];
	struct load load[FNS];
	struct fence *f;
	unsigned int n;

	kiommu_two_cpus(test);
	f = fence_setup(test, 0);
	load[0].domain = f->domain;
	load[1].domain = domain_of(f, f->other);
	load[2].domain = domain_of(f, f->third);
	look(f);
	vtd_name_nobody(f->unit, 4);
	kiommu_mute(&f->fn->pci, true);
	kiommu_hold(&f->unit->hold, QI_DEIOTLB_TYPE, 1, HOLD_MS);
	for (n = 0; n < 2; n++)
		kiommu_start(test, &thread[n], load_run, &load[n]);
	KUNIT_EXPECT_TRUE(test, kiommu_wait_held(&thread[0], &f->unit->hold));
	load_run(&load[2]);
	for (n = 0; n < 2; n++)
		kiommu_join(&thread[n]);
	expect_fenced(f);
	KUNIT_EXPECT_LE(test, f->unit->iommu.qi->aborts - f->aborts, MAX_ABORTS);
	expect_turns_end(f);
}

/* --- resets --- */

static int prepare(struct fence *f)
{
	return intel_reset_prepare(&f->fn->pci.pdev.dev);
}

static void done(struct fence *f)
{
	intel_reset_done(&f->fn->pci.pdev.dev);
}

static void reset(struct fence *f)
{
	KUNIT_EXPECT_EQ(f->test, 0, prepare(f));
	kiommu_reset(&f->fn->pci);
	done(f);
}

static void trace_add(struct fence *f, const char *text)
{
	f->traced += scnprintf(f->trace + f->traced, sizeof(f->trace) - f->traced, "%s",
			       text);
}

/* What @fn is at each step of the unit */
static void trace_step(struct vtd_unit *unit, const struct vtd_cmd *cmd)
{
	static const char *const name[] = { "live", "fencing", "fenced", "resuming" };
	struct fence *f = unit->priv;

	trace_add(f, name[state(f->fn)]);
	trace_add(f, dte_in_memory(f->fn) ? " dte" : "");
	trace_add(f, kiommu_ats(&f->fn->pci) ? " ats\n" : "\n");
}

static void reset_is_prepared(struct fence *f, const char *stream)
{
	f->unit->before = post_at_each_step;
	KUNIT_EXPECT_EQ(f->test, 0, vtd_post(f->fn, f->pasid, IOVA));
	KUNIT_EXPECT_EQ(f->test, 0, prepare(f));
	f->unit->before = NULL;
	KUNIT_EXPECT_FALSE(f->test, vtd_in_flight(f->fn));
	KUNIT_EXPECT_EQ(f->test, IOMMU_ALIST_FENCED, state(f->fn));
	KUNIT_EXPECT_FALSE(f->test, dte_in_memory(f->fn));
	KUNIT_EXPECT_FALSE(f->test, kiommu_ats(&f->fn->pci));
	expect_stream(f, stream);
	look(f);
	vtd_unmap(f->domain, IOVA, 1);
	vtd_flush_all(f->domain);
	expect_asked(f, 0, 0);
	kiommu_reset(&f->fn->pci);
}

static void reset_is_done(struct fence *f, const char *trace, const char *stream)
{
	look(f);
	f->unit->before = trace_step;
	done(f);
	f->unit->before = NULL;
	KUNIT_EXPECT_STREQ(f->test, f->trace, trace);
	expect_stream(f, stream);
	expect_live(f, f->fn);
	KUNIT_EXPECT_TRUE(f->test, kiommu_ats(&f->fn->pci));
	access(f, f->fn, IOVA, -EFAULT);
	access(f, f->fn, IOVA + PAGE_SIZE, 0);
	look(f);
	vtd_unmap(f->domain, IOVA + PAGE_SIZE, 1);
	expect_asked(f, 1, 0);
	access(f, f->fn, IOVA + PAGE_SIZE, -EFAULT);
}

#define PREPARED							\
	"cc gran=3 did=0 sid=4000\n"					\
	"wait fence nostatus\n"						\
	"iotlb all\n"							\
	"wait\n"

#define TRACE3								\
	"resuming ats\n"						\
	"resuming ats\n"						\
	"resuming ats\n"

#define TRACE2								\
	"live dte ats\n"						\
	"live dte ats\n"

static void reset_order(struct kunit *test)
{
	struct fence *f = fence_setup(test, 0);

	reset_is_prepared(f, PREPARED);
	reset_is_done(f, TRACE3 "resuming ats\n" TRACE2,
		      "iotlb all\n"
		      "wait fence nostatus\n"
		      "devtlb sid=4000 qdep=16 all\n"
		      "wait\n"
		      "cc gran=3 did=0 sid=4000\n"
		      "wait\n");
	KUNIT_EXPECT_FALSE(test, context_lo(f->fn) & (CONTEXT_SM_PRE | CONTEXT_FPD));
}

/* A function that takes invalidations of all PASIDs at once */
static void reset_order_global(struct kunit *test)
{
	struct fence *f = fence_setup(test, 0);

	*(u16 *)&f->fn->pci.cfg[KIOMMU_CFG_ATS + PCI_ATS_CAP] |= BIT(6);
	reset_is_prepared(f, PREPARED);
	reset_is_done(f, TRACE3 "resuming ats\nresuming ats\n" TRACE2,
		      "iotlb all\n"
		      "wait fence nostatus\n"
		      "devtlb sid=4000 qdep=16 all\n"
		      "devtlb sid=4000 pasid=0 global qdep=16 all\n"
		      "wait\n"
		      "cc gran=3 did=0 sid=4000\n"
		      "wait\n");
}

static void reset_order_legacy(struct kunit *test)
{
	struct fence *f = legacy_setup(test);

	reset_is_prepared(f,
			  "cc gran=3 did=2 sid=4000\n"
			  "wait fence nostatus\n"
			  "iotlb all\n"
			  "wait\n");
	reset_is_done(f, TRACE3 "resuming ats\n" TRACE2,
		      "iotlb all\n"
		      "wait fence nostatus\n"
		      "devtlb sid=4000 qdep=16 all\n"
		      "wait\n"
		      "cc gran=3 did=2 sid=4000\n"
		      "wait\n");
}

/* They were on, and are on again. */
static void reset_with_page_requests(struct kunit *test)
{
	struct fence *f = fence_setup(test, VTD_FIRST_LEVEL);

	enable_pri(f);
	KUNIT_EXPECT_TRUE(test, context_lo(f->fn) & CONTEXT_SM_PRE);
	reset(f);
	expect_live(f, f->fn);
	KUNIT_EXPECT_TRUE(test, context_lo(f->fn) & CONTEXT_SM_PRE);
	KUNIT_EXPECT_FALSE(test, context_lo(f->fn) & CONTEXT_FPD);
	vtd_remove_pasid(f->fn, PASID);
	disable_pri(f);
	KUNIT_EXPECT_FALSE(test, context_lo(f->fn) & CONTEXT_SM_PRE);
}

/* Processes go on meanwhile, and one exits. */
static void reset_while_mm_exits(struct kunit *test)
{
	struct fence *f = fence_machine(test, NULL, FLAGS);
	struct mm_struct *mm = kiommu_mm(test);
	struct iommu_domain *sva = vtd_sva(test, f->fn, mm);
	unsigned long addr = kiommu_mm_map(test, 2);
	u64 pa, root = __pa(mm->pgd);

	set_pasid(f, f->fn, PASID, sva);
	KUNIT_EXPECT_EQ(test, 0, vtd_access(f->fn, PASID, addr, &pa));
	KUNIT_EXPECT_EQ(test, 0, prepare(f));
	look(f);
	KUNIT_EXPECT_EQ(test, 0, vm_munmap(addr, PAGE_SIZE));
	kiommu_mm_exit(mm);
	KUNIT_EXPECT_EQ(test, 0, vtd_cached(f->machine, root));
	vtd_remove_pasid(f->fn, PASID);
	expect_asked(f, 0, 0);
	kiommu_reset(&f->fn->pci);
	done(f);
	expect_live(f, f->fn);
	KUNIT_EXPECT_EQ(test, -EFAULT, vtd_access(f->fn, PASID, addr, &pa));
}

static void reset_of_fenced(struct kunit *test)
{
	struct fence *f = fence_setup(test, 0);

	unmap_mute(f);
	KUNIT_EXPECT_EQ(test, 0, prepare(f));
	expect_stream(f, "");
	kiommu_reset(&f->fn->pci);
	kiommu_mute(&f->fn->pci, false);
	reset_is_done(f, TRACE3 "resuming ats\n" TRACE2,
		      "iotlb all\n"
		      "wait fence nostatus\n"
		      "devtlb sid=4000 qdep=16 all\n"
		      "wait\n"
		      "cc gran=3 did=0 sid=4000\n"
		      "wait\n");
}

/* Somebody unmaps something just when the function is being flushed. */
static void unmap_when_resuming(struct vtd_unit *unit, const struct vtd_cmd *cmd)
{
	struct fence *f = unit->priv;

	unit->before = NULL;
	vtd_unmap(f->domain, IOVA, 1);
}

static void unmap_in_done(struct kunit *test)
{
	struct fence *f = fence_setup(test, 0);

	KUNIT_EXPECT_EQ(test, 0, prepare(f));
	kiommu_reset(&f->fn->pci);
	look(f);
	f->unit->before = unmap_when_resuming;
	done(f);
	KUNIT_EXPECT_TRUE(test, !f->unit->before);
	/* By both */
	expect_asked(f, 2, 0);
	expect_live(f, f->fn);
	access(f, f->fn, IOVA, -EFAULT);
	access(f, f->fn, IOVA + PAGE_SIZE, 0);
}

/* It does not answer that one: it is fenced by whoever has asked, and stays so. */
static void mute_in_done(struct vtd_unit *unit, const struct vtd_cmd *cmd)
{
	struct fence *f = unit->priv;

	unit->before = NULL;
	kiommu_mute(&f->fn->pci, true);
	vtd_unmap(f->domain, IOVA, 1);
}

static void fenced_in_done(struct kunit *test)
{
	struct fence *f = fence_setup(test, 0);

	KUNIT_EXPECT_EQ(test, 0, prepare(f));
	kiommu_reset(&f->fn->pci);
	look(f);
	f->unit->before = mute_in_done;
	done(f);
	KUNIT_EXPECT_EQ(test, IOMMU_ALIST_FENCED, state(f->fn));
	KUNIT_EXPECT_FALSE(test, dte_in_memory(f->fn));
	access(f, f->fn, IOVA + PAGE_SIZE, -EPERM);
	look(f);
	vtd_unmap(f->domain, IOVA + PAGE_SIZE, 1);
	expect_asked(f, 0, 0);
}

/* It does not come back. */
static void gone_in_reset(struct kunit *test)
{
	struct fence *f = fence_setup(test, 0);

	KUNIT_EXPECT_EQ(test, 0, prepare(f));
	kiommu_remove(&f->fn->pci);
	look(f);
	done(f);
	KUNIT_EXPECT_EQ(test, IOMMU_ALIST_FENCED, state(f->fn));
	vtd_unmap(f->domain, IOVA, 1);
	vtd_remove_pasid(f->fn, PASID);
	vtd_release_fn(f->fn);
	expect_asked(f, 0, 0);
}

/* Of no use; the next one is. */
static void mute_after_reset(struct kunit *test)
{
	struct fence *f = fence_setup(test, 0);

	kiommu_mute(&f->fn->pci, true);
	reset(f);
	KUNIT_EXPECT_EQ(test, IOMMU_ALIST_FENCED, state(f->fn));
	KUNIT_EXPECT_FALSE(test, dte_in_memory(f->fn));
	access(f, f->fn, IOVA, -EPERM);
	expect_asked(f, 2, 2);
	look(f);
	vtd_unmap(f->domain, IOVA, 1);
	expect_asked(f, 0, 0);
	kiommu_mute(&f->fn->pci, false);
	reset(f);
	expect_live(f, f->fn);
	access(f, f->fn, IOVA, -EFAULT);
	access(f, f->fn, IOVA + PAGE_SIZE, 0);
}

/* One that could not be fenced is reset all the same: that is the remedy. */
static void reset_without_fence(struct kunit *test)
{
	struct fence *f = fence_setup(test, 0);

	vtd_refuse(f->unit, QI_CC_TYPE);
	KUNIT_EXPECT_EQ(test, 0, prepare(f));
	KUNIT_EXPECT_EQ(test, IOMMU_ALIST_FENCING, state(f->fn));
	KUNIT_EXPECT_FALSE(test, kiommu_ats(&f->fn->pci));
	vtd_refuse(f->unit, 0);
	kiommu_reset(&f->fn->pci);
	done(f);
	expect_live(f, f->fn);
	KUNIT_EXPECT_TRUE(test, kiommu_ats(&f->fn->pci));
	access(f, f->fn, IOVA, 0);
}

/* It stays fenced if ATS cannot be switched on; the next reset brings it back. */
static void reset_loses_ats(struct kunit *test)
{
	struct fence *f = fence_setup(test, 0);
	u16 ats_cap = f->fn->pci.pdev.ats_cap;

	KUNIT_EXPECT_EQ(test, 0, prepare(f));
	kiommu_reset(&f->fn->pci);
	f->fn->pci.pdev.ats_cap = 0;
	done(f);
	f->fn->pci.pdev.ats_cap = ats_cap;
	KUNIT_EXPECT_EQ(test, IOMMU_ALIST_FENCED, state(f->fn));
	KUNIT_EXPECT_FALSE(test, kiommu_ats(&f->fn->pci));
	look(f);
	vtd_unmap(f->domain, IOVA, 1);
	expect_asked(f, 0, 0);
	reset(f);
	expect_live(f, f->fn);
	KUNIT_EXPECT_TRUE(test, kiommu_ats(&f->fn->pci));
	access(f, f->fn, IOVA + PAGE_SIZE, 0);
}

/* In legacy mode ATS goes off with the domain, and on with the next. */
static void detach_around_reset(struct kunit *test, bool within)
{
	struct fence *f = legacy_setup(test);

	unmap_mute(f);
	if (within)
		KUNIT_EXPECT_EQ(test, 0, prepare(f));
	vtd_block(f->fn);
	if (!within)
		KUNIT_EXPECT_EQ(test, 0, prepare(f));
	kiommu_reset(&f->fn->pci);
	kiommu_mute(&f->fn->pci, false);
	done(f);
	expect_asked(f, 0, 0);
	KUNIT_ASSERT_EQ(test, 0, vtd_attach(f->fn, f->domain));
	expect_live(f, f->fn);
	KUNIT_EXPECT_TRUE(test, kiommu_ats(&f->fn->pci));
	access(f, f->fn, IOVA, -EFAULT);
	access(f, f->fn, IOVA + PAGE_SIZE, 0);
	vtd_unmap(f->domain, IOVA + PAGE_SIZE, 1);
	access(f, f->fn, IOVA + PAGE_SIZE, -EFAULT);
}

static void reset_after_detach(struct kunit *test)
{
	detach_around_reset(test, false);
}

static void detach_in_reset(struct kunit *test)
{
	detach_around_reset(test, true);
}

static void reset_without_ats(struct kunit *test)
{
	struct fence *f = fence_machine(test, NULL, KIOMMU_PASID);

	f->domain = vtd_paging(test, f->fn, 0);
	set_pasid(f, f->fn, PASID, f->domain);
	vtd_map(test, f->domain, IOVA, 1);
	look(f);
	reset(f);
	expect_stream(f, "");
	KUNIT_EXPECT_EQ(test, IOMMU_ALIST_LIVE, state(f->fn));
	KUNIT_EXPECT_FALSE(test, kiommu_ats(&f->fn->pci));
	KUNIT_EXPECT_FALSE(test, f->fn->info.in_reset);
}

#ifdef CONFIG_INTEL_IOMMU_DEBUGFS

/* Of a function with ATS, with the others that have it; of those of the machine, too */
static void expect_shown(struct fence *f, const char *shown)
{
	const char *unit = f->unit->iommu.name;
	struct seq_file m = {
		.buf = kunit_kzalloc(f->test, SZ_16K, GFP_KERNEL),
		.size = SZ_16K - 1,
	};
	char expected[256];

	KUNIT_ASSERT_NOT_NULL(f->test, m.buf);
	snprintf(expected, sizeof(expected), "%s %s: %s\n%s %s: off\n%s %s: off\n",
		 unit, dev_name(&f->fn->pci.pdev.dev), shown,
		 unit, dev_name(&f->other->pci.pdev.dev),
		 unit, dev_name(&f->third->pci.pdev.dev));
	KUNIT_EXPECT_EQ(f->test, 0, intel_iommu_ats_show(&m, NULL));
	KUNIT_EXPECT_NOT_NULL_MSG(f->test, strstr(m.buf, expected), "%s, not\n%s", m.buf,
				  expected);
}

static void debugfs_shows_ats(struct kunit *test)
{
	struct fence *f = fence_machine(test, NULL, FLAGS);

	vtd_find_unit(f->unit, true);
	vtd_add_fn(test, 0, KIOMMU_PASID);
	expect_shown(f, "off");
	f->domain = vtd_paging(test, f->fn, 0);
	set_pasid(f, f->fn, PASID, f->domain);
	vtd_map(test, f->domain, IOVA, PAGES);
	map_and_access(f, f->fn);
	expect_shown(f, "live");
	WRITE_ONCE(f->fn->info.fn.state, IOMMU_ALIST_FENCING);
	expect_shown(f, "being fenced");
	WRITE_ONCE(f->fn->info.fn.state, IOMMU_ALIST_RESUMING);
	expect_shown(f, "about to be live");
	WRITE_ONCE(f->fn->info.fn.state, IOMMU_ALIST_LIVE);
	unmap_mute(f);
	expect_shown(f, "fenced");
	KUNIT_EXPECT_EQ(test, 0, prepare(f));
	expect_shown(f, "in reset");
	kiommu_reset(&f->fn->pci);
	kiommu_mute(&f->fn->pci, false);
	done(f);
	expect_shown(f, "live");
}

#else

static void debugfs_shows_ats(struct kunit *test)
{
	kunit_skip(test, "needs CONFIG_INTEL_IOMMU_DEBUGFS");
}

#endif

/* A thread that has made up its mind whom to ask, and is late */
struct late {
	struct fence *f;
	struct task_struct *task;
	bool is_late;
	bool has_waited;	/* and still may ask */
};

static void late_qi(struct iommu_kunit_hw *hw, bool submitted)
{
	struct late *late = hw_to_vtd_unit(hw)->priv;
	unsigned int ms;

	vtd_qi(hw, submitted);
	if (submitted || READ_ONCE(late->task) != current || late->is_late)
		return;
	WRITE_ONCE(late->is_late, true);
	/* Until the function is no longer live, however slow the test is, and then some time */
	for (ms = 0; ms < AT_LAST_MS && state(late->f->fn) == IOMMU_ALIST_LIVE; ms++)
		mdelay(1);
	for (ms = 0; ms < LATE_MS; ms++)
		mdelay(1);
	WRITE_ONCE(late->has_waited, true);
}

static int late_run(void *arg)
{
	struct late *late = arg;

	WRITE_ONCE(late->task, current);
	vtd_flush_all(late->f->domain);
	return 0;
}

/*
 * The batch was full when the walk came to this function, which was live then. ATS does not
 * go off before the walk, which might ask the function when it has waited, is over.
 */
static void reset_behind_a_walk(struct kunit *test)
{
	struct kiommu_thread thread;
	struct late late = {};
	struct fence *f;
	unsigned int n;

	kiommu_two_cpus(test);
	f = fence_setup(test, 0);
	for (n = 1; n < VTD_FNS; n++) {
		if (n >= FNS)
			vtd_add_fn(test, 0, FLAGS);
		set_pasid(f, f->machine->fn[n], PASID, f->domain);
	}
	f->fn = f->machine->fn[VTD_FNS - 1];
	look(f);
	late.f = f;
	f->unit->priv = &late;
	f->unit->hw.run = late_qi;
	kiommu_start(test, &thread, late_run, &late);
	while (!READ_ONCE(late.is_late) && !completion_done(&thread.done))
		usleep_range(50, 100);
	KUNIT_EXPECT_EQ(test, 0, prepare(f));
	KUNIT_EXPECT_TRUE(test, READ_ONCE(late.has_waited));
	kiommu_join(&thread);
	f->unit->priv = f;
	f->unit->hw.run = vtd_qi;
	expect_asked(f, 0, 0);
	KUNIT_EXPECT_FALSE(test, kiommu_ats(&f->fn->pci));
}

static struct kunit_case fence_cases[] = {
	KUNIT_CASE(mute_second_level),
	KUNIT_CASE(mute_first_level),
	KUNIT_CASE(mute_legacy),
	KUNIT_CASE(mute_unreadable),
	KUNIT_CASE(mute_asked_twice),
	KUNIT_CASE(mute_between_neighbours),
	KUNIT_CASE(not_asked_again),
	KUNIT_CASE(tables_are_freed),
	KUNIT_CASE(tables_of_first),
	KUNIT_CASE(late_once),
	KUNIT_CASE(innocent),
	KUNIT_CASE(innocent_by_itself),
	KUNIT_CASE(fence_is_interrupted),
	KUNIT_CASE(together_at_context),
	KUNIT_CASE(together_at_drain),
	KUNIT_CASE(fenced_page_requests),
	KUNIT_CASE(page_requests_are_fenced),
	KUNIT_CASE(fenced_detach),
	KUNIT_CASE(fenced_detach_legacy),
	KUNIT_CASE(fenced_sva),
	KUNIT_CASE(mute_when_mm_exits),
	KUNIT_CASE(gone),
	KUNIT_CASE(fence_fails),
	KUNIT_CASE(nameless),
	KUNIT_CASE(nameless_batch),
	KUNIT_CASE(nameless_alone),
	KUNIT_CASE(one_at_a_time),
	KUNIT_CASE(turn_in_interrupt),
	KUNIT_CASE(nameless_load),
	KUNIT_CASE(reset_order),
	KUNIT_CASE(reset_order_global),
	KUNIT_CASE(reset_order_legacy),
	KUNIT_CASE(reset_with_page_requests),
	KUNIT_CASE(reset_while_mm_exits),
	KUNIT_CASE(reset_of_fenced),
	KUNIT_CASE(unmap_in_done),
	KUNIT_CASE(fenced_in_done),
	KUNIT_CASE(gone_in_reset),
	KUNIT_CASE(mute_after_reset),
	KUNIT_CASE(reset_without_fence),
	KUNIT_CASE(reset_loses_ats),
	KUNIT_CASE(reset_after_detach),
	KUNIT_CASE(detach_in_reset),
	KUNIT_CASE(reset_without_ats),
	KUNIT_CASE(debugfs_shows_ats),
	KUNIT_CASE(reset_behind_a_walk),
	{}
};

static struct kunit_suite fence_suite = {
	.name = "intel_iommu_fence",
	.exit = vtd_exit,
	.test_cases = fence_cases,
};

kunit_test_suite(fence_suite);

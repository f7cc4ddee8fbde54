// SPDX-License-Identifier: GPL-2.0-only
/*
 * KUnit tests of bugs that the VT-d driver has had
 *
 * Most of them need somebody to do something while somebody else is in the middle of
 * an attach or a detach. A thread does the one, and its unit stops before a given
 * command; meanwhile the test does the other. What is right may have to wait until
 * the unit goes on, which it does after HOLD_MS. What is wrong often does not.
 */
#include <kunit/test.h>
#include <linux/delay.h>
#include <linux/mm.h>
#include <linux/mman.h>
#include <linux/mmu_notifier.h>
#include <linux/sched/mm.h>
#include <linux/smp.h>

#include "kunit-mock.h"
#include "../iommu-kunit-nomem.h"

#define PASID		5
#define IOVA		0x10000
#define HOLD_MS		100

static struct iommu_domain *attached(struct kunit *test, struct vtd_fn *fn,
				     unsigned int flags)
{
	struct iommu_domain *domain = vtd_paging(test, fn, flags);

	KUNIT_ASSERT_EQ(test, 0, vtd_attach(fn, domain));
	return domain;
}

static const struct vtd_caps caching = { .cap = VTD_CAP | VTD_CAP_CM };

/* One unit, one function */
static struct vtd_fn *one_fn(struct kunit *test, const struct vtd_caps *caps,
			     unsigned int flags)
{
	vtd_machine(test, 1, caps);
	return vtd_add_fn(test, 0, flags);
}

/* A function, on a bus of its own, whose requests have the ID of a VMD controller */
static struct vtd_fn *add_behind(struct kunit *test, struct vtd_fn *real,
				 unsigned int flags)
{
#if IS_ENABLED(CONFIG_VMD)
	struct vtd_machine *machine = test->priv;

	machine->unit[1].sysdata.vmd_dev = &real->pci.pdev;
	return vtd_add_fn(test, 1, flags);
#else
	kunit_skip(test, "without VMD there are no such functions");
	return NULL;
#endif
}

static void expect_access(struct kunit *test, struct vtd_fn *fn, u32 pasid,
			  u64 iova, int ret)
{
	u64 pa;

	KUNIT_EXPECT_EQ(test, ret, vtd_access(fn, pasid, iova, &pa));
}

/* --- somebody attaches or detaches meanwhile --- */

struct job {
	struct vtd_fn *fn;
	u32 pasid;
	struct iommu_domain *domain;
};

static int job_attach(void *arg)
{
	struct job *job = arg;

	return vtd_attach(job->fn, job->domain);
}

static int job_detach(void *arg)
{
	struct job *job = arg;

	if (job->pasid == IOMMU_NO_PASID)
		vtd_block(job->fn);
	else
		vtd_remove_pasid(job->fn, job->pasid);
	return 0;
}

/* Start a job, and wait until its unit has stopped before a command of that type. */
static void start_held(struct kunit *test, struct kiommu_thread *thread,
		       int (*run)(void *arg), struct job *job, u8 type)
{
	kiommu_hold(&job->fn->unit->hold, type, 1, HOLD_MS);
	kiommu_start(test, thread, run, job);
	KUNIT_EXPECT_TRUE(test, kiommu_wait_held(thread, &job->fn->unit->hold));
}

static int end_held(struct kiommu_thread *thread, struct job *job)
{
	kiommu_let_go(&job->fn->unit->hold);
	return kiommu_join(thread);
}

/* While a function is being detached, what is unmapped is out of its reach. */
static void unmap_in_detach(struct kunit *test, struct job *job)
{
	u64 root = vtd_root(job->fn, job->pasid);
	struct kiommu_thread thread;

	vtd_map(test, job->domain, IOVA, 1);
	expect_access(test, job->fn, job->pasid, IOVA, 0);
	start_held(test, &thread, job_detach, job, QI_PC_TYPE);
	vtd_unmap(job->domain, IOVA, 1);
	expect_access(test, job->fn, job->pasid, IOVA, -EFAULT);
	KUNIT_EXPECT_EQ(test, 0, vtd_stale(test->priv, root, IOVA, SZ_4K));
	end_held(&thread, job);
	KUNIT_EXPECT_EQ(test, 0, vtd_cached(test->priv, root));
}

static void unmap_while_rid_is_detached(struct kunit *test)
{
	struct job job = { .pasid = IOMMU_NO_PASID };

	kiommu_two_cpus(test);
	job.fn = one_fn(test, NULL, KIOMMU_ATS);
	job.domain = attached(test, job.fn, 0);
	unmap_in_detach(test, &job);
}

static void unmap_while_pasid_is_detached(struct kunit *test)
{
	struct job job = { .pasid = PASID };

	kiommu_two_cpus(test);
	job.fn = one_fn(test, NULL, KIOMMU_ATS | KIOMMU_PASID);
	attached(test, job.fn, 0);
	job.domain = vtd_paging(test, job.fn, VTD_FIRST_LEVEL);
	KUNIT_ASSERT_EQ(test, 0, vtd_set_pasid(job.fn, PASID, job.domain));
	unmap_in_detach(test, &job);
}

/* A page of a process that a function has accessed */
static unsigned long share(struct kunit *test, struct job *job,
			   struct mm_struct *mm)
{
	unsigned long addr = kiommu_mm_map(test, 1);

	job->pasid = PASID;
	job->fn = one_fn(test, NULL, KIOMMU_ATS | KIOMMU_PASID);
	attached(test, job->fn, 0);
	job->domain = vtd_sva(test, job->fn, mm);
	KUNIT_ASSERT_EQ(test, 0, vtd_set_pasid(job->fn, PASID, job->domain));
	expect_access(test, job->fn, PASID, addr, 0);
	return addr;
}

static void munmap_while_pasid_is_detached(struct kunit *test)
{
	struct kiommu_thread thread;
	struct mm_struct *mm;
	unsigned long addr;
	struct job job;

	kiommu_two_cpus(test);
	mm = kiommu_mm(test);
	addr = share(test, &job, mm);
	start_held(test, &thread, job_detach, &job, QI_PC_TYPE);
	KUNIT_EXPECT_EQ(test, 0, vm_munmap(addr, PAGE_SIZE));
	expect_access(test, job.fn, PASID, addr, -EFAULT);
	end_held(&thread, &job);
	kiommu_mm_exit(mm);
}

/* Whether a function has access when its mm's page tables are about to go */
struct watch {
	struct mmu_notifier mn;
	struct job *job;
	unsigned long addr;
	int access;
};

static void watch_release(struct mmu_notifier *mn, struct mm_struct *mm)
{
	struct watch *watch = container_of(mn, struct watch, mn);
	u64 pa;

	watch->access = vtd_access(watch->job->fn, watch->job->pasid, watch->addr,
				   &pa);
}

static const struct mmu_notifier_ops watch_ops = { .release = watch_release };

/* Notifiers are called in the reverse order of their registration. */
static void exit_while_pasid_is_detached(struct kunit *test)
{
	struct watch watch = { .mn.ops = &watch_ops };
	struct kiommu_thread thread;
	struct mm_struct *mm;
	struct job job;

	kiommu_two_cpus(test);
	mm = kiommu_mm(test);
	KUNIT_ASSERT_EQ(test, 0, mmu_notifier_register(&watch.mn, mm));
	watch.job = &job;
	watch.addr = share(test, &job, mm);
	start_held(test, &thread, job_detach, &job, QI_PC_TYPE);
	kiommu_mm_exit(mm);
	KUNIT_EXPECT_EQ(test, -EFAULT, watch.access);
	end_held(&thread, &job);
	mmu_notifier_unregister(&watch.mn, mm);
}

/* The unit is in caching mode because that makes attaching wait for it. */
static void unmap_while_rid_is_attached(struct kunit *test)
{
	struct job job = { .pasid = IOMMU_NO_PASID };
	struct kiommu_thread thread;

	kiommu_two_cpus(test);
	job.fn = one_fn(test, &caching, KIOMMU_ATS);
	job.domain = vtd_paging(test, job.fn, 0);
	vtd_map(test, job.domain, IOVA, 1);
	start_held(test, &thread, job_attach, &job, QI_PC_TYPE);
	expect_access(test, job.fn, IOMMU_NO_PASID, IOVA, 0);
	vtd_unmap(job.domain, IOVA, 1);
	expect_access(test, job.fn, IOMMU_NO_PASID, IOVA, -EFAULT);
	KUNIT_EXPECT_EQ(test, 0, end_held(&thread, &job));
	expect_access(test, job.fn, IOMMU_NO_PASID, IOVA, -EFAULT);
}

struct ats_unmap {
	struct kunit *test;
	struct iommu_domain *domain;
	unsigned int stale;
};

/* Nothing is left behind, not even until the attach is over. */
static void unmap_when_ats_goes_on(struct kiommu_fn *pci, bool on)
{
	struct vtd_fn *fn = to_vtd_fn(&pci->pdev.dev);
	struct ats_unmap *unmap = pci->priv;
	u64 pa;

	if (!on)
		return;
	vtd_access(fn, IOMMU_NO_PASID, IOVA, &pa);
	vtd_unmap(unmap->domain, IOVA, 1);
	unmap->stale = vtd_stale(unmap->test->priv, vtd_root(fn, IOMMU_NO_PASID),
				 IOVA, SZ_4K);
}

static void unmap_while_ats_goes_on(struct kunit *test)
{
	struct vtd_fn *fn = one_fn(test, NULL, KIOMMU_ATS);
	struct iommu_domain *domain = vtd_paging(test, fn, 0);
	struct ats_unmap unmap = { .test = test, .domain = domain };

	vtd_map(test, domain, IOVA, 1);
	fn->pci.priv = &unmap;
	fn->pci.ats_hook = unmap_when_ats_goes_on;
	KUNIT_ASSERT_EQ(test, 0, vtd_attach(fn, domain));
	KUNIT_EXPECT_EQ(test, 0, unmap.stale);
	vtd_unmap(domain, IOVA, 1);
	expect_access(test, fn, IOMMU_NO_PASID, IOVA, -EFAULT);
}

/* The ATC is known to invalidations already, and not in use yet. */
static void unmap_before_ats_goes_on(struct kunit *test)
{
	struct job job = { .pasid = IOMMU_NO_PASID };
	struct kiommu_thread thread;
	u64 root;

	kiommu_two_cpus(test);
	job.fn = one_fn(test, NULL, KIOMMU_ATS);
	job.domain = vtd_paging(test, job.fn, 0);
	vtd_map(test, job.domain, IOVA, 1);
	start_held(test, &thread, job_attach, &job, QI_IOTLB_TYPE);
	expect_access(test, job.fn, IOMMU_NO_PASID, IOVA, 0);
	vtd_unmap(job.domain, IOVA, 1);
	KUNIT_EXPECT_EQ(test, 0, end_held(&thread, &job));
	KUNIT_EXPECT_TRUE(test, kiommu_ats(&job.fn->pci));
	root = vtd_root(job.fn, IOMMU_NO_PASID);
	KUNIT_EXPECT_EQ(test, 0, vtd_stale(test->priv, root, IOVA, SZ_4K));
	expect_access(test, job.fn, IOMMU_NO_PASID, IOVA, -EFAULT);
}

struct entry_use {
	struct pasid_entry *entry;
	unsigned int flushes;
	unsigned int present;
	unsigned int logged;
};

static void look_at_entry(struct vtd_unit *unit, const struct vtd_cmd *cmd)
{
	struct entry_use *use = unit->priv;

	if (cmd->type != QI_PC_TYPE)
		return;
	use->flushes++;
	use->present += pasid_pte_is_present(use->entry);
	use->logged += !pasid_pte_is_fault_disabled(use->entry);
}

/* From the moment that the entry is not present, nobody wants to know of faults. */
static void faults_while_mm_exits(struct kunit *test)
{
	struct mm_struct *mm = kiommu_mm(test);
	struct entry_use use = {};
	struct job job;

	share(test, &job, mm);
	use.entry = vtd_entry(job.fn, PASID);
	job.fn->unit->priv = &use;
	job.fn->unit->before = look_at_entry;
	kiommu_mm_exit(mm);
	job.fn->unit->before = NULL;
	KUNIT_EXPECT_EQ(test, 1, use.flushes);
	KUNIT_EXPECT_EQ(test, 0, use.present);
	KUNIT_EXPECT_EQ(test, 0, use.logged);
	KUNIT_EXPECT_TRUE(test, pasid_pte_is_fault_disabled(use.entry));
}

/* A domain ID has another domain's translations until it has been flushed. */
static void did_is_reused(struct kunit *test)
{
	struct job job = { .pasid = PASID };
	struct iommu_domain *other;
	struct kiommu_thread thread;
	struct vtd_fn *fn;

	kiommu_two_cpus(test);
	job.fn = one_fn(test, NULL, KIOMMU_PASID);
	fn = vtd_add_fn(test, 0, 0);
	job.domain = vtd_paging(test, job.fn, 0);
	other = vtd_paging(test, fn, 0);
	KUNIT_ASSERT_EQ(test, 0, vtd_set_pasid(job.fn, PASID, job.domain));
	vtd_map(test, job.domain, IOVA, 1);
	expect_access(test, job.fn, PASID, IOVA, 0);
	start_held(test, &thread, job_detach, &job, QI_IOTLB_TYPE);
	KUNIT_EXPECT_EQ(test, 0, vtd_attach(fn, other));
	expect_access(test, fn, IOMMU_NO_PASID, IOVA, -EFAULT);
	end_held(&thread, &job);
}

static int set_dirty_tracking(struct iommu_domain *domain, bool enable)
{
	return domain->dirty_ops->set_dirty_tracking(domain, enable);
}

/* Either the attach sees the flag, or setting the flag finds what is attached. */
static void dirty_tracking_while_nested_is_attached(struct kunit *test)
{
	struct job job = { .pasid = IOMMU_NO_PASID };
	struct iommu_domain *parent;
	struct pasid_entry *entry;
	struct kiommu_thread thread;

	kiommu_two_cpus(test);
	job.fn = one_fn(test, &caching, 0);
	parent = vtd_paging(test, job.fn, VTD_PARENT | VTD_DIRTY);
	job.domain = vtd_nested(test, job.fn, parent);
	start_held(test, &thread, job_attach, &job, QI_PC_TYPE);
	KUNIT_EXPECT_EQ(test, 0, set_dirty_tracking(parent, true));
	KUNIT_ASSERT_EQ(test, 0, end_held(&thread, &job));
	entry = vtd_entry(job.fn, IOMMU_NO_PASID);
	KUNIT_EXPECT_TRUE(test, pasid_get_ssade(entry));
}

/* --- ATS --- */

/* What was there when ATS of a function went on */
struct ats_use {
	u32 pasid;
	unsigned int on;
	unsigned int present;
	unsigned int flushed;
};

static bool entry_is_present(struct vtd_fn *fn, u32 pasid)
{
	struct device_domain_info *info = &fn->info;
	struct context_entry *context;
	struct pasid_entry *entry;

	if (sm_supported(info->iommu)) {
		entry = vtd_entry(fn, pasid);
		return entry && pasid_pte_is_present(entry);
	}
	context = iommu_context_addr(info->iommu, info->bus, info->devfn, 0);
	return context && context_present(context);
}

static void look_when_ats_goes_on(struct kiommu_fn *pci, bool on)
{
	struct vtd_fn *fn = to_vtd_fn(&pci->pdev.dev);
	struct ats_use *use = pci->priv;

	if (!on)
		return;
	use->on++;
	use->present += entry_is_present(fn, use->pasid);
	use->flushed += vtd_count(fn->unit, QI_PC_TYPE) +
			vtd_count(fn->unit, QI_CC_TYPE);
}

/* In caching mode, a unit has to be told of entries that have become present. */
static void expect_ats_last(struct kunit *test, const struct vtd_caps *caps,
			    u32 pasid)
{
	struct vtd_fn *fn = one_fn(test, caps, KIOMMU_ATS | KIOMMU_PASID);
	struct ats_use use = { .pasid = pasid };
	struct iommu_domain *domain = vtd_paging(test, fn, 0);

	fn->pci.priv = &use;
	fn->pci.ats_hook = look_when_ats_goes_on;
	KUNIT_EXPECT_FALSE(test, kiommu_ats(&fn->pci));
	if (pasid == IOMMU_NO_PASID)
		KUNIT_ASSERT_EQ(test, 0, vtd_attach(fn, domain));
	else
		KUNIT_ASSERT_EQ(test, 0, vtd_set_pasid(fn, pasid, domain));
	KUNIT_EXPECT_EQ(test, 1, use.on);
	KUNIT_EXPECT_EQ(test, 1, use.present);
	KUNIT_EXPECT_EQ(test, 1, use.flushed);
	fn->pci.ats_hook = NULL;
}

static void ats_goes_on_behind_rid(struct kunit *test)
{
	expect_ats_last(test, &caching, IOMMU_NO_PASID);
}

static void ats_goes_on_behind_pasid(struct kunit *test)
{
	expect_ats_last(test, &caching, PASID);
}

static void ats_goes_on_in_legacy_mode(struct kunit *test)
{
	const struct vtd_caps legacy = {
		.cap = VTD_CAP | VTD_CAP_CM,
		.ecap = VTD_ECAP & ~(VTD_ECAP_SMTS | VTD_ECAP_PASID),
	};

	expect_ats_last(test, &legacy, IOMMU_NO_PASID);
}

/* The context entry of a kernel before this one has the function until its attach. */
static void ats_goes_on_after_deferred_attach(struct kunit *test)
{
	struct vtd_fn *fn = one_fn(test, NULL, KIOMMU_ATS | KIOMMU_PASID);
	struct ats_use use = { .pasid = IOMMU_NO_PASID };

	set_context_copied(&fn->unit->iommu, fn->info.bus, fn->info.devfn);
	fn->pci.priv = &use;
	fn->pci.ats_hook = look_when_ats_goes_on;
	KUNIT_EXPECT_FALSE(test, kiommu_ats(&fn->pci));
	attached(test, fn, 0);
	KUNIT_EXPECT_EQ(test, 1, use.on);
	KUNIT_EXPECT_EQ(test, 1, use.present);
	/* Whatever the other kernel had left in the ATC */
	KUNIT_EXPECT_NE(test, 0, vtd_count(fn->unit, QI_DIOTLB_TYPE));
	fn->pci.ats_hook = NULL;
}

/* Pass-through, which nobody invalidates */
static void ats_goes_on_behind_identity(struct kunit *test)
{
	struct vtd_fn *fn = one_fn(test, &caching, KIOMMU_ATS | KIOMMU_PASID);
	struct ats_use use = { .pasid = IOMMU_NO_PASID };

	fn->pci.priv = &use;
	fn->pci.ats_hook = look_when_ats_goes_on;
	KUNIT_ASSERT_EQ(test, 0, vtd_attach(fn, intel_iommu_ops.identity_domain));
	KUNIT_EXPECT_EQ(test, 1, use.on);
	KUNIT_EXPECT_EQ(test, 1, use.present);
	attached(test, fn, 0);
	KUNIT_EXPECT_EQ(test, 1, use.on);
	fn->pci.ats_hook = NULL;
}

/* A function whose RID has no domain any more, but a PASID has */
static struct iommu_domain *pasid_without_rid(struct kunit *test,
					      struct vtd_fn *fn)
{
	struct iommu_domain *domain = vtd_paging(test, fn, VTD_FIRST_LEVEL);

	attached(test, fn, 0);
	KUNIT_ASSERT_EQ(test, 0, vtd_set_pasid(fn, PASID, domain));
	KUNIT_ASSERT_TRUE(test, kiommu_ats(&fn->pci));
	vtd_map(test, domain, IOVA, 1);
	expect_access(test, fn, PASID, IOVA, 0);
	vtd_block(fn);
	return domain;
}

/*
 * Nobody sends it device-TLB invalidations while its ATS is off. That takes a driver
 * for which ATS is not a matter of the RID.
 */
static void pasid_outlives_rid(struct kunit *test)
{
	struct vtd_fn *fn = one_fn(test, NULL, KIOMMU_ATS | KIOMMU_PASID);
	struct iommu_domain *domain = pasid_without_rid(test, fn);
	struct vtd_machine *machine = test->priv;

	vtd_unmap(domain, IOVA, 1);
	expect_access(test, fn, PASID, IOVA, -EFAULT);
	kiommu_expect_complaints(test, &machine->k, 0);
}

/* Nothing is left of it, whatever was detached first. */
static void tag_outlives_function(struct kunit *test)
{
	struct vtd_fn *fn = one_fn(test, NULL, KIOMMU_ATS | KIOMMU_PASID);
	struct iommu_domain *domain = pasid_without_rid(test, fn);

	vtd_release_fn(fn);
	vtd_clear_log(test->priv);
	vtd_flush_all(domain);
	KUNIT_EXPECT_STREQ(test, "", vtd_stream(test, fn->unit, VTD_WAITS));
}

/* What is cached for a PASID goes with a command that names the PASID. */
static void flush_all_names_pasid(struct kunit *test)
{
	struct vtd_fn *fn = one_fn(test, NULL, KIOMMU_ATS | KIOMMU_PASID);
	struct iommu_domain *domain = vtd_paging(test, fn, VTD_FIRST_LEVEL);

	attached(test, fn, 0);
	KUNIT_ASSERT_EQ(test, 0, vtd_set_pasid(fn, PASID, domain));
	vtd_clear_log(test->priv);
	vtd_flush_all(domain);
	KUNIT_EXPECT_EQ(test, 0, vtd_count(fn->unit, QI_DIOTLB_TYPE));
	KUNIT_EXPECT_EQ(test, 1, vtd_count(fn->unit, QI_DEIOTLB_TYPE));
}

static void nested_has_ats(struct kunit *test)
{
	struct vtd_fn *fn = one_fn(test, NULL, KIOMMU_ATS);
	struct iommu_domain *parent = attached(test, fn, VTD_PARENT);
	struct iommu_domain *nested = vtd_nested(test, fn, parent);

	KUNIT_EXPECT_TRUE(test, kiommu_ats(&fn->pci));
	KUNIT_ASSERT_EQ(test, 0, vtd_attach(fn, nested));
	KUNIT_EXPECT_TRUE(test, kiommu_ats(&fn->pci));
	vtd_clear_log(test->priv);
	vtd_flush_all(parent);
	KUNIT_EXPECT_EQ(test, 1, vtd_count(fn->unit, QI_DIOTLB_TYPE));
}

/* --- VMD --- */

/*
 * Drives behind a VMD controller have its domain, and not even a PASID table. One of
 * them leaves, and invalidations must go on reaching the controller.
 */
static void drive_leaves_controller(struct kunit *test)
{
	struct iommu_domain *domain;
	struct vtd_fn *real, *drive;

	vtd_machine(test, 2, NULL);
	real = vtd_add_fn(test, 0, KIOMMU_ATS);
	drive = add_behind(test, real, 0);
	domain = attached(test, real, 0);
	vtd_map(test, domain, IOVA, 1);
	KUNIT_EXPECT_EQ(test, 0, vtd_attach(drive, domain));
	expect_access(test, real, IOMMU_NO_PASID, IOVA, 0);
	vtd_block(drive);
	expect_access(test, real, IOMMU_NO_PASID, IOVA, 0);
	vtd_unmap(domain, IOVA, 1);
	expect_access(test, real, IOMMU_NO_PASID, IOVA, -EFAULT);
}

/* --- page requests --- */

static void disable_pri(void *arg)
{
	struct vtd_fn *fn = arg;

	if (fn->info.pri_enabled)
		iopf_queue_remove_device(fn->unit->iommu.iopf_queue, &fn->pci.pdev.dev);
	fn->info.pri_enabled = 0;
	iopf_queue_free(fn->unit->iommu.iopf_queue);
	fn->unit->iommu.iopf_queue = NULL;
}

/* Its page requests have to be drained from now on, though it does not make any. */
static void enable_pri(struct kunit *test, struct vtd_fn *fn)
{
	struct iopf_queue *queue = iopf_queue_alloc();

	KUNIT_ASSERT_NOT_NULL(test, queue);
	fn->unit->iommu.iopf_queue = queue;
	vtd_at_exit(test, disable_pri, fn);
	KUNIT_ASSERT_EQ(test, 0, iopf_queue_add_device(queue, &fn->pci.pdev.dev));
	fn->info.pri_enabled = 1;
}

/* The IOTLB is flushed behind a fence, and in front of the wait that drains. */
static void expect_drain(struct kunit *test, struct vtd_unit *unit, u16 did)
{
	const struct vtd_cmd *cmd = unit->log;

	while (cmd < vtd_log_end(unit) && !cmd->fence)
		cmd++;
	/* No assertion: the test may have an mm that is to exit. */
	KUNIT_EXPECT_EQ(test, 4, vtd_log_end(unit) - cmd);
	if (vtd_log_end(unit) - cmd < 4)
		return;
	KUNIT_EXPECT_EQ(test, QI_EIOTLB_TYPE, cmd[1].type);
	KUNIT_EXPECT_EQ(test, PASID, cmd[1].pasid);
	KUNIT_EXPECT_EQ(test, did, cmd[1].did);
	KUNIT_EXPECT_EQ(test, QI_DEIOTLB_TYPE, cmd[2].type);
	KUNIT_EXPECT_EQ(test, PASID, cmd[2].pasid);
	KUNIT_EXPECT_TRUE(test, cmd[3].qw[0] & QI_IWD_PRQ_DRAIN);
}

static void remove_and_drain(struct vtd_fn *fn)
{
	vtd_remove_pasid(fn, PASID);
	intel_iommu_ops.drain_dev_pasid(&fn->pci.pdev.dev, PASID);
}

static u16 entry_did(struct vtd_fn *fn, u32 pasid)
{
	return pasid_get_domain_id(vtd_entry(fn, pasid));
}

static void drain_with_did_of_pasid(struct kunit *test)
{
	struct vtd_fn *fn = one_fn(test, NULL, KIOMMU_ATS | KIOMMU_PASID);
	struct iommu_domain *domain = vtd_paging(test, fn, VTD_FIRST_LEVEL);
	u16 did;

	attached(test, fn, 0);
	KUNIT_ASSERT_EQ(test, 0, vtd_set_pasid(fn, PASID, domain));
	did = entry_did(fn, PASID);
	KUNIT_ASSERT_NE(test, did, entry_did(fn, IOMMU_NO_PASID));
	enable_pri(test, fn);
	vtd_clear_log(test->priv);
	remove_and_drain(fn);
	expect_drain(test, fn->unit, did);
}

static void drain_with_did_of_sva(struct kunit *test)
{
	struct mm_struct *mm = kiommu_mm(test);
	struct job job;

	share(test, &job, mm);
	enable_pri(test, job.fn);
	vtd_clear_log(test->priv);
	remove_and_drain(job.fn);
	expect_drain(test, job.fn->unit, FLPT_DEFAULT_DID);
	kiommu_mm_exit(mm);
}

#define PAGE_REQUEST	(4 * sizeof(u64))

/*
 * A page request that needs no answer, as it is in a unit's queue. Nobody knows the
 * function, which does not matter: who drains waits for the queue.
 */
static void queue_page_request(struct kunit *test, struct intel_iommu *iommu,
			       bool with_pasid)
{
	u64 *qw = kunit_kzalloc(test, PAGE_SIZE, GFP_KERNEL);

	KUNIT_ASSERT_NOT_NULL(test, qw);
	qw[0] = 0xffffULL << 16 | 1;
	if (with_pasid)
		qw[0] |= (u64)PASID << 32 | BIT_ULL(8);
	iommu->prq = (void *)qw;
	dmar_writeq(iommu->reg + DMAR_PQH_REG, 0);
	dmar_writeq(iommu->reg + DMAR_PQT_REG, PAGE_REQUEST);
}

/* A PASID that is not attached any more, and has had a domain ID */
static void was_attached(struct kunit *test, struct vtd_fn *fn)
{
	struct iommu_domain *domain = vtd_paging(test, fn, VTD_FIRST_LEVEL);

	KUNIT_ASSERT_EQ(test, 0, vtd_set_pasid(fn, PASID, domain));
	vtd_remove_pasid(fn, PASID);
}

/* What waits for the page requests of the job's PASID, after it was blocked */
static int job_drain(void *arg)
{
	struct job *job = arg;

	if (job->pasid == IOMMU_NO_PASID)
		vtd_block(job->fn);
	else
		intel_iommu_ops.drain_dev_pasid(&job->fn->pci.pdev.dev, job->pasid);
	return 0;
}

/* The unit's thread makes a pass over the queue. */
static int job_pass(void *arg)
{
	intel_iommu_prq_thread(0, arg);
	return 0;
}

static bool nothing_sent(struct vtd_unit *unit)
{
	const struct vtd_cmd *cmd;

	for (cmd = unit->log; cmd < vtd_log_end(unit); cmd++)
		if (cmd->fence)
			return false;
	return true;
}

/* The queue first, then the unit and the links: what is pushed out goes there. */
static void expect_drain_waits(struct kunit *test, struct job *job)
{
	struct vtd_unit *unit = job->fn->unit;
	struct kiommu_thread thread;

	vtd_clear_log(test->priv);
	kiommu_start(test, &thread, job_drain, job);
	KUNIT_EXPECT_FALSE(test, kiommu_done_in(&thread, HOLD_MS));
	KUNIT_EXPECT_TRUE(test, nothing_sent(unit));
	job_pass(&unit->iommu);
	kiommu_join(&thread);
}

static void drain_waits_for_reports(struct kunit *test)
{
	struct job job = { .pasid = PASID };

	kiommu_two_cpus(test);
	job.fn = one_fn(test, NULL, KIOMMU_ATS | KIOMMU_PASID);
	attached(test, job.fn, 0);
	was_attached(test, job.fn);
	enable_pri(test, job.fn);
	queue_page_request(test, &job.fn->unit->iommu, true);
	expect_drain_waits(test, &job);
	KUNIT_EXPECT_FALSE(test, nothing_sent(job.fn->unit));
	/* All that the device has made, when it is reset, and is sent nothing */
	job.pasid = IOMMU_PASID_INVALID;
	queue_page_request(test, &job.fn->unit->iommu, true);
	expect_drain_waits(test, &job);
	KUNIT_EXPECT_TRUE(test, nothing_sent(job.fn->unit));
}

/* Those without a PASID are the RID's, whatever it is attached to. */
static void drain_waits_for_reports_of_rid(struct kunit *test)
{
	struct job job = { .pasid = IOMMU_NO_PASID };
	unsigned int n;

	kiommu_two_cpus(test);
	job.fn = one_fn(test, NULL, KIOMMU_ATS | KIOMMU_PASID);
	attached(test, job.fn, 0);
	enable_pri(test, job.fn);
	for (n = 0; n < 2; n++) {
		if (n)
			KUNIT_ASSERT_EQ(test, 0, vtd_attach(job.fn,
							    intel_iommu_ops.identity_domain));
		queue_page_request(test, &job.fn->unit->iommu, false);
		expect_drain_waits(test, &job);
		KUNIT_EXPECT_FALSE(test, nothing_sent(job.fn->unit));
	}
}

/* Start a pass that has seen what is in the queue, and stops before it reports it. */
static void begin_pass(struct kunit *test, struct kiommu_thread *pass,
		       struct intel_iommu *iommu)
{
	kiommu_start_behind(test, pass, &iommu->iopf_lock, job_pass, iommu);
}

static void queue_another(struct intel_iommu *iommu)
{
	u64 tail = dmar_readq(iommu->reg + DMAR_PQT_REG);

	memcpy((void *)iommu->prq + tail, iommu->prq, PAGE_REQUEST);
	dmar_writeq(iommu->reg + DMAR_PQT_REG, tail + PAGE_REQUEST);
}

/* Another function never stops. The pass that is under way may have missed us. */
static void drain_waits_for_one_pass(struct kunit *test)
{
	struct job job = { .pasid = PASID };
	struct kiommu_thread drain, pass;
	struct intel_iommu *iommu;
	unsigned int n;

	kiommu_two_cpus(test);
	job.fn = one_fn(test, NULL, KIOMMU_ATS | KIOMMU_PASID);
	attached(test, job.fn, 0);
	was_attached(test, job.fn);
	iommu = &job.fn->unit->iommu;
	enable_pri(test, job.fn);
	queue_page_request(test, iommu, true);
	begin_pass(test, &pass, iommu);
	queue_another(iommu);
	kiommu_start(test, &drain, job_drain, &job);
	KUNIT_EXPECT_FALSE(test, kiommu_done_in(&drain, HOLD_MS));
	kiommu_join_behind(&pass, &iommu->iopf_lock);
	KUNIT_EXPECT_FALSE(test, kiommu_done_in(&drain, HOLD_MS));
	/* Two, as what the hardware pushes out is waited for, too; more on a slow machine */
	for (n = 0; n < 50 && !kiommu_done_in(&drain, HOLD_MS); n++) {
		begin_pass(test, &pass, iommu);
		queue_another(iommu);
		kiommu_join_behind(&pass, &iommu->iopf_lock);
	}
	KUNIT_EXPECT_TRUE(test, completion_done(&drain.done));
	job_pass(iommu);
	kiommu_join(&drain);
}

/* Two at a time, of which neither takes away what wakes the other one */
static void drains_do_not_wait_for_each_other(struct kunit *test)
{
	struct job job = { .pasid = PASID };
	struct kiommu_thread thread[2];
	struct intel_iommu *iommu;

	kiommu_two_cpus(test);
	job.fn = one_fn(test, NULL, KIOMMU_ATS | KIOMMU_PASID);
	attached(test, job.fn, 0);
	was_attached(test, job.fn);
	iommu = &job.fn->unit->iommu;
	enable_pri(test, job.fn);
	queue_page_request(test, iommu, true);
	kiommu_start(test, &thread[0], job_drain, &job);
	kiommu_start(test, &thread[1], job_drain, &job);
	KUNIT_EXPECT_FALSE(test, kiommu_done_in(&thread[0], HOLD_MS));
	KUNIT_EXPECT_FALSE(test, completion_done(&thread[1].done));
	job_pass(iommu);
	KUNIT_EXPECT_TRUE(test, kiommu_done_in(&thread[0], KIOMMU_AT_LAST_MS));
	KUNIT_EXPECT_TRUE(test, kiommu_done_in(&thread[1], KIOMMU_AT_LAST_MS));
	kiommu_join(&thread[0]);
	kiommu_join(&thread[1]);
}

/* Until its driver unbinds, a function may go on, and nobody wants to know. */
static void exit_while_pasid_is_attached(struct kunit *test)
{
	struct mm_struct *mm = kiommu_mm(test);
	struct pasid_entry *entry;
	struct job job;

	share(test, &job, mm);
	enable_pri(test, job.fn);
	kiommu_mm_exit(mm);
	entry = vtd_entry(job.fn, PASID);
	KUNIT_EXPECT_FALSE(test, pasid_pte_is_present(entry));
	KUNIT_EXPECT_TRUE(test, pasid_pte_is_fault_disabled(entry));
	vtd_clear_log(test->priv);
	remove_and_drain(job.fn);
	KUNIT_EXPECT_FALSE(test, pasid_pte_is_fault_disabled(entry));
	expect_drain(test, job.fn->unit, FLPT_DEFAULT_DID);
}

/* --- nested domains and user space --- */

static struct iommu_domain *nested_attached(struct kunit *test, struct vtd_fn *fn)
{
	struct iommu_domain *parent = vtd_paging(test, fn, VTD_PARENT);
	struct iommu_domain *nested = vtd_nested(test, fn, parent);

	KUNIT_ASSERT_EQ(test, 0, vtd_attach(fn, nested));
	return nested;
}

/* Nothing is ever mapped in it: how much could be is not the kernel's business. */
static void nested_has_no_aperture(struct kunit *test)
{
	struct vtd_fn *fn = one_fn(test, NULL, 0);
	struct iommu_domain *nested = nested_attached(test, fn);

	KUNIT_EXPECT_EQ(test, 0, nested->geometry.aperture_end);
	KUNIT_EXPECT_EQ(test, 0, nested->pgsize_bitmap);
}

static void user_range_makes_no_sense(struct kunit *test)
{
	static const struct {
		u64 addr, npages;
	} range[] = {
		{ IOVA, 0 },
		{ 0, BIT_ULL(52) + 1 },
		{ IOVA, BIT_ULL(52) },
		{ VTD_PAGE_MASK, 2 },
		{ IOVA, U64_MAX },
	};
	struct vtd_fn *fn = one_fn(test, NULL, 0);
	struct iommu_domain *nested = nested_attached(test, fn);
	unsigned int n;
	u32 processed;

	for (n = 0; n < ARRAY_SIZE(range); n++) {
		vtd_clear_log(test->priv);
		KUNIT_EXPECT_NE(test, 0,
				vtd_invalidate_user(test, nested, range[n].addr,
						    range[n].npages, &processed));
		KUNIT_EXPECT_EQ(test, 0, processed);
		KUNIT_EXPECT_STREQ(test, "", vtd_stream(test, fn->unit, VTD_WAITS));
	}
}

/* All there is, documented as such; and a range that no mask can express. */
static void user_range_is_wide(struct kunit *test)
{
	static const struct {
		u64 addr, npages;
	} range[] = {
		{ 0, U64_MAX },
		{ BIT_ULL(63) - SZ_4K, 2 },
	};
	struct vtd_fn *fn = one_fn(test, NULL, 0);
	struct iommu_domain *nested = nested_attached(test, fn);
	unsigned int n;
	u32 processed;

	for (n = 0; n < ARRAY_SIZE(range); n++) {
		vtd_clear_log(test->priv);
		KUNIT_EXPECT_EQ(test, 0,
				vtd_invalidate_user(test, nested, range[n].addr,
						    range[n].npages, &processed));
		KUNIT_EXPECT_EQ(test, 1, processed);
		KUNIT_EXPECT_STREQ(test, "piotlb did=2 pasid=0\n",
				   vtd_stream(test, fn->unit, 0));
	}
}

/* Refused, or at least without effect on other fields of the entry */
static void user_table_has_odd_bits(struct kunit *test)
{
	struct vtd_fn *fn = one_fn(test, NULL, 0);
	struct iommu_domain *parent = vtd_paging(test, fn, VTD_PARENT);
	struct iommu_hwpt_vtd_s1 s1 = { .addr_width = ADDR_WIDTH_4LEVEL };
	struct iommu_domain *nested;
	unsigned int bit;
	u64 word;

	for (bit = 0; bit < VTD_PAGE_SHIFT; bit++) {
		s1.pgtbl_addr = SZ_1M | BIT_ULL(bit);
		nested = vtd_nested_alloc(test, fn, parent, &s1);
		if (IS_ERR(nested) || vtd_attach(fn, nested))
			continue;
		word = vtd_entry(fn, IOMMU_NO_PASID)->val[2];
		KUNIT_EXPECT_EQ(test, SZ_1M, word);
		vtd_block(fn);
	}
}

static void user_table_is_out_of_range(struct kunit *test)
{
	struct vtd_fn *fn = one_fn(test, NULL, 0);
	struct iommu_domain *parent = vtd_paging(test, fn, VTD_PARENT);
	struct iommu_hwpt_vtd_s1 s1 = {
		.addr_width = ADDR_WIDTH_4LEVEL,
		.pgtbl_addr = BIT_ULL(60),
	};

	KUNIT_EXPECT_TRUE(test, IS_ERR(vtd_nested_alloc(test, fn, parent, &s1)));
}

/* --- new mappings --- */

static void map_for_pasids_only(struct kunit *test)
{
	struct vtd_fn *fn = one_fn(test, &caching, KIOMMU_PASID);
	struct iommu_domain *domain = vtd_paging(test, fn, 0);

	KUNIT_ASSERT_EQ(test, 0, vtd_set_pasid(fn, PASID, domain));
	vtd_clear_log(test->priv);
	vtd_map(test, domain, IOVA, 1);
	vtd_sync_map(domain, IOVA, 1);
	KUNIT_EXPECT_STREQ(test, "iotlb did=2 addr=10000 am=0\n"
			   "wait\n", vtd_stream(test, fn->unit, VTD_WAITS));
}

static void map_for_nested_only(struct kunit *test)
{
	struct vtd_fn *fn = one_fn(test, &caching, 0);
	struct iommu_domain *parent = vtd_paging(test, fn, VTD_PARENT);
	struct iommu_domain *nested = vtd_nested(test, fn, parent);

	KUNIT_ASSERT_EQ(test, 0, vtd_attach(fn, nested));
	vtd_clear_log(test->priv);
	vtd_map(test, parent, IOVA, 1);
	vtd_sync_map(parent, IOVA, 1);
	KUNIT_EXPECT_EQ(test, 1, vtd_count(fn->unit, QI_IOTLB_TYPE));
}

/* The table that has the entries of 4K pages, of a four-level second-level table */
static struct page *leaf_table(u64 root, u64 iova)
{
	unsigned int level;
	u64 pte;

	for (level = 4; level > 1; level--) {
		pte = ((u64 *)phys_to_virt(root))[iova >> VTD_PAGE_SHIFT >>
			(level - 1) * LEVEL_STRIDE & LEVEL_MASK];
		root = pte & GENMASK_ULL(51, VTD_PAGE_SHIFT);
	}
	return pfn_to_page(PHYS_PFN(root));
}

struct table_use {
	struct page *page;
	unsigned int flushes;
	unsigned int too_late;
};

/* One reference is the test's, the other the driver's. */
static void look_at_table(struct vtd_unit *unit, const struct vtd_cmd *cmd)
{
	struct table_use *use = unit->priv;

	if (cmd->type != QI_IOTLB_TYPE)
		return;
	use->flushes++;
	use->too_late += page_count(use->page) < 2;
}

static void large_page_replaces_table(struct kunit *test)
{
	struct vtd_fn *fn = one_fn(test, NULL, 0);
	struct iommu_domain *domain = attached(test, fn, 0);
	struct table_use use = {};

	/* In two steps, otherwise it would be a large page, or the table be gone */
	vtd_map(test, domain, SZ_2M, 1);
	vtd_map(test, domain, SZ_2M + SZ_4K, 511);
	vtd_unmap(domain, SZ_2M, 256);
	vtd_unmap(domain, SZ_2M + SZ_1M, 256);
	use.page = leaf_table(vtd_root(fn, IOMMU_NO_PASID), SZ_2M);
	get_page(use.page);
	fn->unit->priv = &use;
	fn->unit->before = look_at_table;
	vtd_map_size(test, domain, SZ_2M, SZ_2M);
	fn->unit->before = NULL;
	KUNIT_EXPECT_EQ(test, 1, use.flushes);
	KUNIT_EXPECT_EQ(test, 0, use.too_late);
	KUNIT_EXPECT_EQ(test, 1, page_count(use.page));
	put_page(use.page);
	expect_access(test, fn, IOMMU_NO_PASID, SZ_2M + SZ_1M, 0);
}

/* --- what is refused --- */

static void expect_no_sva(struct kunit *test, struct vtd_fn *fn)
{
	struct mm_struct *mm = kiommu_mm(test);
	struct iommu_domain *domain = vtd_sva(test, fn, mm);

	KUNIT_EXPECT_NE(test, 0, vtd_set_pasid(fn, PASID, domain));
	kiommu_mm_exit(mm);
}

static void sva_without_pasids(struct kunit *test)
{
	const struct vtd_caps caps = { .ecap = VTD_ECAP & ~VTD_ECAP_PASID };

	expect_no_sva(test, one_fn(test, &caps, KIOMMU_PASID));
}

static void sva_with_copied_context(struct kunit *test)
{
	struct vtd_fn *fn = one_fn(test, NULL, KIOMMU_PASID);

	set_context_copied(&fn->unit->iommu, fn->info.bus, fn->info.devfn);
	expect_no_sva(test, fn);
	clear_context_copied(&fn->unit->iommu, fn->info.bus, fn->info.devfn);
}

static void sva_with_other_requester(struct kunit *test)
{
	struct vtd_fn *real;

	vtd_machine(test, 2, NULL);
	real = vtd_add_fn(test, 0, KIOMMU_PASID);
	expect_no_sva(test, add_behind(test, real, KIOMMU_PASID));
}

/* The kind of domain that is not made for a given unit, if there still is one */
static struct iommu_domain *domain_for_any(struct kunit *test, struct vtd_fn *fn)
{
	struct vtd_machine *machine = test->priv;
	struct iommu_domain *domain;

	if (!intel_iommu_ops.domain_alloc)
		return vtd_paging(test, fn, 0);
	domain = intel_iommu_ops.domain_alloc(IOMMU_DOMAIN_UNMANAGED);
	KUNIT_ASSERT_NOT_NULL(test, domain);
	domain->type = IOMMU_DOMAIN_UNMANAGED;
	domain->owner = &intel_iommu_ops;
	domain->ops = intel_iommu_ops.default_domain_ops;
	to_dmar_domain(domain)->use_first_level = false;
	machine->domain[machine->nr_domains++] = domain;
	return domain;
}

/*
 * A domain in use by a function behind unit 0 is not to be changed for one behind
 * unit 1, which cannot use it as it is.
 */
static void expect_no_change(struct kunit *test, const struct vtd_caps *caps)
{
	struct iommu_domain *domain;
	struct vtd_fn *fn, *odd;
	struct page *page;
	u64 root;

	vtd_machine(test, 2, caps);
	fn = vtd_add_fn(test, 0, 0);
	odd = vtd_add_fn(test, 1, 0);
	domain = domain_for_any(test, fn);
	KUNIT_ASSERT_EQ(test, 0, vtd_attach(fn, domain));
	vtd_map(test, domain, IOVA, 1);
	root = vtd_root(fn, IOMMU_NO_PASID);
	page = pfn_to_page(PHYS_PFN(root));
	get_page(page);
	KUNIT_EXPECT_EQ(test, -EINVAL, vtd_attach(odd, domain));
	KUNIT_EXPECT_EQ(test, 2, page_count(page));
	KUNIT_EXPECT_EQ(test, root, vtd_root(fn, IOMMU_NO_PASID));
	expect_access(test, fn, IOMMU_NO_PASID, IOVA, 0);
	expect_access(test, odd, IOMMU_NO_PASID, IOVA, -EFAULT);
	vtd_unmap(domain, IOVA, 1);
	expect_access(test, fn, IOMMU_NO_PASID, IOVA, -EFAULT);
	put_page(page);
}

/* Without first level, the width is up to the second one. */
static void unit_has_fewer_levels(struct kunit *test)
{
	const struct vtd_caps caps[] = {
		{
			.cap = VTD_CAP | VTD_CAP_5LEVEL,
			.ecap = VTD_ECAP & ~VTD_ECAP_FLTS,
		}, {
			.ecap = VTD_ECAP & ~VTD_ECAP_FLTS,
		},
	};

	expect_no_change(test, caps);
}

static void unit_does_not_snoop(struct kunit *test)
{
	const struct vtd_caps caps[] = {
		{},
		{ .ecap = VTD_ECAP & ~(VTD_ECAP_SMPWC | VTD_ECAP_SLADS) },
	};

	expect_no_change(test, caps);
}

/* A domain whose users tell no unit of new mappings is not for one that has to know. */
static void unit_caches_what_is_not_present(struct kunit *test)
{
	const struct vtd_caps caps[] = { {}, { .cap = VTD_CAP | VTD_CAP_CM } };
	struct iommu_domain *domain;
	struct vtd_fn *fn, *odd;

	vtd_machine(test, 2, caps);
	fn = vtd_add_fn(test, 0, KIOMMU_PASID);
	odd = vtd_add_fn(test, 1, KIOMMU_PASID);
	domain = vtd_paging(test, fn, 0);
	KUNIT_EXPECT_EQ(test, -EINVAL, vtd_set_pasid(odd, PASID, domain));
	KUNIT_EXPECT_EQ(test, 0, vtd_attach(fn, domain));
	KUNIT_EXPECT_EQ(test, -EINVAL, vtd_attach(odd, domain));
	KUNIT_EXPECT_FALSE(test, to_dmar_domain(domain)->iotlb_sync_map);

	domain = vtd_paging(test, odd, 0);
	KUNIT_EXPECT_EQ(test, 0, vtd_attach(fn, domain));
	KUNIT_EXPECT_EQ(test, 0, vtd_attach(odd, domain));
	KUNIT_EXPECT_TRUE(test, to_dmar_domain(domain)->iotlb_sync_map);
}

/* Somebody may be mapping, who does not know that it is attached elsewhere. */
static void domain_made_for_another_unit(struct kunit *test)
{
	const struct vtd_caps caps[] = {
		{ .ecap = VTD_ECAP & ~(VTD_ECAP_SMPWC | VTD_ECAP_SLADS) }, {},
	};
	struct iommu_domain *domain;
	struct vtd_fn *fn, *odd;

	vtd_machine(test, 2, caps);
	fn = vtd_add_fn(test, 0, 0);
	odd = vtd_add_fn(test, 1, 0);
	domain = vtd_paging(test, fn, 0);
	KUNIT_EXPECT_FALSE(test, to_dmar_domain(domain)->iommu_coherency);
	KUNIT_EXPECT_EQ(test, 0, vtd_attach(odd, domain));
	KUNIT_EXPECT_FALSE(test, to_dmar_domain(domain)->iommu_coherency);
}

/* --- registers --- */

#define IVA_OFFSET	0x200

/*
 * The hardware of a unit without a queue, for one invalidation. An interrupt: the driver
 * panics if nobody answers, and a thread may have to wait for a CPU.
 */
static void execute_iva(void *arg)
{
	struct vtd_unit *unit = arg;
	void __iomem *iotlb = unit->iommu.reg + IVA_OFFSET + 8;
	u64 end = ktime_get_mono_fast_ns() + 5 * NSEC_PER_SEC;
	u64 val;

	do {
		val = readq(iotlb);
		if (val & DMA_TLB_IVT) {
			writeq((val & ~DMA_TLB_IVT) | 3ULL << 57, iotlb);
			return;
		}
		cpu_relax();
	} while (ktime_get_mono_fast_ns() < end);
}

static void hint_is_where_register_has_it(struct kunit *test)
{
	const struct vtd_caps caps = {
		.ecap = VTD_ECAP | (u64)IVA_OFFSET / 16 << 8,
	};
	struct vtd_unit *unit;
	unsigned int ih, cpu;

	kiommu_two_cpus(test);
	unit = vtd_machine(test, 1, &caps)->unit;
	for (ih = 0; ih < 2; ih++) {
		cpu = cpumask_any_but(cpu_online_mask, get_cpu());
		smp_call_function_single(cpu, execute_iva, unit, false);
		__iommu_flush_iotlb(&unit->iommu, 2, IOVA | ih, 0,
				    DMA_TLB_PSI_FLUSH);
		put_cpu();
		KUNIT_EXPECT_EQ(test, IOVA | (ih ? DMA_TLB_IH_NONLEAF : 0),
				readq(unit->iommu.reg + IVA_OFFSET));
	}
}

/* --- descriptors --- */

/*
 * Reserved fields are zero, whatever was in the memory before: a unit may refuse the
 * descriptor otherwise. Those who build descriptors on the stack need not clear it.
 */
static void descriptors_have_no_garbage(struct kunit *test)
{
	struct vtd_fn *fn = one_fn(test, NULL, 0);
	u16 sid = pci_dev_id(&fn->pci.pdev);
	struct qi_desc desc[6], *d;

	memset(desc, 0xff, sizeof(desc));
	qi_desc_iotlb(&fn->unit->iommu, 2, IOVA, 0, DMA_TLB_PSI_FLUSH, &desc[0]);
	qi_desc_dev_iotlb(sid, 0, 16, IOVA, 0, &desc[1]);
	qi_desc_piotlb(2, PASID, IOVA, 1, true, &desc[2]);
	qi_desc_piotlb(2, PASID, 0, -1, false, &desc[3]);
	qi_desc_dev_iotlb_pasid(sid, 0, PASID, 16, IOVA, 0, &desc[4]);
	qi_desc_dev_iotlb_pasid(sid, 0, PASID, 16, 0, KIOMMU_ALL, &desc[5]);
	for (d = desc; d < desc + ARRAY_SIZE(desc); d++) {
		KUNIT_EXPECT_EQ_MSG(test, 0, d->qw2, "of %zu", d - desc);
		KUNIT_EXPECT_EQ_MSG(test, 0, d->qw3, "of %zu", d - desc);
	}
}

static noinline void leave_garbage_on_stack(void)
{
	u8 garbage[1536];

	memset(garbage, 0xff, sizeof(garbage));
	barrier_data(garbage);
}

/* The mock looks at the reserved fields of all it gets. */
static void flush_on_dirty_stack(struct kunit *test)
{
	struct vtd_fn *fn = one_fn(test, NULL, KIOMMU_ATS | KIOMMU_PASID);
	struct iommu_domain *domain = vtd_paging(test, fn, VTD_FIRST_LEVEL);
	struct vtd_machine *machine = test->priv;

	attached(test, fn, 0);
	KUNIT_ASSERT_EQ(test, 0, vtd_set_pasid(fn, PASID, domain));
	leave_garbage_on_stack();
	domain->ops->flush_iotlb_all(domain);
	kiommu_expect_complaints(test, &machine->k, 0);
}

/* --- errors --- */

/* A function that is gone does not spoil it for the others. */
static void function_is_gone(struct kunit *test)
{
	struct vtd_fn *gone = one_fn(test, NULL, KIOMMU_ATS);
	struct vtd_fn *fn = vtd_add_fn(test, 0, KIOMMU_ATS);
	struct iommu_domain *domain = attached(test, gone, 0);

	KUNIT_ASSERT_EQ(test, 0, vtd_attach(fn, domain));
	vtd_map(test, domain, IOVA, 1);
	expect_access(test, gone, IOMMU_NO_PASID, IOVA, 0);
	expect_access(test, fn, IOMMU_NO_PASID, IOVA, 0);
	kiommu_remove(&gone->pci);
	vtd_unmap(domain, IOVA, 1);
	expect_access(test, fn, IOMMU_NO_PASID, IOVA, -EFAULT);
}

/* Somebody who unmaps something else, when he is told to */
struct bystander {
	struct vtd_fn *fn;
	struct iommu_domain *domain;
	struct kiommu_thread thread;
	bool go;
};

/* Returns what his function has access to afterwards. */
static int bystander_unmaps(void *arg)
{
	struct bystander *b = arg;
	u64 pa;

	while (!READ_ONCE(b->go))
		cpu_relax();
	vtd_unmap(b->domain, IOVA, 1);
	return vtd_access(b->fn, IOMMU_NO_PASID, IOVA, &pa);
}

static bool bystander_has_submitted(struct vtd_unit *unit)
{
	return readl(unit->iommu.reg + DMAR_IQT_REG) >> qi_shift(&unit->iommu) !=
		(unit->head + 1) % QI_LENGTH;
}

/*
 * Called by whoever invalidates the ATC of the function that is gone, before it comes
 * out: let the bystander find out, and look away until he has.
 */
static void look_away(struct vtd_unit *unit, const struct vtd_cmd *cmd)
{
	u64 end = ktime_get_mono_fast_ns() + 5ULL * NSEC_PER_SEC;
	struct bystander *b = unit->priv;

	if (cmd->type != QI_IWD_TYPE || READ_ONCE(b->go))
		return;
	WRITE_ONCE(b->go, true);
	while (!bystander_has_submitted(unit) && ktime_get_mono_fast_ns() < end)
		cpu_relax();
	vtd_let_others(unit);
	while (!completion_done(&b->thread.done) &&
	       ktime_get_mono_fast_ns() < end)
		cpu_relax();
}

/* Who happens to see the error has not got what he waits for. */
static void bystander_sees_error(struct kunit *test)
{
	struct iommu_domain *domain;
	struct bystander b = {};
	struct vtd_fn *gone;

	kiommu_two_cpus(test);
	gone = one_fn(test, NULL, KIOMMU_ATS);
	domain = attached(test, gone, 0);
	b.fn = vtd_add_fn(test, 0, KIOMMU_ATS);
	b.domain = attached(test, b.fn, 0);
	vtd_map(test, domain, IOVA, 1);
	vtd_map(test, b.domain, IOVA, 1);
	expect_access(test, b.fn, IOMMU_NO_PASID, IOVA, 0);
	kiommu_remove(&gone->pci);
	gone->unit->priv = &b;
	kiommu_start(test, &b.thread, bystander_unmaps, &b);
	gone->unit->before = look_away;
	vtd_unmap(domain, IOVA, 1);
	gone->unit->before = NULL;
	KUNIT_EXPECT_TRUE(test, b.go);
	WRITE_ONCE(b.go, true);
	KUNIT_EXPECT_EQ(test, -EFAULT, kiommu_join(&b.thread));
}

/* A command that the unit does not understand, in the middle of a batch */
static void queue_error_in_batch(struct kunit *test)
{
	struct vtd_fn *fn = one_fn(test, NULL, KIOMMU_ATS);
	struct iommu_domain *domain = attached(test, fn, 0);
	struct vtd_machine *machine = test->priv;

	vtd_map(test, domain, IOVA, 2);
	expect_access(test, fn, IOMMU_NO_PASID, IOVA, 0);
	vtd_queue_error(fn->unit, 2);
	vtd_unmap(domain, IOVA, 1);
	kiommu_expect_complaints(test, &machine->k, 0);
	expect_access(test, fn, IOMMU_NO_PASID, IOVA, -EFAULT);
	expect_access(test, fn, IOMMU_NO_PASID, IOVA + SZ_4K, 0);
	vtd_unmap(domain, IOVA + SZ_4K, 1);
	expect_access(test, fn, IOMMU_NO_PASID, IOVA + SZ_4K, -EFAULT);
}

/* --- a function without ATS is probed, and there is no memory --- */

static int probe_failing(struct vtd_fn *fn, unsigned int nth)
{
	struct iommu_device *iommu;

	mutex_lock(&iommu_probe_device_lock);
	nomem_nth(nth);
	iommu = intel_iommu_ops.probe_device(&fn->pci.pdev.dev);
	nomem_nth(0);
	mutex_unlock(&iommu_probe_device_lock);
	fn->pci.dev_iommu.priv = IS_ERR(iommu) ? NULL : fn->pci.dev_iommu.priv;
	return PTR_ERR_OR_ZERO(iommu);
}

/* Those that are there already stay known, as page requests of theirs ask for it. */
static void probe_without_memory(struct kunit *test)
{
	struct vtd_fn *known = one_fn(test, NULL, KIOMMU_ATS | KIOMMU_PASID);
	struct vtd_fn *fn = vtd_add_unprobed_fn(test, 0, KIOMMU_PASID);
	struct device_domain_info *info = &known->info;
	unsigned int n;

	nomem_start(test, NOMEM_SLAB);
	vtd_find_unit(known->unit, true);
	for (n = 1; n < 16 && probe_failing(fn, n); n++)
		KUNIT_EXPECT_PTR_EQ(test, info->dev,
				    device_rbtree_find(info->iommu,
						       PCI_DEVID(info->bus,
								 info->devfn)));
	KUNIT_EXPECT_GT(test, n, 2);
	if (fn->pci.dev_iommu.priv)
		intel_iommu_ops.release_device(&fn->pci.pdev.dev);
	fn->pci.dev_iommu.priv = NULL;
	vtd_find_unit(known->unit, false);
}

/* A function whose addresses are not page aligned: nobody is to expect its ATC. */
static void ats_is_not_page_aligned(struct kunit *test)
{
	struct vtd_fn *known = one_fn(test, NULL, KIOMMU_PASID);
	struct vtd_fn *fn = vtd_add_unprobed_fn(test, 0,
						KIOMMU_ATS | KIOMMU_PASID);
	struct device_domain_info *info;
	struct iommu_device *iommu;

	*(u16 *)&fn->pci.cfg[KIOMMU_CFG_ATS + PCI_ATS_CAP] = 16;
	vtd_find_unit(known->unit, true);
	mutex_lock(&iommu_probe_device_lock);
	iommu = intel_iommu_ops.probe_device(&fn->pci.pdev.dev);
	mutex_unlock(&iommu_probe_device_lock);
	KUNIT_ASSERT_FALSE(test, IS_ERR(iommu));
	info = dev_iommu_priv_get(&fn->pci.pdev.dev);
	KUNIT_EXPECT_FALSE(test, info->ats_supported);
	intel_iommu_ops.release_device(&fn->pci.pdev.dev);
	fn->pci.dev_iommu.priv = NULL;
	vtd_find_unit(known->unit, false);
}

/* There are no registers for PASID caches, and none for device TLBs. */
static void unit_has_no_queue(struct kunit *test)
{
	struct vtd_fn *known = one_fn(test, NULL, 0);
	struct vtd_fn *fn = vtd_add_unprobed_fn(test, 0,
						KIOMMU_ATS | KIOMMU_PASID);
	struct intel_iommu *unit = &known->unit->iommu;
	struct device_domain_info *info;
	struct iommu_device *iommu;
	struct q_inval *qi = unit->qi;

	vtd_find_unit(known->unit, true);
	unit->qi = NULL;
	iommu_without_queue(unit);
	mutex_lock(&iommu_probe_device_lock);
	iommu = intel_iommu_ops.probe_device(&fn->pci.pdev.dev);
	mutex_unlock(&iommu_probe_device_lock);
	if (!IS_ERR(iommu)) {
		info = dev_iommu_priv_get(&fn->pci.pdev.dev);
		KUNIT_EXPECT_FALSE(test, info->ats_supported);
		KUNIT_EXPECT_FALSE(test, info->pasid_enabled);
		KUNIT_EXPECT_NULL(test, info->pasid_table);
		intel_iommu_ops.release_device(&fn->pci.pdev.dev);
	}
	KUNIT_EXPECT_EQ(test, 0, unit->iommu.max_pasids);
	/* What takes the machine apart asks how large its queue is. */
	unit->ecap |= DMA_ECAP_SMTS;
	unit->qi = qi;
	KUNIT_EXPECT_FALSE(test, IS_ERR(iommu));
	fn->pci.dev_iommu.priv = NULL;
	vtd_find_unit(known->unit, false);
}

static struct kunit_case fixes_cases[] = {
	KUNIT_CASE(unmap_while_rid_is_detached),
	KUNIT_CASE(unmap_while_pasid_is_detached),
	KUNIT_CASE(munmap_while_pasid_is_detached),
	KUNIT_CASE(exit_while_pasid_is_detached),
	KUNIT_CASE(unmap_while_rid_is_attached),
	KUNIT_CASE(unmap_while_ats_goes_on),
	KUNIT_CASE(unmap_before_ats_goes_on),
	KUNIT_CASE(faults_while_mm_exits),
	KUNIT_CASE(did_is_reused),
	KUNIT_CASE(dirty_tracking_while_nested_is_attached),
	KUNIT_CASE(ats_goes_on_behind_rid),
	KUNIT_CASE(ats_goes_on_behind_pasid),
	KUNIT_CASE(ats_goes_on_in_legacy_mode),
	KUNIT_CASE(ats_goes_on_after_deferred_attach),
	KUNIT_CASE(ats_goes_on_behind_identity),
	KUNIT_CASE(pasid_outlives_rid),
	KUNIT_CASE(tag_outlives_function),
	KUNIT_CASE(flush_all_names_pasid),
	KUNIT_CASE(nested_has_ats),
	KUNIT_CASE(drive_leaves_controller),
	KUNIT_CASE(drain_with_did_of_pasid),
	KUNIT_CASE(drain_with_did_of_sva),
	KUNIT_CASE(drain_waits_for_reports),
	KUNIT_CASE(drain_waits_for_reports_of_rid),
	KUNIT_CASE(drain_waits_for_one_pass),
	KUNIT_CASE(drains_do_not_wait_for_each_other),
	KUNIT_CASE(exit_while_pasid_is_attached),
	KUNIT_CASE(nested_has_no_aperture),
	KUNIT_CASE(user_range_makes_no_sense),
	KUNIT_CASE(user_range_is_wide),
	KUNIT_CASE(user_table_has_odd_bits),
	KUNIT_CASE(user_table_is_out_of_range),
	KUNIT_CASE(map_for_pasids_only),
	KUNIT_CASE(map_for_nested_only),
	KUNIT_CASE(large_page_replaces_table),
	KUNIT_CASE(sva_without_pasids),
	KUNIT_CASE(sva_with_copied_context),
	KUNIT_CASE(sva_with_other_requester),
	KUNIT_CASE(unit_has_fewer_levels),
	KUNIT_CASE(unit_does_not_snoop),
	KUNIT_CASE(unit_caches_what_is_not_present),
	KUNIT_CASE(domain_made_for_another_unit),
	KUNIT_CASE(hint_is_where_register_has_it),
	KUNIT_CASE(descriptors_have_no_garbage),
	KUNIT_CASE(flush_on_dirty_stack),
	KUNIT_CASE(function_is_gone),
	KUNIT_CASE(bystander_sees_error),
	KUNIT_CASE(queue_error_in_batch),
	KUNIT_CASE(probe_without_memory),
	KUNIT_CASE(ats_is_not_page_aligned),
	KUNIT_CASE(unit_has_no_queue),
	{}
};

static struct kunit_suite fixes_suite = {
	.name = "intel_iommu_fixes",
	.exit = vtd_exit,
	.test_cases = fixes_cases,
};

kunit_test_suite(fixes_suite);

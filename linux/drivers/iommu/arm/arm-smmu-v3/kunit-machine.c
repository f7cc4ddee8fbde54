// SPDX-License-Identifier: GPL-2.0-only
/*
 * Machines of SMMUv3 instances, and what tests of the driver do with them
 *
 * An instance gets what arm_smmu_device_probe() would find out from the registers; queues and
 * tables are made by the driver, in memory of a platform device that has no driver. A function
 * is probed and released by the driver. It is in a group as the core makes them, and all that
 * is attached and detached goes through the core, which holds the group's mutex and remembers
 * what is attached.
 */
#include <kunit/static_stub.h>
#include <linux/delay.h>
#include <linux/dma-mapping.h>
#include <linux/mman.h>
#include <linux/mmu_notifier.h>
#include <linux/pci-ats.h>
#include <linux/sched/mm.h>
#include <linux/slab.h>
#include <linux/uaccess.h>
#include <uapi/linux/iommufd.h>

#include "kunit-mock.h"
#include "../../iommu-priv.h"

#define SMMU_BITS	16	/* of StreamIDs, and of what a test says nothing about */
#define SMMU_ATC_NS	(2 * NSEC_PER_MSEC)

/* --- instances --- */

/* How the driver finds the instance of a function */
static struct arm_smmu_device *smmu_by_fwnode(struct fwnode_handle *fwnode)
{
	return &container_of(fwnode, struct smmu_unit, fwnode)->smmu;
}

static void smmu_init_caps(struct arm_smmu_device *smmu, const struct smmu_caps *caps)
{
	smmu->features = caps && caps->features ? caps->features : SMMU_FEATURES;
	smmu->options = caps ? caps->options : 0;
	smmu->asid_bits = caps && caps->asid_bits ? caps->asid_bits : SMMU_BITS;
	smmu->vmid_bits = caps && caps->vmid_bits ? caps->vmid_bits : SMMU_BITS;
	smmu->ssid_bits = caps && caps->ssid_bits ? caps->ssid_bits : SMMU_BITS;
	smmu->cmdq.q.llq.max_n_shift = caps && caps->queue ? caps->queue : SMMU_QUEUE;
	smmu->evtq.q.llq.max_n_shift = 7;
	smmu->priq.q.llq.max_n_shift = 7;
	smmu->sid_bits = SMMU_BITS;
	smmu->pgsize_bitmap = SZ_4K | SZ_2M | SZ_1G;
	smmu->ias = 48;
	smmu->oas = 48;
	smmu->iommu.max_pasids = 1UL << smmu->ssid_bits;
}

/* Tables and queues are released with the group, whoever still holds the device. */
static int smmu_init_device(struct smmu_unit *unit)
{
	struct platform_device *pdev;
	struct device *dev;

	pdev = platform_device_register_simple("v3-mock", unit->index, NULL, 0);
	if (IS_ERR(pdev))
		return PTR_ERR(pdev);
	unit->pdev = pdev;
	dev = &pdev->dev;
	unit->smmu.dev = dev;
	unit->smmu.iommu.dev = dev;
	dev->dma_coherent = true;
	if (!devres_open_group(dev, unit, GFP_KERNEL))
		return -ENOMEM;
	return dma_set_mask_and_coherent(dev, DMA_BIT_MASK(48));
}

static void smmu_init_unit(struct smmu_machine *machine, struct smmu_unit *unit,
			   unsigned int index)
{
	unit->machine = machine;
	unit->index = index;
	kiommu_turn_give_up(&unit->turn);
	unit->atc_timeout = SMMU_ATC_NS;
	raw_spin_lock_init(&unit->lock);
	unit->hold.lock = &unit->lock;
	kiommu_bus_init(&unit->bus, &machine->k, &unit->lock, 0x40 + index, NULL);
}

/* What it says that it does: one that is off is not waited for. */
void smmu_turn(struct smmu_unit *unit, bool on)
{
	writel(on ? CR0_SMMUEN : 0, unit->smmu.base + ARM_SMMU_CR0ACK);
}

static int smmu_create_unit(struct smmu_machine *machine, unsigned int index,
			    const struct smmu_caps *caps)
{
	struct smmu_unit *unit = &machine->unit[index];
	struct arm_smmu_device *smmu = &unit->smmu;
	int ret;

	smmu_init_unit(machine, unit, index);
	smmu_init_caps(smmu, caps);
	ret = smmu_init_device(unit);
	if (ret)
		return ret;
	unit->reg = (void *)get_zeroed_page(GFP_KERNEL);
	if (!unit->reg)
		return -ENOMEM;
	smmu->base = (void __iomem __force *)unit->reg;
	smmu->page1 = smmu->base;
	smmu_turn(unit, true);
	smmu->iommu.ops = &arm_smmu_ops;
	ret = arm_smmu_init_structures(smmu);
	if (ret)
		return ret;
	unit->hw.iommu = &smmu->iommu;
	unit->hw.run = smmu_queue;
	iommu_kunit_hw_add(&unit->hw);
	return 0;
}

static void smmu_destroy_unit(struct smmu_unit *unit)
{
	if (unit->hw.iommu)
		iommu_kunit_hw_del(&unit->hw);
	if (unit->pdev) {
		devres_release_group(&unit->pdev->dev, unit);
		platform_device_unregister(unit->pdev);
	}
	free_page((unsigned long)unit->reg);
}

/* --- functions --- */

static void smmu_free_fn(struct kiommu_fn *kfn)
{
	struct smmu_fn *fn = container_of(kfn, struct smmu_fn, fn);

	kfree(fn->fwspec);
	kfree(fn);
}

static int smmu_init_fwspec(struct smmu_fn *fn, unsigned int flags)
{
	unsigned int n;

	fn->fwspec = kzalloc(struct_size(fn->fwspec, ids, fn->nr_sids), GFP_KERNEL);
	if (!fn->fwspec)
		return -ENOMEM;
	fn->fwspec->iommu_fwnode = &fn->unit->fwnode;
	fn->fwspec->num_ids = fn->nr_sids;
	for (n = 0; n < fn->nr_sids; n++)
		fn->fwspec->ids[n] = fn->sid[n];
	if (flags & KIOMMU_ATS)
		fn->fwspec->flags = IOMMU_FWSPEC_PCI_RC_ATS;
	fn->fn.dev_iommu.fwspec = fn->fwspec;
	return 0;
}

static void smmu_init_sids(struct smmu_fn *fn, const u32 *sids, unsigned int nr)
{
	fn->nr_sids = nr + 1;
	fn->sid[0] = kiommu_id(&fn->fn);
	while (nr--)
		fn->sid[nr + 1] = sids[nr];
}

/* Its kobject is in sysfs, where the group links to it; it is on no bus of the core. */
static int smmu_join_group(struct smmu_fn *fn, struct smmu_fn *mate)
{
	struct device *dev = smmu_dev(fn);
	struct iommu_group *group;
	int ret;

	ret = kobject_add(&dev->kobj, NULL, "%s", dev_name(dev));
	if (ret)
		return ret;
	if (mate)
		group = iommu_group_ref_get(smmu_dev(mate)->iommu_group);
	else
		group = iommu_group_alloc();
	if (IS_ERR(group))
		return PTR_ERR(group);
	ret = iommu_group_add_device(group, dev);
	iommu_group_put(group);
	fn->grouped = !ret;
	return ret;
}

static void smmu_leave_group(struct smmu_fn *fn)
{
	struct device *dev = smmu_dev(fn);

	/* It is released already: the core shall not do it, and free what it did not get. */
	dev->iommu = NULL;
	if (fn->grouped) {
		iommu_kunit_group_forget(dev->iommu_group);
		iommu_group_remove_device(dev);
	}
	fn->grouped = false;
	if (dev->kobj.state_in_sysfs)
		kobject_del(&dev->kobj);
}

static void smmu_init_width(struct smmu_fn *fn)
{
	*(u16 *)&fn->fn.cfg[KIOMMU_CFG_PASID + PCI_PASID_CAP] =
		FIELD_PREP(PCI_PASID_CAP_WIDTH, SMMU_BITS);
}

static struct smmu_fn *smmu_create_fn(struct smmu_unit *unit, unsigned int flags,
				      const u32 *sids, unsigned int nr_sids)
{
	struct smmu_machine *machine = unit->machine;
	struct smmu_fn *fn;

	if (machine->nr_fns == SMMU_FNS || nr_sids >= SMMU_SIDS)
		return NULL;
	fn = kzalloc(sizeof(*fn), GFP_KERNEL);
	if (!fn)
		return NULL;
	if (kiommu_fn_init(&fn->fn, &unit->bus, flags, smmu_free_fn)) {
		kfree(fn);
		return NULL;
	}
	fn->unit = unit;
	if (flags & SMMU_FN_MANY)
		smmu_init_width(fn);
	smmu_init_sids(fn, sids, nr_sids);
	machine->fn[machine->nr_fns++] = fn;
	return smmu_init_fwspec(fn, flags) ? NULL : fn;
}

/**
 * smmu_probe() - the driver is told of a function
 * @fn: the function, which is not probed
 *
 * Return: what the driver says.
 */
int smmu_probe(struct smmu_fn *fn)
{
	struct iommu_device *iommu;
	int max;

	mutex_lock(&iommu_probe_device_lock);
	iommu = arm_smmu_ops.probe_device(smmu_dev(fn));
	mutex_unlock(&iommu_probe_device_lock);
	if (IS_ERR(iommu)) {
		fn->fn.dev_iommu.priv = NULL;
		return PTR_ERR(iommu);
	}
	max = pci_max_pasids(&fn->fn.pdev);
	fn->fn.dev_iommu.iommu_dev = iommu;
	fn->fn.dev_iommu.max_pasids = max > 0 ? min_t(u32, max, iommu->max_pasids) : 0;
	fn->probed = true;
	return 0;
}

/**
 * smmu_add_fn_like() - a function appears
 * @test: the test
 * @unit: index of the instance that it is behind
 * @flags: %KIOMMU_ATS, %KIOMMU_PASID, %SMMU_FN_MANY, %SMMU_FN_IDLE
 * @mate: a function whose group it joins, NULL: none
 * @sids: StreamIDs that it has beside its own
 * @nr_sids: number of those
 *
 * Functions of an instance have StreamIDs 0x4000, 0x4008 and so on, those of the next instance
 * 0x4100 and so on. Unless it is %SMMU_FN_IDLE, the driver probes it, and nothing is attached:
 * the STE is what the table was initialised with. Logs start from zero.
 *
 * Return: the function, which lives until the end of the test.
 */
struct smmu_fn *smmu_add_fn_like(struct kunit *test, unsigned int unit,
				 unsigned int flags, struct smmu_fn *mate,
				 const u32 *sids, unsigned int nr_sids)
{
	struct smmu_machine *machine = test->priv;
	struct smmu_fn *fn;

	fn = smmu_create_fn(&machine->unit[unit], flags, sids, nr_sids);
	KUNIT_ASSERT_NOT_NULL(test, fn);
	KUNIT_ASSERT_EQ(test, 0, smmu_join_group(fn, mate));
	if (!(flags & SMMU_FN_IDLE))
		KUNIT_ASSERT_EQ(test, 0, smmu_probe(fn));
	smmu_clear_log(machine);
	return fn;
}

/**
 * smmu_add_fn() - a function appears, in a group of its own
 * @test: the test
 * @unit: as of smmu_add_fn_like(), which see
 * @flags: as well
 *
 * Return: the function.
 */
struct smmu_fn *smmu_add_fn(struct kunit *test, unsigned int unit, unsigned int flags)
{
	return smmu_add_fn_like(test, unit, flags, NULL, NULL, 0);
}

static void smmu_detach_pasids(struct smmu_fn *fn)
{
	struct smmu_machine *machine = fn->unit->machine;
	unsigned int n;

	for (n = 0; n < SMMU_ATTACHED; n++)
		if (machine->attached[n].fn == fn)
			smmu_remove_pasid(fn, machine->attached[n].ssid);
}

/**
 * smmu_release() - the driver is told that a function is gone
 * @fn: the function. Nothing is attached to its PASIDs
 *
 * smmu_probe() may follow, if it is alone in its group.
 */
void smmu_release(struct smmu_fn *fn)
{
	if (!fn->probed)
		return;
	arm_smmu_ops.release_device(smmu_dev(fn));
	fn->fn.dev_iommu.priv = NULL;
	fn->fn.dev_iommu.iommu_dev = NULL;
	fn->fn.dev_iommu.max_pasids = 0;
	fn->probed = false;
}

/* --- machines --- */

static void smmu_free_domains(struct smmu_machine *machine)
{
	struct iommu_domain *domain;

	while (machine->nr_owned) {
		domain = machine->owned[--machine->nr_owned];
		if (domain)
			iommu_domain_free(domain);
	}
}

/* What is still attached is detached without faults of the hardware. */
static void smmu_calm_down(struct smmu_machine *machine)
{
	struct smmu_unit *unit;
	unsigned int n;

	for (n = 0; n < machine->nr_fns; n++) {
		kiommu_calm_down(&machine->fn[n]->fn);
		machine->fn[n]->late_ns = 0;
	}
	for (n = 0; n < machine->nr_units; n++) {
		unit = &machine->unit[n];
		unit->before = NULL;
		unit->hw.run = smmu_queue;
		smmu_calm(unit);
		smmu_settle(unit);
		while (smmu_shows_error(unit)) {
			arm_smmu_gerror_handler(0, &unit->smmu);
			smmu_calm(unit);
			smmu_settle(unit);
		}
	}
}

static void smmu_destroy(struct smmu_machine *machine)
{
	unsigned int n;

	for (n = 0; n < machine->nr_fns; n++) {
		smmu_release(machine->fn[n]);
		smmu_leave_group(machine->fn[n]);
	}
	smmu_free_domains(machine);
	for (n = 0; n < machine->nr_fns; n++)
		kiommu_fn_put(&machine->fn[n]->fn);
	for (n = 0; n < machine->nr_units; n++)
		smmu_destroy_unit(&machine->unit[n]);
	kvfree(machine->unit);
	kfree(machine);
}

static struct smmu_machine *smmu_create(unsigned int nr_units,
					const struct smmu_caps *caps)
{
	struct smmu_machine *machine = kzalloc(sizeof(*machine), GFP_KERNEL);
	unsigned int n;

	if (!machine)
		return NULL;
	kiommu_init(&machine->k);
	machine->unit = kvcalloc(nr_units, sizeof(*machine->unit), GFP_KERNEL);
	if (!machine->unit) {
		kfree(machine);
		return NULL;
	}
	for (n = 0; n < nr_units; n++) {
		machine->nr_units++;
		if (smmu_create_unit(machine, n, caps ? &caps[n] : NULL)) {
			smmu_destroy(machine);
			return NULL;
		}
	}
	return machine;
}

/**
 * smmu_machine() - make a machine
 * @test: the test; &kunit.priv gets the machine
 * @nr_units: number of instances
 * @caps: what each of them can do, NULL: what is usual
 *
 * Skips the test where pages are not of 4K, and tables of processes not of 48 bits.
 *
 * Return: the machine, which lives until smmu_exit().
 */
struct smmu_machine *smmu_machine(struct kunit *test, unsigned int nr_units,
				  const struct smmu_caps *caps)
{
	if (!IS_ENABLED(CONFIG_ARM64_4K_PAGES) || vabits_actual != 48)
		kunit_skip(test, "pages or addresses are not of the size of the model's");
	kunit_activate_static_stub(test, arm_smmu_get_by_fwnode, smmu_by_fwnode);
	test->priv = smmu_create(nr_units, caps);
	KUNIT_ASSERT_NOT_NULL(test, test->priv);
	return test->priv;
}

static void smmu_detach_all(struct smmu_machine *machine)
{
	unsigned int n;

	for (n = 0; n < machine->nr_fns; n++) {
		if (!machine->fn[n]->probed)
			continue;
		smmu_detach_pasids(machine->fn[n]);
		smmu_block(machine->fn[n]);
	}
}

/**
 * smmu_exit() - the end of a machine, &kunit_suite.exit
 * @test: the test
 *
 * Everything is detached, released and freed. Nothing may have happened that must not, and
 * nothing may be cached that is not in memory.
 */
void smmu_exit(struct kunit *test)
{
	struct smmu_machine *machine = test->priv;
	unsigned int n;

	if (!machine)
		return;
	kiommu_end(&machine->k);
	test->priv = NULL;
	smmu_audit(machine);
	smmu_calm_down(machine);
	smmu_detach_all(machine);
	smmu_audit(machine);
	for (n = 0; n < machine->nr_fns; n++) {
		if (!machine->fn[n]->probed)
			continue;
		smmu_release(machine->fn[n]);
		smmu_audit_released(machine->fn[n]);
	}
	smmu_free_domains(machine);
	/* Those of processes give back their ids later, as arm_smmu_driver_unregister() knows. */
	mmu_notifier_synchronize();
	smmu_audit(machine);
	kiommu_expect_complaints(test, &machine->k, 0);
	smmu_destroy(machine);
}

/* --- domains --- */

static struct iommu_domain *smmu_keep(struct kunit *test, struct iommu_domain *domain)
{
	struct smmu_machine *machine = test->priv;

	KUNIT_ASSERT_NOT_ERR_OR_NULL(test, domain);
	domain->owner = &arm_smmu_ops;
	if (machine->nr_owned == SMMU_DOMAINS) {
		iommu_domain_free(domain);
		KUNIT_FAIL_AND_ABORT(test, "too many domains");
	}
	machine->owned[machine->nr_owned++] = domain;
	return domain;
}

/* As whoever has no device, or asks for nesting, gets one: it is finalised when it is attached. */
static struct iommu_domain *smmu_alloc_late(struct kunit *test, unsigned int flags)
{
	struct iommu_domain *domain = arm_smmu_ops.domain_alloc_paging(NULL);

	KUNIT_ASSERT_NOT_ERR_OR_NULL(test, domain);
	domain->type = IOMMU_DOMAIN_UNMANAGED;
	domain->ops = arm_smmu_ops.default_domain_ops;
	if (flags & SMMU_S2)
		KUNIT_EXPECT_EQ(test, 0, domain->ops->enable_nesting(domain));
	return domain;
}

/**
 * smmu_paging() - a domain with a page table of its own
 * @test: the test
 * @fn: a function that it is for
 * @flags: %SMMU_S2, %SMMU_DIRTY, %SMMU_LATE
 *
 * With %SMMU_S2 or %SMMU_LATE it has no page table before it is attached for the first time.
 *
 * Return: the domain, which lives until smmu_free() or the end of the test.
 */
struct iommu_domain *smmu_paging(struct kunit *test, struct smmu_fn *fn,
				 unsigned int flags)
{
	if (flags & (SMMU_S2 | SMMU_LATE))
		return smmu_keep(test, smmu_alloc_late(test, flags));
	return smmu_keep(test, arm_smmu_ops.domain_alloc_user(smmu_dev(fn),
				flags & SMMU_DIRTY ? IOMMU_HWPT_ALLOC_DIRTY_TRACKING : 0,
				NULL, NULL));
}

/**
 * smmu_sva() - a domain of a process
 * @test: the test
 * @fn: a function that it is for
 * @mm: the process's mm
 *
 * The core's part is as in iommu_sva_domain_alloc().
 *
 * Return: the domain, which lives until smmu_free() or the end of the test.
 */
struct iommu_domain *smmu_sva(struct kunit *test, struct smmu_fn *fn,
			      struct mm_struct *mm)
{
	struct iommu_domain *domain = arm_smmu_ops.domain_alloc_sva(smmu_dev(fn), mm);

	KUNIT_ASSERT_NOT_ERR_OR_NULL(test, domain);
	domain->type = IOMMU_DOMAIN_SVA;
	mmgrab(mm);
	domain->mm = mm;
	return smmu_keep(test, domain);
}

/**
 * smmu_free() - free a domain
 * @test: the test
 * @domain: the domain, which is attached nowhere
 */
void smmu_free(struct kunit *test, struct iommu_domain *domain)
{
	struct smmu_machine *machine = test->priv;
	unsigned int n;

	for (n = 0; n < machine->nr_owned; n++)
		if (machine->owned[n] == domain)
			machine->owned[n] = NULL;
	while (machine->nr_owned && !machine->owned[machine->nr_owned - 1])
		machine->nr_owned--;
	iommu_domain_free(domain);
}

/* --- attaching --- */

/**
 * smmu_attach() - attach a group to a domain
 * @fn: a function of the group
 * @domain: the domain
 *
 * Return: what the core says.
 */
int smmu_attach(struct smmu_fn *fn, struct iommu_domain *domain)
{
	return iommu_group_replace_domain(smmu_dev(fn)->iommu_group, domain);
}

/**
 * smmu_identity() - let a group have memory as it is
 * @fn: a function of the group
 *
 * Return: what the core says.
 */
int smmu_identity(struct smmu_fn *fn)
{
	return smmu_attach(fn, arm_smmu_ops.identity_domain);
}

/**
 * smmu_block() - detach a group
 * @fn: a function of the group
 *
 * Return: what the core says.
 */
int smmu_block(struct smmu_fn *fn)
{
	return smmu_attach(fn, arm_smmu_ops.blocked_domain);
}

/**
 * smmu_set_pasid() - attach a PASID of a group to a domain
 * @fn: a function of the group
 * @pasid: PASID, not attached
 * @domain: the domain
 *
 * Return: what the core says.
 */
int smmu_set_pasid(struct smmu_fn *fn, u32 pasid, struct iommu_domain *domain)
{
	struct smmu_attached *at = fn->unit->machine->attached;
	int ret;

	/* Other threads attach other functions. */
	for (; cmpxchg(&at->fn, NULL, fn); at++)
		if (at == &fn->unit->machine->attached[SMMU_ATTACHED - 1])
			return -ENOSPC;
	at->ssid = pasid;
	at->domain = domain;
	ret = iommu_attach_device_pasid(domain, smmu_dev(fn), pasid, NULL);
	if (ret)
		smp_store_release(&at->fn, NULL);
	return ret;
}

/**
 * smmu_remove_pasid() - detach a PASID of a group
 * @fn: the function that was passed to smmu_set_pasid()
 * @pasid: PASID, attached
 */
void smmu_remove_pasid(struct smmu_fn *fn, u32 pasid)
{
	struct smmu_attached *at = fn->unit->machine->attached;
	unsigned int n;

	for (n = 0; n < SMMU_ATTACHED; n++) {
		if (READ_ONCE(at[n].fn) != fn || at[n].ssid != pasid)
			continue;
		iommu_detach_device_pasid(at[n].domain, smmu_dev(fn), pasid);
		smp_store_release(&at[n].fn, NULL);
		return;
	}
}

/* --- page tables --- */

/**
 * smmu_map_size() - map pages of a paging domain
 * @test: the test
 * @domain: the domain
 * @iova: where; to %SMMU_PA, rounded down to @pgsize
 * @pgsize: 4K, 2M or 1G
 * @nr: how many
 */
void smmu_map_size(struct kunit *test, struct iommu_domain *domain, u64 iova,
		   size_t pgsize, unsigned int nr)
{
	u64 pa = round_down(SMMU_PA(iova), pgsize);
	size_t mapped = 0;

	KUNIT_ASSERT_EQ(test, 0,
			domain->ops->map_pages(domain, iova, pa, pgsize, nr,
					       IOMMU_READ | IOMMU_WRITE, GFP_KERNEL,
					       &mapped));
	KUNIT_ASSERT_EQ(test, pgsize * nr, mapped);
}

/**
 * smmu_map() - map pages of 4K of a paging domain
 * @test: the test
 * @domain: the domain
 * @iova: where; %SMMU_PA says to what
 * @pages: how many
 */
void smmu_map(struct kunit *test, struct iommu_domain *domain, u64 iova,
	      unsigned int pages)
{
	unsigned int nr;

	/* One table at a time, as iommu_map() does */
	for (; pages; pages -= nr, iova += nr * SZ_4K) {
		nr = min_t(u64, pages, (round_down(iova, SZ_2M) + SZ_2M - iova) / SZ_4K);
		smmu_map_size(test, domain, iova, SZ_4K, nr);
	}
}

/**
 * smmu_unmap_size() - unmap pages of a paging domain, and flush
 * @test: the test
 * @domain: the domain
 * @iova: where
 * @pgsize: 4K, 2M or 1G
 * @nr: how many, at most to the end of a table
 */
void smmu_unmap_size(struct kunit *test, struct iommu_domain *domain, u64 iova,
		     size_t pgsize, unsigned int nr)
{
	struct iommu_iotlb_gather gather;

	iommu_iotlb_gather_init(&gather);
	KUNIT_EXPECT_EQ(test, pgsize * nr,
			domain->ops->unmap_pages(domain, iova, pgsize, nr, &gather));
	domain->ops->iotlb_sync(domain, &gather);
}

/**
 * smmu_unmap() - unmap pages of a paging domain, and flush, as iommu_unmap()
 * @test: the test
 * @domain: the domain
 * @iova: where
 * @pages: how many, of 4K
 */
void smmu_unmap(struct kunit *test, struct iommu_domain *domain, u64 iova,
		unsigned int pages)
{
	KUNIT_EXPECT_EQ(test, pages * SZ_4K, iommu_unmap(domain, iova, pages * SZ_4K));
}

/**
 * smmu_event() - the mm says that page tables have changed
 * @mm: the mm
 * @iova: where
 * @pages: how many
 *
 * Context: any.
 */
void smmu_event(struct mm_struct *mm, u64 iova, u64 pages)
{
	mmu_notifier_arch_invalidate_secondary_tlbs(mm, iova, iova + pages * PAGE_SIZE);
}

/**
 * smmu_mm_page() - map a page of the test's process, and use it
 * @test: the test
 * @addr: its address, where nothing is mapped
 */
void smmu_mm_page(struct kunit *test, u64 addr)
{
	KUNIT_ASSERT_EQ(test, addr,
			vm_mmap(NULL, addr, PAGE_SIZE, PROT_READ | PROT_WRITE,
				MAP_ANONYMOUS | MAP_PRIVATE | MAP_FIXED, 0));
	KUNIT_ASSERT_EQ(test, 0, put_user(1, (unsigned int __user *)addr));
}

/**
 * smmu_spin_done() - wait for a thread where nobody may sleep
 * @thread: the thread, on another CPU
 * @ms: how many milliseconds at most
 *
 * What is done when ATS is switched on or off (&kiommu_fn.ats_hook) is done under pci_lock
 * here, with interrupts off: the thread may not get at the configuration space of anything.
 *
 * Context: any.
 * Return: whether it has come to its end.
 */
bool smmu_spin_done(struct kiommu_thread *thread, unsigned int ms)
{
	while (ms-- && !completion_done(&thread->done))
		mdelay(1);
	return completion_done(&thread->done);
}

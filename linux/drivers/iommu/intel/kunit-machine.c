// SPDX-License-Identifier: GPL-2.0-only
/*
 * Machines of VT-d units, and what tests of the driver do with them
 *
 * A unit is set up as init_dmars() does it, a function as intel_iommu_probe_device()
 * does, as far as it matters here, because both insist on hardware that ACPI and PCI
 * have found. From there on everything goes through intel_iommu_ops.
 */
#include <linux/dmar.h>
#include <linux/mman.h>
#include <linux/mutex.h>
#include <linux/pci-ats.h>
#include <linux/rbtree.h>
#include <linux/slab.h>
#include <linux/uaccess.h>

#include "kunit-mock.h"
#include "../iommu-pages.h"

/* --- units --- */

static void vtd_unit_init_locks(struct vtd_unit *unit)
{
	struct intel_iommu *iommu = &unit->iommu;

	raw_spin_lock_init(&unit->lock);
	raw_spin_lock_init(&iommu->register_lock);
	spin_lock_init(&iommu->lock);
#ifdef CONTEXT_PRESENT	/* not in the base's driver, which this runs on, too */
	raw_spin_lock_init(&iommu->context_lock);
#endif
	spin_lock_init(&iommu->device_rbtree_lock);
	mutex_init(&iommu->iopf_lock);
	iommu->device_rbtree = RB_ROOT;
}

static void vtd_unit_init_caps(struct vtd_unit *unit, const struct vtd_caps *caps)
{
	struct intel_iommu *iommu = &unit->iommu;

	iommu->cap = caps && caps->cap ? caps->cap : VTD_CAP;
	iommu->ecap = caps && caps->ecap ? caps->ecap : VTD_ECAP;
	iommu->agaw = iommu_calculate_agaw(iommu);
	iommu->msagaw = iommu_calculate_max_sagaw(iommu);
	intel_svm_check(iommu);
}

static void vtd_unit_init_bus(struct vtd_unit *unit)
{
	unit->hold.lock = &unit->lock;
	unit->sysdata.node = NUMA_NO_NODE;
	kiommu_bus_init(&unit->bus, &unit->machine->k, &unit->lock, 0x40 + unit->index,
			&unit->sysdata);
}

static void vtd_device_release(struct device *dev)
{
	kfree(dev);
}

/* It only has a name. */
static struct device *vtd_unit_device(struct vtd_unit *unit)
{
	struct device *dev = kzalloc(sizeof(*dev), GFP_KERNEL);

	if (!dev)
		return NULL;
	device_initialize(dev);
	dev->release = vtd_device_release;
	dev_set_name(dev, "vtd-mock%u", unit->index);
	return dev;
}

static int vtd_unit_alloc(struct vtd_unit *unit)
{
	struct intel_iommu *iommu = &unit->iommu;

	unit->reg = (void *)get_zeroed_page(GFP_KERNEL);
	iommu->reg = (void __iomem __force *)unit->reg;
	iommu->root_entry = iommu_alloc_page_node(NUMA_NO_NODE, GFP_KERNEL);
	iommu->domain_ids = bitmap_zalloc(cap_ndoms(iommu->cap), GFP_KERNEL);
	iommu->copied_tables = bitmap_zalloc(BIT(16), GFP_KERNEL);
	iommu->iommu.dev = vtd_unit_device(unit);
	if (!unit->reg || !iommu->root_entry || !iommu->domain_ids ||
	    !iommu->copied_tables || !iommu->iommu.dev)
		return -ENOMEM;
	set_bit(0, iommu->domain_ids);
	set_bit(FLPT_DEFAULT_DID, iommu->domain_ids);
	return 0;
}

static int vtd_unit_init(struct vtd_machine *machine, unsigned int index,
			 const struct vtd_caps *caps)
{
	struct vtd_unit *unit = &machine->unit[index];
	struct intel_iommu *iommu = &unit->iommu;
	int ret;

	unit->machine = machine;
	unit->index = index;
	kiommu_turn_give_up(&unit->turn);
	vtd_unit_init_locks(unit);
	vtd_unit_init_caps(unit, caps);
	vtd_unit_init_bus(unit);
	ret = vtd_unit_alloc(unit);
	if (ret)
		return ret;
	snprintf(iommu->name, sizeof(iommu->name), "mock%u", (u8)index);
	iommu->seq_id = index;
	iommu->node = NUMA_NO_NODE;
	iommu->iommu.ops = &intel_iommu_ops;
	iommu->flush.flush_context = qi_flush_context;
	iommu->flush.flush_iotlb = qi_flush_iotlb;
	iommu->gcmd = DMA_GCMD_TE;
	writel(DMA_GSTS_TES | DMA_GSTS_QIES, iommu->reg + DMAR_GSTS_REG);
	unit->hw.iommu = &iommu->iommu;
	unit->hw.run = vtd_qi;
	iommu_kunit_hw_add(&unit->hw);
	return dmar_enable_qi(iommu);
}

static void vtd_unit_free_contexts(struct vtd_unit *unit)
{
	struct root_entry *root;

	if (!unit->iommu.root_entry)
		return;
	root = &unit->iommu.root_entry[unit->bus.bus.number];
	if (root->lo)
		iommu_free_page(phys_to_virt(root->lo & VTD_PAGE_MASK));
	if (root->hi)
		iommu_free_page(phys_to_virt(root->hi & VTD_PAGE_MASK));
	iommu_free_page(unit->iommu.root_entry);
}

static void vtd_unit_destroy(struct vtd_unit *unit)
{
	struct intel_iommu *iommu = &unit->iommu;

	vtd_find_unit(unit, false);
	if (unit->hw.iommu)
		iommu_kunit_hw_del(&unit->hw);
	vtd_unit_free_contexts(unit);
	if (iommu->qi) {
		iommu_free_pages(iommu->qi->desc, get_order(QI_LENGTH << qi_shift(iommu)));
		kfree(iommu->qi->desc_status);
		kfree(iommu->qi);
	}
	bitmap_free(iommu->domain_ids);
	bitmap_free(iommu->copied_tables);
	put_device(iommu->iommu.dev);
	free_page((unsigned long)unit->reg);
}

/* --- functions --- */

static u16 vtd_sid(const struct device_domain_info *info)
{
	return PCI_DEVID(info->bus, info->devfn);
}

static bool vtd_sid_less(struct rb_node *a, const struct rb_node *b)
{
	return vtd_sid(rb_entry(a, struct device_domain_info, node)) <
		vtd_sid(rb_entry(b, struct device_domain_info, node));
}

static void vtd_fn_free(struct kiommu_fn *fn)
{
	kfree(to_vtd_fn(&fn->pdev.dev));
}

/* The unit that its requests get to, under its requester ID or another one's */
static struct intel_iommu *vtd_fn_iommu(struct vtd_fn *fn)
{
	return &to_vtd_fn(&pci_real_dma_dev(&fn->pci.pdev)->dev)->unit->iommu;
}

static void vtd_fn_init_info(struct vtd_fn *fn, unsigned int flags)
{
	struct intel_iommu *iommu = vtd_fn_iommu(fn);
	struct device_domain_info *info = &fn->info;

	fn->pci.dev_iommu.priv = info;
	fn->pci.dev_iommu.iommu_dev = &iommu->iommu;
	info->dev = &fn->pci.pdev.dev;
	info->iommu = iommu;
	info->bus = fn->pci.pdev.bus->number;
	info->devfn = fn->pci.pdev.devfn;
	info->ats_supported = flags & KIOMMU_ATS &&
			      ecap_dev_iotlb_support(iommu->ecap);
	if (info->ats_supported)
		info->ats_qdep = pci_ats_queue_depth(&fn->pci.pdev);
	if (info->ats_supported && ecap_dit(iommu->ecap))
		info->pfsid = pci_dev_id(&fn->pci.pdev);
	info->pasid_supported = flags & KIOMMU_PASID && pasid_supported(iommu);
	info->pasid_enabled = info->pasid_supported;
	info->pri_supported = flags & KIOMMU_PRI && info->ats_supported &&
			      sm_supported(iommu) && ecap_prs(iommu->ecap) &&
			      ecap_pds(iommu->ecap);
#ifdef CONFIG_INTEL_IOMMU_DEBUGFS
	info->debugfs_dentry = ERR_PTR(-ENODEV);
#endif
}

/* What is left of intel_iommu_probe_device() */
static int vtd_fn_probe(struct vtd_fn *fn)
{
	struct device_domain_info *info = &fn->info;
	int ret = 0;

	rb_add(&info->node, &info->iommu->device_rbtree, vtd_sid_less);
	if (info->pasid_enabled)
		ret = pci_enable_pasid(&fn->pci.pdev, 0);
	if (ret || !sm_supported(info->iommu) || pci_real_dma_dev(&fn->pci.pdev) != &fn->pci.pdev)
		return ret;
	ret = intel_pasid_alloc_table(info->dev);
	if (!ret)
		ret = intel_pasid_setup_sm_context(info->dev);
	return ret;
}

static struct vtd_fn *vtd_fn_alloc(struct vtd_machine *machine,
				   struct vtd_unit *unit, unsigned int flags)
{
	struct vtd_fn *fn;

	if (machine->nr_fns == VTD_FNS)
		return NULL;
	fn = kzalloc(sizeof(*fn), GFP_KERNEL);
	if (!fn)
		return NULL;
	fn->unit = unit;
	if (kiommu_fn_init(&fn->pci, &unit->bus, flags, vtd_fn_free)) {
		kfree(fn);
		return NULL;
	}
	machine->fn[machine->nr_fns++] = fn;
	return fn;
}

static struct vtd_fn *vtd_fn_create(struct vtd_machine *machine,
				    struct vtd_unit *unit, unsigned int flags)
{
	struct vtd_fn *fn = vtd_fn_alloc(machine, unit, flags);

	if (!fn)
		return NULL;
	vtd_fn_init_info(fn, flags);
	return vtd_fn_probe(fn) ? NULL : fn;
}

/**
 * vtd_add_fn() - a function appears
 * @test: the test
 * @unit: index of the unit that it is behind
 * @flags: %KIOMMU_ATS, %KIOMMU_PASID
 *
 * Functions of a unit have requester IDs 0x4000, 0x4008 and so on, those of the next
 * unit 0x4100 and so on. Logs start from zero.
 *
 * Return: the function, which lives until the end of the test.
 */
struct vtd_fn *vtd_add_fn(struct kunit *test, unsigned int unit,
			  unsigned int flags)
{
	struct vtd_machine *machine = test->priv;
	struct vtd_fn *fn = vtd_fn_create(machine, &machine->unit[unit], flags);

	KUNIT_ASSERT_NOT_NULL(test, fn);
	vtd_clear_log(machine);
	return fn;
}

/**
 * vtd_add_unprobed_fn() - a function appears that the driver is not told of
 * @test: the test, which calls intel_iommu_ops.probe_device(); see vtd_find_unit()
 * @unit: index of the unit that it is behind
 * @flags: as for vtd_add_fn()
 *
 * Return: the function, which lives until the end of the test.
 */
struct vtd_fn *vtd_add_unprobed_fn(struct kunit *test, unsigned int unit,
				   unsigned int flags)
{
	struct vtd_machine *machine = test->priv;
	struct vtd_fn *fn = vtd_fn_alloc(machine, &machine->unit[unit], flags);

	KUNIT_ASSERT_NOT_NULL(test, fn);
	return fn;
}

/**
 * vtd_alias() - let a function use requester IDs beside its own
 * @test: the test
 * @fn: the function, which the driver does not know yet
 * @devfn: the first of its aliases, on its bus
 * @nr: how many there are
 */
void vtd_alias(struct kunit *test, struct vtd_fn *fn, u8 devfn, unsigned int nr)
{
	pci_add_dma_alias(&fn->pci.pdev, devfn, nr);
	KUNIT_ASSERT_NOT_NULL(test, fn->pci.pdev.dma_alias_mask);
}

/**
 * vtd_probe() - the driver is told of a function
 * @fn: the function, of vtd_add_unprobed_fn(), behind a unit that can be found
 *
 * What the driver knows about it is not in &vtd_fn.info.
 *
 * Return: what the driver says.
 */
int vtd_probe(struct vtd_fn *fn)
{
	struct iommu_device *iommu;

	mutex_lock(&iommu_probe_device_lock);
	iommu = intel_iommu_ops.probe_device(&fn->pci.pdev.dev);
	mutex_unlock(&iommu_probe_device_lock);
	if (IS_ERR(iommu)) {
		fn->pci.dev_iommu.priv = NULL;
		return PTR_ERR(iommu);
	}
	fn->pci.dev_iommu.iommu_dev = iommu;
	fn->probed = true;
	return 0;
}

/**
 * vtd_find_unit() - let the driver find a unit for the functions behind it
 * @unit: the unit
 * @find: true: as if ACPI had named it; false: undo that
 *
 * The unit gets a PCI segment of its own, where there is nothing else. In the end it
 * cannot be found any more, whatever the test did.
 */
void vtd_find_unit(struct vtd_unit *unit, bool find)
{
	struct dmar_drhd_unit *drhd = &unit->drhd;

	if (find == unit->found)
		return;
	unit->found = find;
	down_write(&dmar_global_lock);
	if (find) {
		unit->sysdata.domain = VTD_SEGMENT;
		unit->iommu.segment = VTD_SEGMENT;
		unit->iommu.drhd = drhd;
		drhd->segment = VTD_SEGMENT;
		drhd->include_all = 1;
		drhd->iommu = &unit->iommu;
		list_add_tail_rcu(&drhd->list, &dmar_drhd_units);
	} else {
		list_del_rcu(&drhd->list);
	}
	up_write(&dmar_global_lock);
	synchronize_rcu();
}

static void vtd_detach_all(struct vtd_fn *fn)
{
	unsigned int n;

	for (n = 0; n < VTD_PASIDS; n++)
		if (fn->attached[n].domain)
			vtd_remove_pasid(fn, fn->attached[n].pasid);
	vtd_block(fn);
}

/**
 * vtd_release_fn() - the driver is told that a function is gone
 * @fn: the function. Nothing but vtd_exit() may be done with it afterwards, unless it was of
 *	vtd_add_unprobed_fn(): then vtd_probe() may follow
 */
void vtd_release_fn(struct vtd_fn *fn)
{
	struct device_domain_info *info = &fn->info;

	if (fn->probed) {
		vtd_detach_all(fn);
		intel_iommu_ops.release_device(&fn->pci.pdev.dev);
		fn->pci.dev_iommu.priv = NULL;
		fn->probed = false;
	}
	if (!info->dev)
		return;
	vtd_detach_all(fn);
	/* It is off while it is reset. */
	if (fn->pci.pdev.ats_enabled)
		pci_disable_ats(&fn->pci.pdev);
	info->ats_enabled = 0;
	rb_erase(&info->node, &info->iommu->device_rbtree);
	if (info->pasid_table) {
		intel_pasid_teardown_sm_context(info->dev);
		intel_pasid_free_table(info->dev);
	}
	info->dev = NULL;
}

/* --- machines --- */

static void vtd_free_domains(struct vtd_machine *machine)
{
	while (machine->nr_domains)
		iommu_domain_free(machine->domain[--machine->nr_domains]);
}

/* What is still attached is detached without faults of the hardware. */
static void vtd_calm_down(struct vtd_machine *machine)
{
	unsigned int n;

	for (n = 0; n < machine->nr_units; n++) {
		machine->unit[n].before = NULL;
		machine->unit[n].hw.run = vtd_qi;
		kiommu_let_go(&machine->unit[n].hold);
		vtd_queue_error(&machine->unit[n], 0);
		vtd_completion_error(&machine->unit[n], 0);
		vtd_refuse(&machine->unit[n], 0);
	}
	for (n = 0; n < machine->nr_fns; n++)
		kiommu_calm_down(&machine->fn[n]->pci);
}

static void vtd_destroy(struct vtd_machine *machine)
{
	unsigned int n;

	for (n = 0; n < machine->nr_fns; n++)
		vtd_release_fn(machine->fn[n]);
	vtd_free_domains(machine);
	for (n = 0; n < machine->nr_fns; n++)
		kiommu_fn_put(&machine->fn[n]->pci);
	for (n = 0; n < machine->nr_units; n++)
		vtd_unit_destroy(&machine->unit[n]);
	kvfree(machine->unit);
	kfree(machine);
}

static struct vtd_machine *vtd_create(unsigned int nr_units,
				      const struct vtd_caps *caps)
{
	struct vtd_machine *machine = kzalloc(sizeof(*machine), GFP_KERNEL);
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
		if (vtd_unit_init(machine, n, caps ? &caps[n] : NULL)) {
			vtd_destroy(machine);
			return NULL;
		}
	}
	return machine;
}

/**
 * vtd_machine() - make a machine
 * @test: the test; &kunit.priv gets the machine
 * @nr_units: number of units
 * @caps: what each of them can do, NULL: all can do what %VTD_CAP and %VTD_ECAP say
 *
 * Skips the test if scalable mode is switched off.
 *
 * Return: the machine, which lives until vtd_exit().
 */
struct vtd_machine *vtd_machine(struct kunit *test, unsigned int nr_units,
				const struct vtd_caps *caps)
{
	if (!intel_iommu_sm)
		kunit_skip(test, "scalable mode is switched off");
	test->priv = vtd_create(nr_units, caps);
	KUNIT_ASSERT_NOT_NULL(test, test->priv);
	return test->priv;
}

/**
 * vtd_exit() - the end of a machine, &kunit_suite.exit
 * @test: the test
 *
 * Everything is detached and released first. Nothing may have happened that must not, and
 * nothing may be cached that is not in memory.
 */
void vtd_exit(struct kunit *test)
{
	struct vtd_machine *machine = test->priv;
	unsigned int n;

	if (!machine)
		return;
	kiommu_end(&machine->k);
	test->priv = NULL;
	vtd_audit(machine);
	vtd_calm_down(machine);
	for (n = 0; n < machine->nr_fns; n++)
		if (machine->fn[n]->info.dev || machine->fn[n]->probed)
			vtd_detach_all(machine->fn[n]);
	vtd_audit(machine);
	for (n = 0; n < machine->nr_fns; n++) {
		vtd_release_fn(machine->fn[n]);
		vtd_audit_released(machine->fn[n]);
	}
	vtd_audit(machine);
	kiommu_expect_complaints(test, &machine->k, 0);
	vtd_destroy(machine);
}

/* --- domains --- */

static bool vtd_keep(struct vtd_machine *machine, struct iommu_domain *domain)
{
	if (machine->nr_domains == VTD_DOMAINS) {
		iommu_domain_free(domain);
		return false;
	}
	machine->domain[machine->nr_domains++] = domain;
	return true;
}

static struct iommu_domain *vtd_alloc_paging(struct vtd_machine *machine,
					     struct vtd_fn *fn, unsigned int flags)
{
	u32 user_flags = 0;
	struct iommu_domain *domain;

	if (flags & VTD_PARENT)
		user_flags |= IOMMU_HWPT_ALLOC_NEST_PARENT;
	if (flags & VTD_DIRTY)
		user_flags |= IOMMU_HWPT_ALLOC_DIRTY_TRACKING;
	domain = intel_iommu_ops.domain_alloc_user(&fn->pci.pdev.dev, user_flags,
						   NULL, NULL);
	if (IS_ERR(domain))
		return NULL;
	if (flags & VTD_FIRST_LEVEL)
		to_dmar_domain(domain)->use_first_level = true;
	return vtd_keep(machine, domain) ? domain : NULL;
}

/**
 * vtd_paging() - a domain with a page table of its own
 * @test: the test
 * @fn: a function that it is for
 * @flags: %VTD_FIRST_LEVEL, %VTD_PARENT, %VTD_DIRTY
 *
 * Return: the domain, which lives until the end of the test.
 */
struct iommu_domain *vtd_paging(struct kunit *test, struct vtd_fn *fn,
				unsigned int flags)
{
	struct iommu_domain *domain = vtd_alloc_paging(test->priv, fn, flags);

	KUNIT_ASSERT_NOT_NULL(test, domain);
	return domain;
}

/**
 * vtd_sva() - a domain of a process
 * @test: the test
 * @fn: a function that it is for
 * @mm: the process's mm
 *
 * The core's part is as in iommu_sva_domain_alloc().
 *
 * Return: the domain, which lives until the end of the test.
 */
struct iommu_domain *vtd_sva(struct kunit *test, struct vtd_fn *fn,
			     struct mm_struct *mm)
{
	struct iommu_domain *domain;

	domain = intel_iommu_ops.domain_alloc_sva(&fn->pci.pdev.dev, mm);
	KUNIT_ASSERT_NOT_ERR_OR_NULL(test, domain);
	domain->type = IOMMU_DOMAIN_SVA;
	mmgrab(mm);
	domain->mm = mm;
	domain->owner = &intel_iommu_ops;
	KUNIT_ASSERT_TRUE(test, vtd_keep(test->priv, domain));
	return domain;
}

/* A copy that the driver can read as a user's */
static void __user *vtd_to_user(struct kunit *test, const void *data, size_t size)
{
	unsigned long addr;

	addr = kunit_vm_mmap(test, NULL, 0, PAGE_SIZE, PROT_READ | PROT_WRITE,
			     MAP_ANONYMOUS | MAP_PRIVATE, 0);
	KUNIT_ASSERT_NE(test, 0, addr);
	KUNIT_ASSERT_EQ(test, 0, copy_to_user((void __user *)addr, data, size));
	return (void __user *)addr;
}

/**
 * vtd_nested_alloc() - try to get a domain that is nested on another
 * @test: the test
 * @fn: a function that it is for
 * @parent: the other, a %VTD_PARENT
 * @s1: what user space says about it
 *
 * Return: the domain, which lives until the end of the test, or an error.
 */
struct iommu_domain *
vtd_nested_alloc(struct kunit *test, struct vtd_fn *fn,
		 struct iommu_domain *parent, const struct iommu_hwpt_vtd_s1 *s1)
{
	const struct iommu_user_data data = {
		.type = IOMMU_HWPT_DATA_VTD_S1,
		.uptr = vtd_to_user(test, s1, sizeof(*s1)),
		.len = sizeof(*s1),
	};
	struct iommu_domain *domain;

	domain = intel_iommu_ops.domain_alloc_user(&fn->pci.pdev.dev, 0, parent,
						   &data);
	if (!IS_ERR(domain))
		KUNIT_ASSERT_TRUE(test, vtd_keep(test->priv, domain));
	return domain;
}

/**
 * vtd_nested() - a domain that is nested on another
 * @test: the test
 * @fn: a function that it is for
 * @parent: the other, a %VTD_PARENT
 *
 * Return: the domain, which lives until the end of the test.
 */
struct iommu_domain *vtd_nested(struct kunit *test, struct vtd_fn *fn,
				struct iommu_domain *parent)
{
	static const struct iommu_hwpt_vtd_s1 s1 = {
		.pgtbl_addr = SZ_1M,
		.addr_width = ADDR_WIDTH_4LEVEL,
	};
	struct iommu_domain *domain = vtd_nested_alloc(test, fn, parent, &s1);

	KUNIT_ASSERT_NOT_ERR_OR_NULL(test, domain);
	return domain;
}

/**
 * vtd_invalidate_user() - user space has changed a nested domain's page table
 * @test: the test
 * @domain: the domain
 * @addr: where
 * @npages: how much of it
 * @processed: of the one request, how many have been executed
 *
 * Return: what the driver says.
 */
int vtd_invalidate_user(struct kunit *test, struct iommu_domain *domain,
			u64 addr, u64 npages, u32 *processed)
{
	const struct iommu_hwpt_vtd_s1_invalidate inv = {
		.addr = addr,
		.npages = npages,
	};
	struct iommu_user_data_array array = {
		.type = IOMMU_HWPT_INVALIDATE_DATA_VTD_S1,
		.uptr = vtd_to_user(test, &inv, sizeof(inv)),
		.entry_len = sizeof(inv),
		.entry_num = 1,
	};
	int ret = domain->ops->cache_invalidate_user(domain, &array);

	*processed = array.entry_num;
	return ret;
}

/* --- attaching --- */

/**
 * vtd_attach() - attach a function's RID to a domain
 * @fn: the function
 * @domain: the domain
 *
 * Return: what the driver says.
 */
int vtd_attach(struct vtd_fn *fn, struct iommu_domain *domain)
{
	return domain->ops->attach_dev(domain, &fn->pci.pdev.dev);
}

/**
 * vtd_block() - detach a function's RID
 * @fn: the function
 */
void vtd_block(struct vtd_fn *fn)
{
	struct iommu_domain *blocked = intel_iommu_ops.blocked_domain;

	blocked->ops->attach_dev(blocked, &fn->pci.pdev.dev);
}

/**
 * vtd_set_pasid() - attach a PASID of a function to a domain
 * @fn: the function
 * @pasid: PASID, not attached
 * @domain: the domain
 *
 * Return: what the driver says.
 */
int vtd_set_pasid(struct vtd_fn *fn, u32 pasid, struct iommu_domain *domain)
{
	unsigned int n;
	int ret;

	for (n = 0; fn->attached[n].domain; n++)
		if (n == VTD_PASIDS - 1)
			return -ENOSPC;
	ret = domain->ops->set_dev_pasid(domain, &fn->pci.pdev.dev, pasid, NULL);
	if (ret)
		return ret;
	fn->attached[n].pasid = pasid;
	fn->attached[n].domain = domain;
	return 0;
}

/**
 * vtd_remove_pasid() - detach a PASID of a function
 * @fn: the function
 * @pasid: PASID, attached
 */
void vtd_remove_pasid(struct vtd_fn *fn, u32 pasid)
{
	struct iommu_domain *domain;
	unsigned int n;

	for (n = 0; n < VTD_PASIDS; n++) {
		domain = fn->attached[n].domain;
		if (!domain || fn->attached[n].pasid != pasid)
			continue;
		intel_iommu_ops.remove_dev_pasid(&fn->pci.pdev.dev, pasid, domain);
		fn->attached[n].domain = NULL;
		return;
	}
}

/* --- page tables --- */

static void vtd_map_pages(struct kunit *test, struct iommu_domain *domain,
			  u64 iova, size_t pgsize, unsigned int pages)
{
	size_t mapped = 0;
	int ret;

	ret = domain->ops->map_pages(domain, iova, VTD_PA(iova), pgsize, pages,
				     IOMMU_READ | IOMMU_WRITE, GFP_KERNEL,
				     &mapped);
	KUNIT_ASSERT_EQ(test, 0, ret);
	KUNIT_ASSERT_EQ(test, pgsize * pages, mapped);
}

/**
 * vtd_map() - map pages of a paging domain, and sync nothing
 * @test: the test
 * @domain: the domain
 * @iova: where; %VTD_PA says to what
 * @pages: how many
 */
void vtd_map(struct kunit *test, struct iommu_domain *domain, u64 iova,
	     unsigned int pages)
{
	vtd_map_pages(test, domain, iova, SZ_4K, pages);
}

/**
 * vtd_map_size() - map one large page of a paging domain, and sync nothing
 * @test: the test
 * @domain: the domain
 * @iova: where; %VTD_PA says to what
 * @pgsize: its size
 */
void vtd_map_size(struct kunit *test, struct iommu_domain *domain, u64 iova,
		  size_t pgsize)
{
	vtd_map_pages(test, domain, iova, pgsize, 1);
}

/**
 * vtd_sync_map() - tell units about new mappings
 * @domain: the domain
 * @iova: where
 * @pages: how many
 */
void vtd_sync_map(struct iommu_domain *domain, u64 iova, unsigned int pages)
{
	domain->ops->iotlb_sync_map(domain, iova, pages * SZ_4K);
}

/**
 * vtd_unmap() - unmap pages of a paging domain
 * @domain: the domain
 * @iova: where
 * @pages: how many
 *
 * Context: any. After that nobody may have access to them any more.
 */
void vtd_unmap(struct iommu_domain *domain, u64 iova, unsigned int pages)
{
	struct iommu_iotlb_gather gather;

	iommu_iotlb_gather_init(&gather);
	domain->ops->unmap_pages(domain, iova, SZ_4K, pages, &gather);
	domain->ops->iotlb_sync(domain, &gather);
}

/**
 * vtd_flush_all() - flush all that is cached of a paging domain
 * @domain: the domain
 *
 * Context: any.
 */
void vtd_flush_all(struct iommu_domain *domain)
{
	domain->ops->flush_iotlb_all(domain);
}

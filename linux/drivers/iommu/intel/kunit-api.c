// SPDX-License-Identifier: GPL-2.0-only
/*
 * KUnit tests of what the VT-d driver answers to the core
 *
 * What it refuses, with which error, and what it can do, for units that can and units that
 * cannot. A refusal changes nothing.
 */
#include <kunit/test.h>
#include <linux/iommu.h>
#include <linux/mm.h>
#include <linux/mman.h>
#include <linux/uaccess.h>
#include <uapi/linux/iommufd.h>

#include "kunit-left.h"

#define PASID	5
#define OTHER	6
#define IOVA	0x10000

static void expect_access(struct kunit *test, struct vtd_fn *fn, u32 pasid, u64 iova,
			  int ret)
{
	u64 pa;

	KUNIT_EXPECT_EQ(test, ret, vtd_access(fn, pasid, iova, &pa));
}

static struct vtd_fn *one_fn(struct kunit *test, u64 cap, u64 ecap, unsigned int flags)
{
	const struct vtd_caps caps = { cap, ecap };

	vtd_machine(test, 1, &caps);
	return vtd_add_fn(test, 0, flags);
}

static int set_pasid(struct vtd_fn *fn, u32 pasid, struct iommu_domain *domain)
{
	return domain->ops->set_dev_pasid(domain, &fn->pci.pdev.dev, pasid, NULL);
}

/* --- what a unit can do --- */

static void expect_capable(struct kunit *test, u64 ecap, enum iommu_cap cap, bool capable)
{
	struct vtd_fn *fn = one_fn(test, VTD_CAP, ecap, 0);

	KUNIT_EXPECT_EQ(test, capable, intel_iommu_ops.capable(&fn->pci.pdev.dev, cap));
	vtd_exit(test);
}

static void capabilities(struct kunit *test)
{
	expect_capable(test, VTD_ECAP, IOMMU_CAP_CACHE_COHERENCY, true);
	expect_capable(test, VTD_ECAP, IOMMU_CAP_DEFERRED_FLUSH, true);
	expect_capable(test, VTD_ECAP, IOMMU_CAP_ENFORCE_CACHE_COHERENCY, true);
	expect_capable(test, VTD_ECAP & ~VTD_ECAP_SC, IOMMU_CAP_ENFORCE_CACHE_COHERENCY, false);
	expect_capable(test, VTD_ECAP, IOMMU_CAP_DIRTY_TRACKING, true);
	expect_capable(test, VTD_ECAP & ~VTD_ECAP_SLADS, IOMMU_CAP_DIRTY_TRACKING, false);
	expect_capable(test, VTD_ECAP & ~VTD_ECAP_SMTS, IOMMU_CAP_DIRTY_TRACKING, false);
	expect_capable(test, VTD_ECAP, IOMMU_CAP_NOEXEC, false);
}

static void hardware_is_shown(struct kunit *test)
{
	struct vtd_fn *fn = one_fn(test, VTD_CAP, VTD_ECAP, 0);
	struct iommu_hw_info_vtd *info;
	u32 length, type;

	info = intel_iommu_ops.hw_info(&fn->pci.pdev.dev, &length, &type);
	KUNIT_ASSERT_FALSE(test, IS_ERR(info));
	KUNIT_EXPECT_EQ(test, sizeof(*info), length);
	KUNIT_EXPECT_EQ(test, IOMMU_HW_INFO_TYPE_INTEL_VTD, type);
	KUNIT_EXPECT_EQ(test, VTD_CAP, info->cap_reg);
	KUNIT_EXPECT_EQ(test, VTD_ECAP, info->ecap_reg);
	KUNIT_EXPECT_EQ(test, IOMMU_HW_INFO_VTD_ERRATA_772415_SPR17, info->flags);
	kfree(info);
}

/* Without pass-through, there is no identity. */
static void default_domains(struct kunit *test)
{
	struct vtd_fn *fn = one_fn(test, VTD_CAP, VTD_ECAP, 0);
	struct device *dev = &fn->pci.pdev.dev;

	KUNIT_EXPECT_EQ(test, IOMMU_DOMAIN_DMA, intel_iommu_ops.def_domain_type(dev));
	fn->unit->iommu.ecap |= BIT_ULL(6);
	KUNIT_EXPECT_EQ(test, 0, intel_iommu_ops.def_domain_type(dev));
	fn->unit->iommu.ecap &= ~BIT_ULL(6);
}

static bool sva_capable(struct kunit *test, u64 cap, u64 ecap)
{
	struct vtd_fn *fn = one_fn(test, cap, ecap, 0);
	bool capable = fn->unit->iommu.flags & VTD_FLAG_SVM_CAPABLE;

	vtd_exit(test);
	return capable;
}

static void units_for_sva(struct kunit *test)
{
	KUNIT_EXPECT_TRUE(test, sva_capable(test, VTD_CAP, VTD_ECAP));
	KUNIT_EXPECT_FALSE(test, sva_capable(test, VTD_CAP, VTD_ECAP & ~VTD_ECAP_SMPWC));
	KUNIT_EXPECT_FALSE(test, sva_capable(test, VTD_CAP, VTD_ECAP & ~VTD_ECAP_PASID));
	KUNIT_EXPECT_FALSE(test, sva_capable(test, VTD_CAP, VTD_ECAP & ~VTD_ECAP_SMTS));
	KUNIT_EXPECT_EQ(test, !cpu_feature_enabled(X86_FEATURE_GBPAGES),
			sva_capable(test, VTD_CAP & ~BIT_ULL(56), VTD_ECAP));
	KUNIT_EXPECT_EQ(test, !cpu_feature_enabled(X86_FEATURE_LA57),
			sva_capable(test, VTD_CAP & ~BIT_ULL(60), VTD_ECAP));
}

/* --- which domains can be had --- */

static long alloc(struct vtd_fn *fn, u32 flags, struct iommu_domain *parent,
		  const struct iommu_user_data *data)
{
	struct iommu_domain *domain;

	domain = intel_iommu_ops.domain_alloc_user(&fn->pci.pdev.dev, flags, parent, data);
	if (IS_ERR(domain))
		return PTR_ERR(domain);
	domain->ops->free(domain);
	return 0;
}

#define PARENT	IOMMU_HWPT_ALLOC_NEST_PARENT
#define DIRTY	IOMMU_HWPT_ALLOC_DIRTY_TRACKING

static void domains_that_are_refused(struct kunit *test)
{
	struct iommu_user_data data = { .type = IOMMU_HWPT_DATA_VTD_S1 };
	struct iommu_hwpt_vtd_s1 s1 = { .addr_width = ADDR_WIDTH_4LEVEL };
	struct vtd_fn *fn = one_fn(test, VTD_CAP, VTD_ECAP, 0);
	struct intel_iommu *iommu = &fn->unit->iommu;
	struct iommu_domain *parent, *plain;

	KUNIT_EXPECT_EQ(test, 0, alloc(fn, 0, NULL, NULL));
	KUNIT_EXPECT_EQ(test, 0, alloc(fn, PARENT, NULL, NULL));
	KUNIT_EXPECT_EQ(test, 0, alloc(fn, DIRTY, NULL, NULL));
	KUNIT_EXPECT_EQ(test, 0, alloc(fn, PARENT | DIRTY, NULL, NULL));
	KUNIT_EXPECT_EQ(test, -EOPNOTSUPP, alloc(fn, IOMMU_HWPT_FAULT_ID_VALID, NULL, NULL));
	KUNIT_EXPECT_EQ(test, -EOPNOTSUPP, alloc(fn, PARENT | BIT(31), NULL, NULL));
	KUNIT_EXPECT_EQ(test, -EOPNOTSUPP, alloc(fn, 0, NULL, &data));
	iommu->ecap &= ~VTD_ECAP_SLADS;
	KUNIT_EXPECT_EQ(test, -EOPNOTSUPP, alloc(fn, DIRTY, NULL, NULL));
	KUNIT_EXPECT_EQ(test, 0, alloc(fn, PARENT, NULL, NULL));
	iommu->ecap |= VTD_ECAP_SLADS;

	parent = vtd_paging(test, fn, VTD_PARENT);
	plain = vtd_paging(test, fn, 0);
	KUNIT_EXPECT_EQ(test, 0, PTR_ERR_OR_ZERO(vtd_nested_alloc(test, fn, parent, &s1)));
	KUNIT_EXPECT_EQ(test, -EINVAL, PTR_ERR_OR_ZERO(vtd_nested_alloc(test, fn, plain, &s1)));
	KUNIT_EXPECT_EQ(test, -EOPNOTSUPP, alloc(fn, DIRTY, parent, &data));
	KUNIT_EXPECT_EQ(test, -EOPNOTSUPP, alloc(fn, PARENT, parent, &data));
	data.type = IOMMU_HWPT_DATA_NONE;
	KUNIT_EXPECT_EQ(test, -EOPNOTSUPP, alloc(fn, 0, parent, &data));
	iommu->ecap &= ~VTD_ECAP_NEST;
	KUNIT_EXPECT_EQ(test, -EOPNOTSUPP, alloc(fn, PARENT, NULL, NULL));
	KUNIT_EXPECT_EQ(test, -EOPNOTSUPP,
			PTR_ERR_OR_ZERO(vtd_nested_alloc(test, fn, parent, &s1)));
	KUNIT_EXPECT_EQ(test, 0, alloc(fn, 0, NULL, NULL));
	iommu->ecap |= VTD_ECAP_NEST;

	/* The last page that the parent can have, and the first beyond */
	s1.pgtbl_addr = BIT_ULL(48) - SZ_4K;
	KUNIT_EXPECT_EQ(test, 0, PTR_ERR_OR_ZERO(vtd_nested_alloc(test, fn, parent, &s1)));
	s1.pgtbl_addr = BIT_ULL(48);
	KUNIT_EXPECT_EQ(test, -EINVAL, PTR_ERR_OR_ZERO(vtd_nested_alloc(test, fn, parent, &s1)));
	s1.pgtbl_addr = SZ_4K / 2;
	KUNIT_EXPECT_EQ(test, -EINVAL, PTR_ERR_OR_ZERO(vtd_nested_alloc(test, fn, parent, &s1)));
	KUNIT_EXPECT_NULL(test, intel_iommu_ops.domain_alloc(IOMMU_DOMAIN_SVA));
	KUNIT_EXPECT_NULL(test, intel_iommu_ops.domain_alloc(IOMMU_DOMAIN_BLOCKED));
}

/* --- which attachments can be had --- */

static void expect_refused(struct kunit *test, struct vtd_fn *fn, int ret,
			   struct iommu_domain *process)
{
	struct iommu_domain *identity = intel_iommu_ops.identity_domain;
	struct iommu_domain *domain = vtd_paging(test, fn, 0);
	struct vtd_left left;

	vtd_left(test->priv, &left);
	KUNIT_EXPECT_EQ(test, ret, set_pasid(fn, PASID, domain));
	KUNIT_EXPECT_EQ(test, ret, set_pasid(fn, PASID, process));
	if (ret == -EOPNOTSUPP)
		KUNIT_EXPECT_EQ(test, ret, set_pasid(fn, PASID, identity));
	vtd_expect_left(test, &left, "refused", 0);
}

static void pasids_that_are_refused(struct kunit *test)
{
	struct vtd_fn *fn = one_fn(test, VTD_CAP, VTD_ECAP, KIOMMU_ATS | KIOMMU_PASID);
	struct intel_iommu *iommu = &fn->unit->iommu;
	struct mm_struct *mm = kiommu_mm(test);
	struct iommu_domain *process = vtd_sva(test, fn, mm);

	iommu->ecap &= ~VTD_ECAP_PASID;
	expect_refused(test, fn, -EOPNOTSUPP, process);
	iommu->ecap |= VTD_ECAP_PASID;
	set_context_copied(iommu, fn->info.bus, fn->info.devfn);
	KUNIT_EXPECT_EQ(test, -EBUSY, set_pasid(fn, PASID, process));
	KUNIT_EXPECT_EQ(test, -EBUSY, set_pasid(fn, PASID, vtd_paging(test, fn, 0)));
	clear_context_copied(iommu, fn->info.bus, fn->info.devfn);
	KUNIT_EXPECT_EQ(test, 0, vtd_set_pasid(fn, PASID, process));
	kiommu_mm_exit(mm);
}

/* A unit that has one level of translation only */
static void levels_that_are_refused(struct kunit *test)
{
	struct vtd_fn *fn = one_fn(test, VTD_CAP, VTD_ECAP, KIOMMU_ATS | KIOMMU_PASID);
	struct intel_iommu *iommu = &fn->unit->iommu;
	struct iommu_domain *first, *second;
	struct vtd_left left;

	first = vtd_paging(test, fn, VTD_FIRST_LEVEL);
	second = vtd_paging(test, fn, 0);
	vtd_left(test->priv, &left);
	iommu->ecap &= ~VTD_ECAP_FLTS;
	KUNIT_EXPECT_EQ(test, -EINVAL, set_pasid(fn, PASID, first));
	KUNIT_EXPECT_EQ(test, -EINVAL, vtd_attach(fn, first));
	vtd_expect_left(test, &left, "no first level", 0);
	KUNIT_EXPECT_EQ(test, 0, vtd_attach(fn, second));
	vtd_block(fn);
	iommu->ecap |= VTD_ECAP_FLTS;
	iommu->ecap &= ~VTD_ECAP_SLTS;
	KUNIT_EXPECT_EQ(test, -EINVAL, set_pasid(fn, PASID, second));
	KUNIT_EXPECT_EQ(test, -EINVAL, vtd_attach(fn, second));
	vtd_expect_left(test, &left, "no second level", 0);
	KUNIT_EXPECT_EQ(test, 0, vtd_attach(fn, first));
	vtd_block(fn);
	iommu->ecap |= VTD_ECAP_SLTS;
}

/* The function refuses to have ATS switched on: nobody is to ask it, now or later. */
static void ats_cannot_be_switched_on(struct kunit *test, u64 ecap, unsigned int flags)
{
	struct vtd_fn *fn = one_fn(test, VTD_CAP, ecap, KIOMMU_ATS | KIOMMU_PASID);
	bool scalable = ecap & VTD_ECAP_SMTS;
	struct iommu_domain *domain, *parent = NULL;
	struct vtd_left left;

	if (flags & VTD_PARENT)
		parent = vtd_paging(test, fn, VTD_PARENT);
	domain = parent ? vtd_nested(test, fn, parent) : vtd_paging(test, fn, flags);
	if (!parent)
		vtd_map(test, domain, IOVA, 1);
	fn->pci.pdev.untrusted = 1;
	KUNIT_EXPECT_EQ(test, 0, vtd_attach(fn, domain));
	KUNIT_EXPECT_FALSE(test, kiommu_ats(&fn->pci));
	KUNIT_EXPECT_FALSE(test, fn->info.ats_enabled);
	KUNIT_EXPECT_EQ(test, scalable, !!fn->info.ats_refused);
	vtd_left(test->priv, &left);
	KUNIT_EXPECT_EQ(test, parent ? 2 : 1, left.elms);
	vtd_clear_log(test->priv);
	vtd_flush_all(parent ?: domain);
	KUNIT_EXPECT_EQ(test, 0, vtd_count(fn->unit, QI_DIOTLB_TYPE));
	fn->pci.pdev.untrusted = 0;
	if (scalable && !parent) {
		KUNIT_EXPECT_EQ(test, 0, vtd_set_pasid(fn, PASID, domain));
		KUNIT_EXPECT_FALSE(test, kiommu_ats(&fn->pci));
		vtd_remove_pasid(fn, PASID);
	}
	vtd_block(fn);
	vtd_left(test->priv, &left);
	KUNIT_EXPECT_EQ(test, 0, left.elms);
	KUNIT_EXPECT_EQ(test, 0, vtd_count(fn->unit, QI_DIOTLB_TYPE));
	KUNIT_EXPECT_EQ(test, 0, vtd_attach(fn, domain));
	KUNIT_EXPECT_EQ(test, !scalable, kiommu_ats(&fn->pci));
}

static void ats_is_refused(struct kunit *test)
{
	ats_cannot_be_switched_on(test, VTD_ECAP, 0);
	vtd_exit(test);
	ats_cannot_be_switched_on(test, VTD_ECAP, VTD_FIRST_LEVEL);
	vtd_exit(test);
	ats_cannot_be_switched_on(test, VTD_ECAP, VTD_PARENT);
	vtd_exit(test);
	ats_cannot_be_switched_on(test, VTD_ECAP & ~(VTD_ECAP_SMTS | VTD_ECAP_PASID), 0);
}

/* --- detach --- */

static bool is_present(struct vtd_fn *fn, u32 pasid)
{
	return pasid_pte_is_present(vtd_entry(fn, pasid));
}

/* Two functions have a domain, each of them three times. */
static void right_one_is_detached(struct kunit *test)
{
	static const u32 pasids[] = { IOMMU_NO_PASID, PASID, OTHER };
	struct iommu_domain *domain;
	struct vtd_machine *machine;
	unsigned int n, m, gone;
	struct vtd_fn *fn;

	one_fn(test, VTD_CAP, VTD_ECAP, KIOMMU_ATS | KIOMMU_PASID);
	vtd_add_fn(test, 0, KIOMMU_ATS | KIOMMU_PASID);
	machine = test->priv;
	domain = vtd_paging(test, machine->fn[0], 0);
	for (gone = 0; gone < 6; gone++) {
		for (n = 0; n < 6; n++) {
			fn = machine->fn[n / 3];
			KUNIT_ASSERT_EQ(test, 0, pasids[n % 3] ?
					vtd_set_pasid(fn, pasids[n % 3], domain) :
					vtd_attach(fn, domain));
		}
		for (n = 0; n < 6; n++) {
			m = (gone + n) % 6;
			fn = machine->fn[m / 3];
			if (pasids[m % 3])
				vtd_remove_pasid(fn, pasids[m % 3]);
			else
				vtd_block(fn);
			for (m = 0; m < 6; m++)
				KUNIT_EXPECT_EQ(test, (m + 6 - gone) % 6 > n,
						is_present(machine->fn[m / 3], pasids[m % 3]));
		}
	}
}

/* A device that joined its group after the attach never had it. */
static void nothing_is_detached(struct kunit *test)
{
	struct vtd_fn *fn = one_fn(test, VTD_CAP, VTD_ECAP, KIOMMU_ATS | KIOMMU_PASID);
	struct vtd_fn *late = vtd_add_fn(test, 0, KIOMMU_ATS | KIOMMU_PASID);
	struct iommu_domain *domain = vtd_paging(test, fn, 0);
	struct vtd_left left;

	KUNIT_ASSERT_EQ(test, 0, vtd_set_pasid(fn, PASID, domain));
	vtd_left(test->priv, &left);
	vtd_clear_log(test->priv);
	intel_iommu_ops.remove_dev_pasid(&late->pci.pdev.dev, PASID, domain);
	intel_iommu_ops.remove_dev_pasid(&fn->pci.pdev.dev, OTHER, domain);
	vtd_block(late);
	vtd_block(fn);
	KUNIT_EXPECT_EQ(test, 0, fn->unit->nr_logged);
	vtd_expect_left(test, &left, "nothing is detached", 0);
	KUNIT_EXPECT_TRUE(test, is_present(fn, PASID));
}

/* Tables come from where the first function of a domain is. */
static void domain_has_node(struct kunit *test)
{
	struct vtd_fn *fn = one_fn(test, VTD_CAP, VTD_ECAP, KIOMMU_PASID);
	struct iommu_domain *domain = vtd_paging(test, fn, 0);

	KUNIT_EXPECT_EQ(test, NUMA_NO_NODE, to_dmar_domain(domain)->nid);
	set_dev_node(&fn->pci.pdev.dev, 0);
	KUNIT_ASSERT_EQ(test, 0, vtd_attach(fn, domain));
	KUNIT_EXPECT_EQ(test, dev_to_node(&fn->pci.pdev.dev), to_dmar_domain(domain)->nid);
	vtd_block(fn);
	set_dev_node(&fn->pci.pdev.dev, NUMA_NO_NODE);
	KUNIT_ASSERT_EQ(test, 0, vtd_attach(fn, domain));
	domain = vtd_paging(test, fn, 0);
	KUNIT_EXPECT_EQ(test, NUMA_NO_NODE, to_dmar_domain(domain)->nid);
}

/* --- the tree of functions, in which page requests look for them --- */

static struct device *find(struct vtd_fn *fn)
{
	return device_rbtree_find(&fn->unit->iommu, pci_dev_id(&fn->pci.pdev));
}

/* Whichever of them goes first, the others stay. */
static void functions_are_found(struct kunit *test)
{
	struct vtd_fn *known = one_fn(test, VTD_CAP, VTD_ECAP, KIOMMU_ATS);
	struct vtd_fn *fn[5];
	unsigned int n, m, gone;

	for (n = 0; n < 5; n++)
		fn[n] = vtd_add_unprobed_fn(test, 0, KIOMMU_ATS);
	vtd_find_unit(known->unit, true);
	for (gone = 0; gone < 5; gone++) {
		for (n = 0; n < 5; n++)
			KUNIT_ASSERT_EQ(test, 0, vtd_probe(fn[n]));
		for (n = 0; n < 5; n++) {
			vtd_release_fn(fn[(gone + n) % 5]);
			for (m = 0; m < 5; m++)
				KUNIT_EXPECT_PTR_EQ(test, (m + 5 - gone) % 5 > n ?
						    &fn[m]->pci.pdev.dev : NULL, find(fn[m]));
			KUNIT_EXPECT_PTR_EQ(test, &known->pci.pdev.dev, find(known));
		}
	}
}

/* --- invalidations of user space --- */

static int invalidate(struct kunit *test, struct iommu_domain *nested,
		      const struct iommu_hwpt_vtd_s1_invalidate *inv, unsigned int nr,
		      u32 type, unsigned int *done)
{
	struct iommu_user_data_array array = {
		.type = type,
		.entry_len = sizeof(*inv),
		.entry_num = nr,
	};
	unsigned long addr;
	int ret;

	addr = kunit_vm_mmap(test, NULL, 0, PAGE_SIZE, PROT_READ | PROT_WRITE,
			     MAP_ANONYMOUS | MAP_PRIVATE, 0);
	KUNIT_ASSERT_NE(test, 0, addr);
	array.uptr = (void __user *)addr;
	KUNIT_ASSERT_EQ(test, 0, copy_to_user(array.uptr, inv, nr * sizeof(*inv)));
	vtd_clear_log(test->priv);
	ret = nested->ops->cache_invalidate_user(nested, &array);
	*done = array.entry_num;
	return ret;
}

/* Those before the bad one are executed, and user space is told how many. */
static void user_invalidates_several(struct kunit *test)
{
	static const struct iommu_hwpt_vtd_s1_invalidate bad[] = {
		{ .addr = SZ_4K, .npages = 0 },
		{ .addr = SZ_4K + 1, .npages = 1 },
		{ .addr = SZ_4K, .npages = U64_MAX },
		{ .addr = SZ_4K, .npages = 1, .flags = BIT(1) },
		{ .addr = SZ_4K, .npages = 1, .flags = BIT(31) },
		{ .addr = SZ_4K, .npages = 1, .__reserved = 1 },
		{ .addr = -(u64)SZ_4K, .npages = 2 },
	};
	struct vtd_fn *fn = one_fn(test, VTD_CAP, VTD_ECAP, KIOMMU_ATS);
	struct iommu_domain *nested = vtd_nested(test, fn, vtd_paging(test, fn, VTD_PARENT));
	struct iommu_hwpt_vtd_s1_invalidate inv[4] = {
		{ .addr = SZ_4K, .npages = 1, .flags = IOMMU_VTD_INV_FLAGS_LEAF },
		{ .addr = SZ_2M, .npages = 512 },
		{ .npages = U64_MAX },
		{ .addr = -(u64)SZ_4K, .npages = 1 },
	};
	unsigned int n, m, done;

	KUNIT_ASSERT_EQ(test, 0, vtd_attach(fn, nested));
	KUNIT_EXPECT_EQ(test, 0, invalidate(test, nested, inv, 4,
					    IOMMU_HWPT_INVALIDATE_DATA_VTD_S1, &done));
	KUNIT_EXPECT_EQ(test, 4, done);
	KUNIT_EXPECT_STREQ(test, "piotlb did=2 pasid=0 addr=1000 am=0 ih\n"
			   "devtlb sid=4000 qdep=16 addr=1000 am=0\n"
			   "piotlb did=2 pasid=0 addr=200000 am=9\n"
			   "devtlb sid=4000 qdep=16 addr=200000 am=9\n"
			   "piotlb did=2 pasid=0\n"
			   "devtlb sid=4000 qdep=16 all\n"
			   "piotlb did=2 pasid=0 addr=fffffffffffff000 am=0\n"
			   "devtlb sid=4000 qdep=16 addr=fffffffffffff000 am=0\n",
			   vtd_stream(test, fn->unit, 0));
	for (m = 0; m < 4; m++) {
		for (n = 0; n < ARRAY_SIZE(bad); n++) {
			swap(inv[m], inv[3]);
			inv[m] = bad[n];
			KUNIT_EXPECT_EQ(test, bad[n].flags || bad[n].__reserved ?
					-EOPNOTSUPP : -EINVAL,
					invalidate(test, nested, inv, 4,
						   IOMMU_HWPT_INVALIDATE_DATA_VTD_S1, &done));
			KUNIT_EXPECT_EQ(test, m, done);
			KUNIT_EXPECT_EQ(test, m, vtd_count(fn->unit, QI_EIOTLB_TYPE));
			inv[m] = (struct iommu_hwpt_vtd_s1_invalidate){
				.addr = SZ_4K, .npages = 1,
			};
		}
	}
	KUNIT_EXPECT_EQ(test, -EINVAL, invalidate(test, nested, inv, 4,
						  IOMMU_HWPT_INVALIDATE_DATA_VTD_S1 + 1, &done));
	KUNIT_EXPECT_EQ(test, 0, done);
	KUNIT_EXPECT_EQ(test, 0, invalidate(test, nested, inv, 0,
					    IOMMU_HWPT_INVALIDATE_DATA_VTD_S1, &done));
	KUNIT_EXPECT_EQ(test, 0, fn->unit->nr_logged);
}

/* --- unmap, map --- */

/* Whoever flushes everything later need not know where it was. */
static void unmap_is_queued(struct kunit *test)
{
	struct vtd_fn *fn = one_fn(test, VTD_CAP, VTD_ECAP, KIOMMU_ATS);
	struct iommu_domain *domain = vtd_paging(test, fn, 0);
	struct iommu_iotlb_gather gather;

	KUNIT_ASSERT_EQ(test, 0, vtd_attach(fn, domain));
	vtd_map(test, domain, IOVA, 2);
	vtd_clear_log(test->priv);
	iommu_iotlb_gather_init(&gather);
	gather.queued = true;
	KUNIT_EXPECT_EQ(test, SZ_4K, domain->ops->unmap_pages(domain, IOVA, SZ_4K, 1, &gather));
	KUNIT_EXPECT_EQ(test, 0, gather.end);
	KUNIT_EXPECT_EQ(test, 0, fn->unit->nr_logged);
	gather.queued = false;
	KUNIT_EXPECT_EQ(test, SZ_4K,
			domain->ops->unmap_pages(domain, IOVA + SZ_4K, SZ_4K, 1, &gather));
	KUNIT_EXPECT_EQ(test, IOVA + SZ_4K, gather.start);
	KUNIT_EXPECT_EQ(test, IOVA + SZ_8K - 1, gather.end);
	domain->ops->iotlb_sync(domain, &gather);
	KUNIT_EXPECT_EQ(test, 1, vtd_count(fn->unit, QI_IOTLB_TYPE));
}

/* Tables that two large pages replace: one flush, of them and of no more */
static void large_pages_replace_tables(struct kunit *test)
{
	struct vtd_fn *fn = one_fn(test, VTD_CAP, VTD_ECAP, KIOMMU_ATS);
	struct iommu_domain *domain = vtd_paging(test, fn, 0);
	unsigned int n;

	KUNIT_ASSERT_EQ(test, 0, vtd_attach(fn, domain));
	for (n = 2; n < 4; n++) {
		vtd_map(test, domain, n * SZ_2M, 1);
		vtd_unmap(domain, n * SZ_2M, 1);
		expect_access(test, fn, IOMMU_NO_PASID, n * SZ_2M, -EFAULT);
	}
	vtd_clear_log(test->priv);
	KUNIT_EXPECT_EQ(test, 0, domain->ops->map_pages(domain, SZ_4M, VTD_PA(SZ_4M), SZ_2M, 2,
							IOMMU_READ, GFP_KERNEL, NULL));
	KUNIT_EXPECT_STREQ(test, "iotlb did=2 addr=400000 am=10\n"
			   "devtlb sid=4000 qdep=16 addr=400000 am=10\n",
			   vtd_stream(test, fn->unit, 0));
	expect_access(test, fn, IOMMU_NO_PASID, SZ_4M, 0);
	expect_access(test, fn, IOMMU_NO_PASID, SZ_8M - 1, 0);
	expect_access(test, fn, IOMMU_NO_PASID, SZ_8M, -EFAULT);
	/* Where there was none, there is nothing to flush. */
	vtd_clear_log(test->priv);
	vtd_map_size(test, domain, SZ_8M, SZ_2M);
	KUNIT_EXPECT_EQ(test, 0, fn->unit->nr_logged);
}

/* --- a unit without a queue --- */

#define IVA_OFFSET	0x200

struct iva {
	struct kiommu_thread thread;
	struct vtd_unit *unit;
	struct q_inval *qi;
	bool stop;
	unsigned int nr;
	u64 addr, cmd;
};

/* The driver panics if it gets no answer, so that there is one to what is not expected. */
static void iva_refuse(struct iva *iva)
{
	void *reg = iva->unit->reg;
	u64 cc = readq(reg + DMAR_CCMD_REG);

	if (cc & DMA_CCMD_ICC) {
		kiommu_complain(iva->unit->bus.k, "context command %llx", cc);
		writeq(cc & ~DMA_CCMD_ICC, reg + DMAR_CCMD_REG);
	}
}

static int iva_run(void *arg)
{
	struct iva *iva = arg;
	void *reg = iva->unit->reg + IVA_OFFSET;
	u64 cmd;

	while (!READ_ONCE(iva->stop)) {
		iva_refuse(iva);
		cmd = readq(reg + 8);
		if (cmd & DMA_TLB_IVT) {
			iva->addr = readq(reg);
			iva->cmd = cmd;
			iva->nr++;
			writeq((cmd & ~DMA_TLB_IVT) | 3ULL << 57, reg + 8);
		}
		cpu_relax();
	}
	return 0;
}

/* Whoever takes the machine apart needs the queue. */
static void iva_end(void *arg)
{
	struct iva *iva = arg;

	WRITE_ONCE(iva->stop, true);
	kiommu_join(&iva->thread);
	iva->unit->iommu.qi = iva->qi;
}

static void expect_iva(struct kunit *test, struct iva *iva, u64 cmd, u64 addr)
{
	KUNIT_EXPECT_EQ(test, 1, iva->nr);
	KUNIT_EXPECT_EQ(test, cmd | DMA_TLB_IVT | DMA_TLB_DID(2), iva->cmd);
	if (cmd == DMA_TLB_PSI_FLUSH)
		KUNIT_EXPECT_EQ(test, addr, iva->addr);
	iva->nr = 0;
}

static void registers_are_written(struct kunit *test)
{
	struct iommu_domain *domain;
	struct vtd_fn *fn;
	struct iva *iva;

	kiommu_two_cpus(test);
	iva = kunit_kzalloc(test, sizeof(*iva), GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, iva);
	fn = one_fn(test, VTD_CAP, (VTD_ECAP & ~(VTD_ECAP_SMTS | VTD_ECAP_PASID)) |
		    (u64)IVA_OFFSET / 16 << 8, 0);
	domain = vtd_paging(test, fn, 0);
	KUNIT_ASSERT_EQ(test, 0, vtd_attach(fn, domain));
	vtd_map(test, domain, IOVA, 8);
	vtd_clear_log(test->priv);
	iva->unit = fn->unit;
	iva->qi = fn->unit->iommu.qi;
	kiommu_start(test, &iva->thread, iva_run, iva);
	vtd_at_exit(test, iva_end, iva);
	fn->unit->iommu.qi = NULL;

	vtd_unmap(domain, IOVA, 1);
	expect_iva(test, iva, DMA_TLB_PSI_FLUSH, IOVA | DMA_TLB_IH_NONLEAF);
	vtd_unmap(domain, IOVA + 4 * SZ_4K, 4);
	expect_iva(test, iva, DMA_TLB_PSI_FLUSH,
		   (IOVA + 4 * SZ_4K) | DMA_TLB_IH_NONLEAF | 2);
	vtd_flush_all(domain);
	expect_iva(test, iva, DMA_TLB_DSI_FLUSH, 0);
	KUNIT_EXPECT_EQ(test, 0, fn->unit->nr_logged);
}

static struct kunit_case api_cases[] = {
	KUNIT_CASE(capabilities),
	KUNIT_CASE(hardware_is_shown),
	KUNIT_CASE(default_domains),
	KUNIT_CASE(units_for_sva),
	KUNIT_CASE(domains_that_are_refused),
	KUNIT_CASE(pasids_that_are_refused),
	KUNIT_CASE(levels_that_are_refused),
	KUNIT_CASE(ats_is_refused),
	KUNIT_CASE(right_one_is_detached),
	KUNIT_CASE(nothing_is_detached),
	KUNIT_CASE(domain_has_node),
	KUNIT_CASE(functions_are_found),
	KUNIT_CASE(user_invalidates_several),
	KUNIT_CASE(unmap_is_queued),
	KUNIT_CASE(large_pages_replace_tables),
	KUNIT_CASE(registers_are_written),
	{}
};

static struct kunit_suite api_suite = {
	.name = "intel_iommu_api",
	.exit = vtd_exit,
	.test_cases = api_cases,
};

kunit_test_suite(api_suite);

/* SPDX-License-Identifier: GPL-2.0-only */
/* What a machine of kunit-machine.c has in its tables, lists and caches */
#ifndef __INTEL_KUNIT_LEFT_H
#define __INTEL_KUNIT_LEFT_H

#include "kunit-mock.h"

/**
 * struct vtd_left - what there is, of all units, functions and domains
 * @dids: domain IDs that are taken, beside the reserved ones
 * @contexts: context entries that are present
 * @present: PASID table entries that are present
 * @odd: PASID table entries that are not, and in which anything is set but a domain ID
 * @attached: attachments on the lists of domains
 * @nested: attachments on the lists of nested parents
 * @elms: elements on attach lists
 * @pasids: PASID entries that units have cached
 * @iotlb: translations in IOTLBs
 * @atc: translations in ATCs
 */
struct vtd_left {
	unsigned int dids;
	unsigned int contexts;
	unsigned int present;
	unsigned int odd;
	unsigned int attached;
	unsigned int nested;
	unsigned int elms;
	unsigned int pasids;
	unsigned int iotlb;
	unsigned int atc;
};

struct vtd_pasid_cache *vtd_next_cached_pasid(struct vtd_fn *fn,
					      const struct vtd_pasid_cache *pc);

/* What the unit of function @fn has cached of its PASID table: @pc is each of these. */
#define vtd_for_each_cached_pasid(fn, pc)					\
	for ((pc) = vtd_next_cached_pasid(fn, NULL); (pc);			\
	     (pc) = vtd_next_cached_pasid(fn, pc))

void vtd_left(struct vtd_machine *machine, struct vtd_left *left);
void vtd_expect_left(struct kunit *test, const struct vtd_left *expected,
		     const char *when, unsigned int nth);
unsigned int vtd_pasids_cached(struct vtd_fn *fn, u32 pasid);

#endif /* __INTEL_KUNIT_LEFT_H */

/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * 6.12.y took the iommufd selftests' sources from later kernels, but not what
 * they test: they do not compile against their own tree. These names let them,
 * unmodified, and mean what 6.12's kernel does: there is no PASID in its mock
 * device, and the type of hardware information cannot be chosen. The tests of
 * just that fail on the base and are listed in tests/suites.toml.
 */
#ifndef IOMMUFD_SHIM_H
#define IOMMUFD_SHIM_H

#include <linux/iommufd.h>

#ifndef IOMMU_HW_INFO_FLAG_INPUT_TYPE
#define in_data_type			out_data_type
#define IOMMU_HW_INFO_TYPE_DEFAULT	IOMMU_HW_INFO_TYPE_NONE
#define IOMMU_HW_INFO_FLAG_INPUT_TYPE	(1 << 0)
#define MOCK_FLAGS_DEVICE_PASID		0
#define MOCK_PASID_WIDTH		0
#endif

#endif

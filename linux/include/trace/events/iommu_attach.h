/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Where domains are attached, and their invalidations
 */
#undef TRACE_SYSTEM
#define TRACE_SYSTEM iommu_attach

#if !defined(_TRACE_IOMMU_ATTACH_H) || defined(TRACE_HEADER_MULTI_READ)
#define _TRACE_IOMMU_ATTACH_H

#include <linux/iommu.h>
#include <linux/iommu-attach.h>
#include <linux/tracepoint.h>

DECLARE_EVENT_CLASS(iommu_alist_elm,
	TP_PROTO(const struct iommu_alist *list,
		 const struct iommu_alist_elm *elm),
	TP_ARGS(list, elm),

	TP_STRUCT__entry(
		__field(const void *, list)
		__string(iommu, elm->iommu->dev ? dev_name(elm->iommu->dev) : "-")
		__field(bool, atc)
		__field(u32, id)
		__field(u32, pasid)
	),

	TP_fast_assign(
		__entry->list = list;
		__assign_str(iommu);
		__entry->atc = elm->kind == IOMMU_ALIST_ATC;
		__entry->id = elm->id;
		__entry->pasid = elm->pasid;
	),

	TP_printk("list=%p iommu=%s %s=%#x pasid=%u", __entry->list,
		  __get_str(iommu), __entry->atc ? "requester" : "tag",
		  __entry->id, __entry->pasid)
);

DEFINE_EVENT(iommu_alist_elm, iommu_alist_publish,
	TP_PROTO(const struct iommu_alist *list,
		 const struct iommu_alist_elm *elm),
	TP_ARGS(list, elm)
);

DEFINE_EVENT(iommu_alist_elm, iommu_alist_unpublish,
	TP_PROTO(const struct iommu_alist *list,
		 const struct iommu_alist_elm *elm),
	TP_ARGS(list, elm)
);

TRACE_EVENT(iommu_alist_walk,
	TP_PROTO(const struct iommu_alist *list,
		 const struct iommu_alist_walk *walk),
	TP_ARGS(list, walk),

	TP_STRUCT__entry(
		__field(const void *, list)
		__field(unsigned int, kinds)
		__field(unsigned int, syncs)
		__field(int, error)
	),

	TP_fast_assign(
		__entry->list = list;
		__entry->kinds = walk->kinds;
		__entry->syncs = walk->syncs;
		__entry->error = walk->error;
	),

	TP_printk("list=%p%s%s syncs=%u error=%d", __entry->list,
		  __entry->kinds & BIT(IOMMU_ALIST_TAG) ? " tags" : "",
		  __entry->kinds & BIT(IOMMU_ALIST_ATC) ? " atcs" : "",
		  __entry->syncs, __entry->error)
);

#endif /* _TRACE_IOMMU_ATTACH_H */

#include <trace/define_trace.h>

/*
 * SMMUv3: counters, and commands that get lost on purpose
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "hw/arm/smmuv3.h"
#include "hw/pci/pci_sva.h"
#include "smmuv3-internal.h"
#include "trace.h"

PCISVAInvKind smmuv3_cmd_kind(const Cmd *cmd)
{
    switch (CMD_TYPE(cmd)) {
    case SMMU_CMD_CFGI_STE:
    case SMMU_CMD_CFGI_STE_RANGE:
        return PCI_SVA_INV_FUNCTION;
    case SMMU_CMD_CFGI_CD:
    case SMMU_CMD_CFGI_CD_ALL:
        return PCI_SVA_INV_PASID;
    case SMMU_CMD_TLBI_NH_ALL ... SMMU_CMD_TLBI_NH_VAA:
    case SMMU_CMD_TLBI_S12_VMALL:
    case SMMU_CMD_TLBI_S2_IPA:
    case SMMU_CMD_TLBI_NSNH_ALL:
        return PCI_SVA_INV_IOTLB;
    case SMMU_CMD_ATC_INV:
        return PCI_SVA_INV_ATC;
    case SMMU_CMD_SYNC:
        return PCI_SVA_INV_SYNC;
    default:
        return PCI_SVA_INV_NONE;
    }
}

/* Whether a command of @kind is one of those that @wanted stands for */
bool smmuv3_kind_matches(PCISVAInvKind kind, PCISVAInvKind wanted)
{
    return kind == wanted || (wanted == PCI_SVA_INV_CONFIG &&
                              (kind == PCI_SVA_INV_FUNCTION ||
                               kind == PCI_SVA_INV_PASID));
}

static void smmuv3_count_cmd(PCISVACounters *c, const Cmd *cmd)
{
    switch (CMD_TYPE(cmd)) {
    case SMMU_CMD_CFGI_STE:
    case SMMU_CMD_CFGI_STE_RANGE:
    case SMMU_CMD_CFGI_CD:
    case SMMU_CMD_CFGI_CD_ALL:
        c->config++;
        break;
    case SMMU_CMD_TLBI_NH_VA:
    case SMMU_CMD_TLBI_NH_VAA:
    case SMMU_CMD_TLBI_S2_IPA:
        c->iotlb_range++;
        break;
    case SMMU_CMD_TLBI_NH_ASID:
    case SMMU_CMD_TLBI_S12_VMALL:
        c->iotlb_tag++;
        break;
    case SMMU_CMD_TLBI_NH_ALL:
    case SMMU_CMD_TLBI_NSNH_ALL:
        c->iotlb_all++;
        break;
    case SMMU_CMD_ATC_INV:
        if (CMD_ATC_SIZE(cmd) >= CMD_ATC_SIZE_ALL) {
            c->atc_all++;
        } else {
            c->atc_range++;
        }
        break;
    case SMMU_CMD_SYNC:
        c->sync++;
        break;
    }
}

/* Count a command. Returns whether it is to be lost (PCISVAOps.drop). */
bool smmuv3_count(SMMUv3State *s, const Cmd *cmd)
{
    smmuv3_count_cmd(&s->counters, cmd);
    if (!s->drop_nth ||
        !smmuv3_kind_matches(smmuv3_cmd_kind(cmd), s->drop_kind)) {
        return false;
    }
    if (s->drop_nth != PCI_SVA_DROP_ALL && --s->drop_nth) {
        return false;
    }
    s->counters.dropped++;
    trace_smmuv3_cmd_lost(smmu_cmd_string(CMD_TYPE(cmd)));
    return true;
}

void smmuv3_count_reset(SMMUv3State *s)
{
    memset(&s->counters, 0, sizeof(s->counters));
    s->drop_kind = PCI_SVA_INV_NONE;
    s->drop_nth = 0;
}

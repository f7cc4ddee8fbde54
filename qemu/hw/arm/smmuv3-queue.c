/*
 * SMMUv3: a command queue that software spoils
 *
 * Software may not write more commands than there is room for, nor to a slot
 * that is still to be fetched. In hardware such a command is lost or changed,
 * mostly without a trace. Here it is counted: when the queue stops, copies are
 * made of what is in it, and compared when it goes on. While there is an error
 * of the queue, software may write to all that is in it, and take it back (Arm
 * IHI 0070, 7.1).
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "hw/arm/smmuv3.h"
#include "hw/registerfields.h"
#include "smmuv3-internal.h"
#include "trace.h"

/* How far @to is ahead of @from */
static uint32_t queue_distance(const SMMUQueue *q, uint32_t from, uint32_t to)
{
    return (to - from) & WRAP_INDEX_MASK(q);
}

static bool smmuv3_cmdq_failed(SMMUv3State *s)
{
    return FIELD_EX32(s->gerror ^ s->gerrorn, GERROR, CMDQ_ERR);
}

void smmuv3_queue_error(SMMUv3State *s, const char *what)
{
    s->counters.queue_errors++;
    trace_smmuv3_queue_error(what, s->cmdq.prod, s->cmdq.cons);
}

static bool queue_read_slot(const SMMUQueue *q, uint32_t at, Cmd *cmd)
{
    dma_addr_t addr = Q_BASE(q) + q->entry_size * (at & INDEX_MASK(q));

    return dma_memory_read(&address_space_memory, addr, cmd, sizeof(*cmd),
                           MEMTXATTRS_UNSPECIFIED) == MEMTX_OK;
}

/* CMDQ_PROD is about to become @prod. */
void smmuv3_queue_prod(SMMUv3State *s, uint32_t prod)
{
    SMMUQueue *q = &s->cmdq;
    uint32_t used = queue_distance(q, q->cons, prod);

    if (smmuv3_cmdq_enabled(s) &&
        (used > WRAP_MASK(q) || (!smmuv3_cmdq_failed(s) &&
                                 used < queue_distance(q, q->cons, q->prod)))) {
        smmuv3_queue_error(s, "PROD");
    }
}

/* @cmd, as it is in memory, is about to be carried out. */
void smmuv3_queue_fetched(SMMUv3State *s, const Cmd *cmd)
{
    SMMUQueue *q = &s->cmdq;
    uint32_t copied = queue_distance(q, q->cons, s->copied_to);
    Cmd now;

    if (!s->copies || !copied || copied > WRAP_MASK(q)) {
        return;
    }
    now = *cmd;
    for (int i = 0; i < ARRAY_SIZE(now.word); i++) {
        cpu_to_le32s(&now.word[i]);
    }
    if (memcmp(&now, (Cmd *)s->copies + Q_CONS(q), sizeof(now))) {
        smmuv3_queue_error(s, "slot");
    }
}

/* The queue has stopped. */
void smmuv3_queue_stopped(SMMUv3State *s)
{
    SMMUQueue *q = &s->cmdq;
    uint32_t used = queue_distance(q, q->cons, q->prod);
    uint32_t at = queue_distance(q, q->cons, s->copied_to);

    if (!used || used > WRAP_MASK(q) || smmuv3_cmdq_failed(s)) {
        smmuv3_queue_forget(s);
        return;
    }
    if (!s->copies) {
        s->copies = g_new(Cmd, WRAP_MASK(q));
        at = 0;
    }
    for (at = at > used ? 0 : at; at < used; at++) {
        uint32_t slot = q->cons + at;

        if (!queue_read_slot(q, slot, (Cmd *)s->copies +
                                      (slot & INDEX_MASK(q)))) {
            break;
        }
    }
    s->copied_to = (q->cons + at) & WRAP_INDEX_MASK(q);
}

/* The queue is empty, or another one. */
void smmuv3_queue_forget(SMMUv3State *s)
{
    g_free(s->copies);
    s->copies = NULL;
    s->copied_to = s->cmdq.cons & WRAP_INDEX_MASK(&s->cmdq);
}

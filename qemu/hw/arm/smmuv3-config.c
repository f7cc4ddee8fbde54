/*
 * SMMUv3: configuration structures, and the caches of them
 *
 * Hardware may cache every structure that it reads, valid or not, each by
 * itself: a stream table entry (STE) by its StreamID, a level 1 descriptor of a
 * table of context descriptors (L1CD) and a context descriptor (CD) by StreamID
 * and SubstreamID. So does this, and a command drops what it names and nothing
 * else (Arm IHI 0070, 4.3): an operating system that forgets one goes on with
 * what was there before. What cannot be read is not cached.
 *
 * Level 1 descriptors of the stream table are read anew with each STE. So an
 * operating system is not caught that makes one valid and sends no CFGI_STE
 * with Leaf=0 or CFGI_ALL, although hardware may have the invalid one (3.21.3).
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "hw/arm/smmuv3.h"
#include "hw/registerfields.h"
#include "smmuv3-internal.h"
#include "trace.h"

/* A guest chooses how many SubstreamIDs there are. */
#define SMMUV3_CACHED_MAX       1024
#define SSID_BITS               20

#define L1CD_VALID(l1cd)        ((l1cd) & 1)
#define L1CD_L2PTR(l1cd)        ((l1cd) & MAKE_64BIT_MASK(12, 40))

typedef struct CachedSTE {
    uint64_t key;               /* StreamID */
    STE ste;
} CachedSTE;

typedef struct CachedL1CD {
    uint64_t key;               /* StreamID, index */
    unsigned split;             /* bits of SubstreamID below the index */
    uint64_t l1cd;
} CachedL1CD;

typedef struct CachedCD {
    uint64_t key;               /* StreamID, SubstreamID */
    CD cd;
} CachedCD;

static uint64_t config_key(uint32_t sid, uint32_t ssid)
{
    return (uint64_t)sid << SSID_BITS | ssid;
}

static void config_cache(SMMUv3State *s, GHashTable *cache, const void *entry,
                         size_t size)
{
    void *copy = g_memdup2(entry, size);
    GHashTableIter iter;

    if (g_hash_table_size(cache) >= SMMUV3_CACHED_MAX) {
        g_hash_table_iter_init(&iter, cache);
        g_hash_table_iter_next(&iter, NULL, NULL);
        g_hash_table_iter_remove(&iter);
        s->smmu_state.evicted++;
    }
    g_hash_table_replace(cache, copy, copy);
}

/* --- reading --- */

static int smmuv3_read_ste(SMMUv3State *s, uint32_t sid, bool peek, STE *ste,
                           SMMUEventInfo *event)
{
    uint64_t key = sid;
    CachedSTE *cached = g_hash_table_lookup(s->ste_cache, &key);
    int ret;

    if (cached && !peek) {
        *ste = cached->ste;
        return 0;
    }
    ret = smmu_find_ste(s, sid, ste, event);
    if (!ret && !peek) {
        CachedSTE e = { .key = key, .ste = *ste };

        config_cache(s, s->ste_cache, &e, sizeof(e));
    }
    return ret;
}

/* log2 of the SubstreamIDs of a stream (STE.S1CDMax) */
static unsigned cd_max(SMMUv3State *s, const STE *ste)
{
    return FIELD_EX32(s->idr[1], IDR1, SSIDSIZE) ? STE_S1CDMAX(ste) : 0;
}

/* Bits of SubstreamID that the level 2 of a table takes; 0: there is none */
static unsigned cd_split(SMMUv3State *s, const STE *ste)
{
    if (!cd_max(s, ste)) {
        return 0;
    }
    switch (STE_S1FMT(ste)) {
    case 1:
        return 6;
    case 2:
        return 10;
    default:
        return 0;
    }
}

static int smmuv3_read_l1cd(SMMUv3State *s, uint32_t sid, const STE *ste,
                            SMMUTransCfg *cfg, uint32_t index, bool peek,
                            uint64_t *l1cd, SMMUEventInfo *event)
{
    uint64_t key = config_key(sid, index);
    CachedL1CD *cached = g_hash_table_lookup(s->l1cd_cache, &key);
    CDDesc desc;
    int ret;

    if (cached && !peek) {
        *l1cd = cached->l1cd;
        return 0;
    }
    ret = smmu_fetch_cd(s, cfg, STE_CTXPTR(ste) + index * sizeof(desc),
                        desc.word, ARRAY_SIZE(desc.word), event);
    *l1cd = desc.word[0] | (uint64_t)desc.word[1] << 32;
    if (!ret && !peek) {
        CachedL1CD e = { .key = key, .split = cd_split(s, ste), .l1cd = *l1cd };

        config_cache(s, s->l1cd_cache, &e, sizeof(e));
    }
    return ret;
}

static int smmuv3_cd_addr(SMMUv3State *s, uint32_t sid, const STE *ste,
                          SMMUTransCfg *cfg, uint32_t ssid, bool peek,
                          hwaddr *addr, SMMUEventInfo *event)
{
    unsigned split = cd_split(s, ste);
    uint64_t l1cd;
    int ret;

    if (!split) {
        *addr = STE_CTXPTR(ste) + (hwaddr)ssid * sizeof(CD);
        return 0;
    }
    ret = smmuv3_read_l1cd(s, sid, ste, cfg, ssid >> split, peek, &l1cd,
                           event);
    if (ret) {
        return ret;
    }
    if (!L1CD_VALID(l1cd)) {
        event->type = SMMU_EVT_C_BAD_SUBSTREAMID;
        return -EINVAL;
    }
    *addr = L1CD_L2PTR(l1cd) +
            (hwaddr)extract32(ssid, 0, split) * sizeof(CD);
    return 0;
}

static int smmuv3_read_cd(SMMUv3State *s, uint32_t sid, const STE *ste,
                          SMMUTransCfg *cfg, uint32_t ssid, bool peek, CD *cd,
                          SMMUEventInfo *event)
{
    uint64_t key = config_key(sid, ssid);
    CachedCD *cached = g_hash_table_lookup(s->cd_cache, &key);
    hwaddr addr;
    int ret;

    if (cached && !peek) {
        *cd = cached->cd;
        return 0;
    }
    ret = smmuv3_cd_addr(s, sid, ste, cfg, ssid, peek, &addr, event);
    if (ret) {
        return ret;
    }
    trace_smmuv3_get_cd(addr);
    ret = smmu_fetch_cd(s, cfg, addr, cd->word, ARRAY_SIZE(cd->word), event);
    if (!ret && !peek) {
        CachedCD e = { .key = key, .cd = *cd };

        config_cache(s, s->cd_cache, &e, sizeof(e));
    }
    return ret;
}

/* --- what they say --- */

/*
 * Which CD a request uses (STE.S1CDMax and S1DSS). -EINVAL: none, @event says
 * why; 1: none, as it is not translated by the first stage
 */
static int smmuv3_pick_cd(SMMUv3State *s, const STE *ste,
                          const SMMUv3Request *r, uint32_t *ssid,
                          SMMUEventInfo *event)
{
    unsigned max = cd_max(s, ste);

    *ssid = r->ssv ? r->ssid : 0;
    if (!r->ssv && !max) {
        return 0;
    }
    if (r->ssv) {
        if (!max || r->ssid >> max) {
            event->type = SMMU_EVT_C_BAD_SUBSTREAMID;
            return -EINVAL;
        }
        if (r->ssid || STE_S1DSS(ste) != STE_S1DSS_SSID0) {
            return 0;
        }
    } else if (STE_S1DSS(ste) == STE_S1DSS_BYPASS) {
        return 1;
    } else if (STE_S1DSS(ste) == STE_S1DSS_SSID0) {
        return 0;
    }
    event->type = SMMU_EVT_F_STREAM_DISABLED;
    return -EINVAL;
}

/* What is the same for all requests of the stream, whatever their PASID */
int smmuv3_decode_stream(SMMUv3State *s, const SMMUv3Request *r, bool peek,
                         SMMUTransCfg *cfg, SMMUEventInfo *event)
{
    const SMMUv3Request untagged = { .sid = r->sid };
    SMMUEventInfo ignored = { };
    uint32_t ssid;
    STE ste;
    int ret;

    memset(cfg, 0, sizeof(*cfg));
    ret = smmuv3_read_ste(s, r->sid, peek, &ste, event);
    if (!ret) {
        ret = smmu_decode_ste(s, cfg, &ste, event);
    }
    if (!ret && STE_CFG_S1_ENABLED(STE_CONFIG(&ste))) {
        cfg->stream_disabled =
            smmuv3_pick_cd(s, &ste, &untagged, &ssid, &ignored) < 0;
    }
    return ret;
}

int smmuv3_decode_config(SMMUv3State *s, const SMMUv3Request *r, bool peek,
                         SMMUTransCfg *cfg, SMMUEventInfo *event)
{
    uint32_t config, ssid;
    STE ste;
    CD cd;
    int ret;

    memset(cfg, 0, sizeof(*cfg));
    /* ASID defaults to -1 (if s1 is not supported). */
    cfg->asid = -1;
    ret = smmuv3_read_ste(s, r->sid, peek, &ste, event);
    if (!ret) {
        ret = smmu_decode_ste(s, cfg, &ste, event);
    }
    if (ret || cfg->aborted) {
        return ret;
    }
    config = STE_CONFIG(&ste);
    if (!STE_CFG_S1_ENABLED(config)) {
        if (r->ssv) {
            event->type = SMMU_EVT_C_BAD_SUBSTREAMID;
            return -EINVAL;
        }
        return 0;
    }
    ret = smmuv3_pick_cd(s, &ste, r, &ssid, event);
    if (ret < 0) {
        return ret;
    }
    if (ret) {
        cfg->s1_skipped = true;
        cfg->bypassed = !STE_CFG_S2_ENABLED(config);
        cfg->stage = SMMU_STAGE_2;
        return 0;
    }
    if (peek && cfg->stage == SMMU_NESTED) {
        return -ENOTSUP;        /* It would go through the TLB. */
    }
    ret = smmuv3_read_cd(s, r->sid, &ste, cfg, ssid, peek, &cd, event);
    if (ret) {
        return ret;
    }
    return smmu_decode_cd(s, cfg, &cd, event);
}

/* --- invalidation --- */

typedef struct ConfigRange {
    uint64_t first;
    uint64_t last;
} ConfigRange;

/* All entries start with their key. */
static gboolean config_in_range(gpointer key, gpointer value, gpointer opaque)
{
    const ConfigRange *r = opaque;
    uint64_t k = *(uint64_t *)key;

    return k >= r->first && k <= r->last;
}

static gboolean config_leads_to(gpointer key, gpointer value, gpointer opaque)
{
    const CachedL1CD *e = value;
    const ConfigRange *r = opaque;
    uint32_t ssid = extract64(r->first, 0, SSID_BITS);

    return e->key == config_key(r->first >> SSID_BITS, ssid >> e->split);
}

static void config_drop(GHashTable *cache, uint64_t first, uint64_t last)
{
    ConfigRange r = { first, last };

    g_hash_table_foreach_remove(cache, config_in_range, &r);
}

void smmuv3_config_inv_cds(SMMUv3State *s, uint32_t first, uint32_t last)
{
    uint64_t from = config_key(first, 0);
    uint64_t to = config_key(last, MAKE_64BIT_MASK(0, SSID_BITS));

    config_drop(s->l1cd_cache, from, to);
    config_drop(s->cd_cache, from, to);
}

/* STEs take the CDs with them that were found through them. */
void smmuv3_config_inv_stes(SMMUv3State *s, uint32_t first, uint32_t last)
{
    config_drop(s->ste_cache, first, last);
    smmuv3_config_inv_cds(s, first, last);
}

void smmuv3_config_inv_cd(SMMUv3State *s, uint32_t sid, uint32_t ssid,
                          bool leaf)
{
    ConfigRange r = { .first = config_key(sid, ssid) };

    config_drop(s->cd_cache, r.first, r.first);
    if (!leaf) {
        g_hash_table_foreach_remove(s->l1cd_cache, config_leads_to, &r);
    }
}

void smmuv3_config_reset(SMMUv3State *s)
{
    g_hash_table_remove_all(s->ste_cache);
    g_hash_table_remove_all(s->l1cd_cache);
    g_hash_table_remove_all(s->cd_cache);
}

void smmuv3_config_init(SMMUv3State *s)
{
    s->ste_cache = g_hash_table_new_full(g_int64_hash, g_int64_equal, g_free,
                                         NULL);
    s->l1cd_cache = g_hash_table_new_full(g_int64_hash, g_int64_equal, g_free,
                                          NULL);
    s->cd_cache = g_hash_table_new_full(g_int64_hash, g_int64_equal, g_free,
                                        NULL);
}

/* --- audit: what is cached, against what is in memory now --- */

typedef struct ConfigAudit {
    SMMUv3State *s;
    bool all;
    uint32_t sid;
    uint32_t ssid;
    void (*note)(void *opaque, uint32_t ssid, bool stale);
    void *opaque;
} ConfigAudit;

/*
 * CDs of a stream with both stages are found through the second one, which
 * would be a translation with all its effects: they are left out.
 */
static bool audit_skips(const STE *ste)
{
    uint32_t config = STE_CONFIG(ste);

    return !STE_CFG_ABORT(config) && STE_CFG_S1_ENABLED(config) &&
           STE_CFG_S2_ENABLED(config);
}

static bool audit_ste(ConfigAudit *a, uint32_t sid, STE *ste,
                      SMMUTransCfg *cfg)
{
    SMMUEventInfo event = { .inval_ste_allowed = true };

    memset(cfg, 0, sizeof(*cfg));
    return !smmuv3_read_ste(a->s, sid, true, ste, &event);
}

static void audit_one_ste(gpointer key, gpointer value, gpointer opaque)
{
    const CachedSTE *e = value;
    ConfigAudit *a = opaque;
    SMMUTransCfg cfg;
    STE now;

    if (a->all || a->sid == e->key) {
        a->note(a->opaque, 0,
                !audit_ste(a, e->key, &now, &cfg) ||
                memcmp(&now, &e->ste, sizeof(now)));
    }
}

static void audit_one_l1cd(gpointer key, gpointer value, gpointer opaque)
{
    const CachedL1CD *e = value;
    ConfigAudit *a = opaque;
    uint32_t sid = e->key >> SSID_BITS;
    uint32_t index = extract64(e->key, 0, SSID_BITS);
    SMMUEventInfo event = { };
    SMMUTransCfg cfg;
    uint64_t l1cd;
    bool known;
    STE now;

    if (!a->all && (a->sid != sid || a->ssid >> e->split != index)) {
        return;
    }
    known = audit_ste(a, sid, &now, &cfg);
    if (!known || !audit_skips(&now)) {
        a->note(a->opaque, index << e->split,
                !known || cd_split(a->s, &now) != e->split ||
                smmuv3_read_l1cd(a->s, sid, &now, &cfg, index, true, &l1cd,
                                 &event) ||
                l1cd != e->l1cd);
    }
}

static void audit_one_cd(gpointer key, gpointer value, gpointer opaque)
{
    const CachedCD *e = value;
    ConfigAudit *a = opaque;
    uint32_t sid = e->key >> SSID_BITS;
    uint32_t ssid = extract64(e->key, 0, SSID_BITS);
    SMMUEventInfo event = { };
    SMMUTransCfg cfg;
    bool known;
    STE ste;
    CD now;

    if (!a->all && (a->sid != sid || a->ssid != ssid)) {
        return;
    }
    known = audit_ste(a, sid, &ste, &cfg);
    if (!known || !audit_skips(&ste)) {
        a->note(a->opaque, ssid,
                !known ||
                smmuv3_read_cd(a->s, sid, &ste, &cfg, ssid, true, &now,
                               &event) ||
                memcmp(&now, &e->cd, sizeof(now)));
    }
}

/*
 * Tell @note of each cached structure that a request of @r could use (NULL: of
 * each), and whether it is another one than what is in memory.
 */
void smmuv3_config_audit(SMMUv3State *s, const SMMUv3Request *r,
                         void (*note)(void *opaque, uint32_t ssid, bool stale),
                         void *opaque)
{
    ConfigAudit a = {
        .s = s,
        .all = !r,
        .sid = r ? r->sid : 0,
        .ssid = r && r->ssv ? r->ssid : 0,
        .note = note,
        .opaque = opaque,
    };

    g_hash_table_foreach(s->ste_cache, audit_one_ste, &a);
    g_hash_table_foreach(s->l1cd_cache, audit_one_l1cd, &a);
    g_hash_table_foreach(s->cd_cache, audit_one_cd, &a);
}

/*
 * Tell @fn of what translates for a stream, as it is in memory now: each valid
 * CD, and the second stage by itself, with no ASID. No CD of a stream that has
 * both.
 */
void smmuv3_config_foreach_cd(SMMUv3State *s, uint32_t sid,
                              void (*fn)(void *opaque, uint32_t ssid,
                                         const SMMUTransCfg *cfg),
                              void *opaque)
{
    SMMUEventInfo event = { .inval_ste_allowed = true };
    SMMUTransCfg stream, cfg;
    unsigned max, split;
    uint64_t l1cd;
    hwaddr addr;
    STE ste;
    CD cd;

    memset(&stream, 0, sizeof(stream));
    if (smmuv3_read_ste(s, sid, true, &ste, &event) ||
        smmu_decode_ste(s, &stream, &ste, &event) ||
        stream.aborted) {
        return;
    }
    if (stream.stage & SMMU_STAGE_2) {
        cfg = stream;
        cfg.stage = SMMU_STAGE_2;
        cfg.asid = -1;
        fn(opaque, 0, &cfg);
    }
    if (stream.stage != SMMU_STAGE_1) {
        return;
    }
    max = cd_max(s, &ste);
    split = cd_split(s, &ste);
    for (uint32_t ssid = 0; ssid < 1u << max; ssid++) {
        if (split && !extract32(ssid, 0, split) &&
            (smmuv3_read_l1cd(s, sid, &ste, &stream, ssid >> split, true,
                              &l1cd, &event) || !L1CD_VALID(l1cd))) {
            ssid |= MAKE_64BIT_MASK(0, split);
            continue;
        }
        addr = split ?
            L1CD_L2PTR(l1cd) + (hwaddr)extract32(ssid, 0, split) * sizeof(cd) :
            STE_CTXPTR(&ste) + (hwaddr)ssid * sizeof(cd);
        cfg = stream;
        if (!smmu_fetch_cd(s, &cfg, addr, cd.word, ARRAY_SIZE(cd.word),
                           &event) &&
            CD_VALID(&cd) && !smmu_decode_cd(s, &cfg, &cd, &event)) {
            fn(opaque, ssid, &cfg);
        }
    }
}

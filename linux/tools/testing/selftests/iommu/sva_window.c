// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Attach and detach of one function while others unmap, with an IOMMU that is
 * late. What is a few microseconds between two of its commands becomes a window
 * in which there is time to look: the PASID table entry is clear and still
 * cached, the IOTLB is clean and the ATC is not, and so on. A thread that unmaps in
 * a window must wait for as long as anything can still be reached.
 *
 * A window is open until the test closes it: it ends when all has been seen in it
 * that is to be seen. A thread that waits in one of them has a CPU of its own.
 *
 * A queue that root has taken works on in all windows, as a function would that
 * does not know that it is about to lose its PASID.
 */
#include <pthread.h>

#include "../kselftest_harness.h"
#include "sva_utils.h"

#define NR_PAGES	4

/* A thread that binds a function: only the file, as mapping its page takes mmap_lock */
struct joiner {
	struct sva_dev *dev;
	int fd;
	bool go;
	bool over;
	struct sva_thread thread;
};

#define NR_WORKERS	2

/* Rounds of mapping and unmapping; shared by all processes */
struct churn {
	bool stop;
	bool failed;
	unsigned int rounds[NR_WORKERS + 1];
};

/* A thread of ours that does such rounds */
struct own {
	struct churn *ch;
	struct sva *s;
	char *p;
	struct sva_thread thread;
};

FIXTURE(sva_window)
{
	struct sva s;
	char *buf;
	struct sva_unmapper u;
	struct joiner joiner;
	struct own own;
	struct sva_binder binder;
};

FIXTURE_VARIANT(sva_window)
{
	uint64_t kind;
};

FIXTURE_VARIANT_ADD(sva_window, config)
{
	.kind = SVADEV_INJECT_CONFIG,
};

FIXTURE_VARIANT_ADD(sva_window, iotlb)
{
	.kind = SVADEV_INJECT_IOTLB,
};

FIXTURE_VARIANT_ADD(sva_window, atc)
{
	.kind = SVADEV_INJECT_ATC,
};

FIXTURE_VARIANT_ADD(sva_window, sync)
{
	.kind = SVADEV_LATE_SYNC,
};

FIXTURE_SETUP(sva_window)
{
	/* Without ATS there is a window for all but its commands. */
	const char *why = sva_setup(&self->s, SVA_UNTRANSLATED);

	if (!why && !sva_lacks(&self->s, SVA_ATS))
		sva_set_mode(&self->s, SVA_ATS);
	else if (!why && variant->kind == SVADEV_INJECT_ATC)
		why = "a function has no ATS";
	if (why)
		SKIP(return, "%s", why);
	self->buf = sva_pages(NR_PAGES, 1);
	ASSERT_NE(NULL, self->buf);
	ASSERT_TRUE(sva_open_all(&self->s));
	/* Each has something that can be compared. */
	ASSERT_TRUE(sva_warm_up(&self->s, self->buf, 1, NR_PAGES * SVA_PAGE));
}

/* Lets it go, and waits for its end */
static bool join_end(struct joiner *j)
{
	__atomic_store_n(&j->go, true, __ATOMIC_RELEASE);
	return sva_thread_end(&j->thread);
}

static bool own_end(struct own *own)
{
	if (own->ch)
		__atomic_store_n(&own->ch->stop, true, __ATOMIC_RELAXED);
	return sva_thread_end(&own->thread);
}

FIXTURE_TEARDOWN(sva_window)
{
	sva_on_time(&self->s);
	sva_unmap_end(&self->u);
	join_end(&self->joiner);
	sva_binder_end(&self->binder);
	own_end(&self->own);
	sva_close_all(&self->s);
	EXPECT_CLEAN(&self->s);
	sva_teardown(&self->s);
}

/* --- nobody but us --- */

/* The test itself, and two threads that wait for the IOMMU */
#define MIN_CPUS		3

/*
 * Late is not never: the system call returns when all is over, and not before. One
 * unit is enough to wait for, whichever it is.
 */
TEST_F(sva_window, unmap)
{
	bool waits = variant->kind != SVADEV_INJECT_CONFIG;
	struct sva_unmapper *u = &self->u;
	struct sva_counts c;
	struct sva_queue *q;
	unsigned int i, n;
	uint64_t late;

	if (sva_too_few_cpus(MIN_CPUS))
		SKIP(return, "needs 3 CPUs");
	for (i = 0; i < self->s.nr; i++) {
		if (!sva_first_of_unit(&self->s, i))
			continue;
		memset(self->buf, 1, SVA_PAGE);
		ASSERT_TRUE(sva_warm_up(&self->s, self->buf, 1, SVA_PAGE));
		ASSERT_TRUE(sva_unmap_prepare(u, &self->s, self->buf, 1));
		sva_settle();
		sva_count(&self->s, &c);
		late = sva_counter(&self->s.dev[i], SVADEV_U_LATE);
		sva_late_at(&self->s.dev[i], variant->kind, SVA_HELD);
		sva_unmap_go(u);
		if (waits) {
			EXPECT_TRUE(sva_wait_late(&self->s.dev[i], late));
			EXPECT_TRUE(sva_unmap_waits(u));
			sva_on_time(&self->s);
		}
		/* Without that, it ends while the window is open, or this does not. */
		EXPECT_TRUE(sva_unmap_end(u));
		sva_on_time(&self->s);
		sva_count_since(&self->s, &c);
		/* An unmap changes no configuration. */
		for (n = 0; n < sva_units(&self->s); n++)
			EXPECT_EQ(waits && n == sva_unit_of(&self->s, &self->s.dev[i]),
				  !!c.unit[n].late);
		EXPECT_CLEAN(&self->s);
		for (q = self->s.q; q < self->s.end; q++)
			EXPECT_TRUE(sva_is_fault(&self->s,
						 sva_fill(q, self->buf, 2, 8)));
	}
}

/* --- page tables --- */

/* SMMUv3's TLB has 256 entries, for other pages, too. */
#define NR_TABLES	(SVA_SMMU ? 128 : 256)

/* One page of each table is used by the function, and nothing else is. */
static bool use_tables(struct sva_queue *q, char *p)
{
	struct sva_cached c;
	unsigned int i, tries;

	for (tries = 0; tries < SVA_TRIES; tries++) {
		if (tries)
			sva_do(q, SVADEV_OP_ATC_FLUSH, 0, NULL, NULL, 0, 0);
		for (i = 0; i < NR_TABLES; i++)
			if (sva_fill(q, p + i * SVA_TABLE, 2, 8))
				return false;
		sva_count_cached(q->dev, sva_reg(q, SVADEV_Q_PASID), p,
				 NR_TABLES * SVA_TABLE, &c);
		if (c.atc == (q->dev->ats ? NR_TABLES : 0) &&
		    c.iotlb == NR_TABLES && c.tables == NR_TABLES)
			return true;
	}
	fprintf(stderr, "# cached: %llu pages in the ATC, %llu and %llu tables in the IOMMU\n",
		(unsigned long long)c.atc, (unsigned long long)c.iotlb,
		(unsigned long long)c.tables);
	return false;
}

/* Those that @q has used, with its IOMMU late for @kind, or all of them */
static void unmap_tables(struct __test_metadata *_metadata, struct sva *s,
			 struct sva_unmapper *u, struct sva_queue *q,
			 uint64_t kind)
{
	uint64_t late;
	long before, meanwhile, after;
	unsigned int i;
	double end;
	char *map, *p;

	map = mmap(NULL, (NR_TABLES + 1) * SVA_TABLE, PROT_READ | PROT_WRITE,
		   MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	ASSERT_NE(MAP_FAILED, map);
	p = (char *)(((uintptr_t)map + SVA_TABLE - 1) & -SVA_TABLE);
	madvise(p, NR_TABLES * SVA_TABLE, MADV_NOHUGEPAGE);
	for (i = 0; i < NR_TABLES; i++)
		p[i * SVA_TABLE] = 1;
	ASSERT_TRUE(use_tables(q, p));

	ASSERT_TRUE(sva_unmap_prepare(u, s, p, 1));
	u->len = NR_TABLES * SVA_TABLE;
	sva_settle();
	before = sva_free_pages(true);
	late = sva_counter(q->dev, SVADEV_U_LATE);
	/* SMMUv3's driver asks its instances one after the other. */
	if (SVA_SMMU)
		sva_late_at(q->dev, kind, SVA_HELD);
	else
		sva_late(s, kind, SVA_HELD);
	sva_unmap_go(u);
	EXPECT_TRUE(sva_wait_late(q->dev, late));
	EXPECT_TRUE(sva_unmap_waits(u));
	/* Its interrupts are off while it waits: no CPU can ask its CPU for anything. */
	meanwhile = sva_free_pages(!SVA_SMMU);
	sva_on_time(s);
	EXPECT_TRUE(sva_unmap_end(u));
	/* Tables can be freed after an RCU grace period. */
	end = sva_now() + SVA_TIMEOUT_S;
	do
		after = sva_free_pages(true);
	while (after < before + 2 * NR_TABLES * 3 / 4 && sva_now() < end);
	fprintf(stderr, "# free pages: %ld, %ld, %ld\n", before, meanwhile, after);
	/* All of them would be more: the pages, and what each CPU is behind with. */
	EXPECT_GT(before + NR_TABLES * (SVA_SMMU ? 3 : 2) / 4, meanwhile);
	EXPECT_LE(before + 2 * NR_TABLES * 3 / 4, after);
	EXPECT_CLEAN(s);
	for (i = 0; i < NR_TABLES; i += NR_TABLES / 4)
		EXPECT_TRUE(sva_is_fault(s,
					 sva_fill(q, p + i * SVA_TABLE, 3, 8)));
}

/*
 * A mapping with many page tables goes, and they and its pages with it: not before
 * the IOMMUs have forgotten them.
 */
TEST_F(sva_window, unmap_many_tables)
{
	struct sva_queue *q;

	if (variant->kind == SVADEV_INJECT_CONFIG)
		SKIP(return, "an unmap changes no configuration");
	if (sva_too_few_cpus(MIN_CPUS))
		SKIP(return, "needs 3 CPUs");
	for (q = self->s.q; q < self->s.end; q++)
		if (q == self->s.q ||
		    (SVA_SMMU && sva_first_of_unit(&self->s, q - self->s.q)))
			unmap_tables(_metadata, &self->s, &self->u, q,
				     variant->kind);
}

/* --- detach --- */

/*
 * The last file of the function is closed by a child: its CPU has another mm,
 * so that no unmap needs it.
 */
static pid_t child_closes(struct sva_queue *q, struct sva_child *c)
{
	if (!sva_child_new(c))
		_exit(!sva_stay_on(2) || !sva_hear(c->fd) || close(q->fd));
	munmap(q->page, SVADEV_QPAGE_SIZE);
	close(q->fd);
	return c->pid;
}

static bool is_gone(struct sva *s, struct sva_queue *rogue, char *p)
{
	return SVA_IS_REFUSED(s, rogue, SVA_UNBOUND,
			      sva_fill(rogue, p, 2, SVA_PAGE)) &&
	       sva_all(p, 1, SVA_PAGE);
}

/* Invalidations that the function has heard of; ranges, with VT-d's */
static uint64_t asked(struct sva_dev *d)
{
	uint64_t n = sva_counter(d, SVADEV_C_INV_RANGE);

	return SVA_SMMU ? n + sva_counter(d, SVADEV_C_INV_PASID) : n;
}

/*
 * What can still be cached when the window opens may be so once more. A thread that
 * unmaps in the window tells the function of it, and waits.
 */
TEST_F(sva_window, unmap_while_detached)
{
	struct sva_unmapper *u = &self->u;
	struct sva_queue *q, rogue;
	bool found = false;
	struct sva_child c;
	uint64_t late, told;

	if (sva_too_few_cpus(MIN_CPUS))
		SKIP(return, "needs 3 CPUs");
	for (q = self->s.q; q < self->s.end; q++) {
		/* SMMUv3's driver keeps a tag as long as it has another function. */
		if (SVA_SMMU && variant->kind == SVADEV_INJECT_IOTLB &&
		    sva_functions_of(&self->s, sva_unit_of(&self->s, q->dev)) > 1)
			continue;
		found = true;
		ASSERT_TRUE(sva_take(&rogue, q->dev, sva_reg(q, SVADEV_Q_PASID)));
		ASSERT_LT(0, child_closes(q, &c));
		memset(self->buf, 1, NR_PAGES * SVA_PAGE);
		ASSERT_TRUE(sva_cache(&self->s, &rogue, self->buf, 1,
				      NR_PAGES * SVA_PAGE));

		ASSERT_TRUE(sva_unmap_prepare(u, &self->s, self->buf, 1));
		sva_settle();
		late = sva_counter(q->dev, SVADEV_U_LATE);
		told = asked(q->dev);
		sva_late_at(q->dev, variant->kind, SVA_HELD);
		ASSERT_TRUE(sva_say(c.fd));
		ASSERT_TRUE(sva_wait_late(q->dev, late));
		sva_do(&rogue, SVADEV_OP_TOUCH, SVADEV_FLAG_WRITE, self->buf,
		       NULL, SVA_PAGE, 0);
		sva_unmap_go(u);
		EXPECT_TRUE(sva_unmap_waits(u));
		EXPECT_TRUE(sva_lives(c.pid));
		sva_on_time(&self->s);
		EXPECT_TRUE(sva_unmap_end(u));
		EXPECT_EQ(0, sva_exit_code(c.pid));
		close(c.fd);
		/* By SMMUv3's, which asks ATCs later, perhaps of the detach alone */
		if (q->dev->ats)
			EXPECT_LT(told, asked(q->dev));

		EXPECT_TRUE(sva_all(self->buf, 0, SVA_PAGE));
		EXPECT_CLEAN(&self->s);
		EXPECT_TRUE(is_gone(&self->s, &rogue, self->buf + SVA_PAGE));
		sva_give_back(&rogue);
		ASSERT_EQ(0, sva_open(q, q->dev));
	}
	if (!found)
		SKIP(return, "needs a function with an IOMMU of its own");
}

/* --- attach --- */

static void *bind_only(void *arg)
{
	struct joiner *j = arg;
	char path[64];

	while (!__atomic_load_n(&j->go, __ATOMIC_ACQUIRE))
		usleep(50);
	snprintf(path, sizeof(path), "/dev/%s", j->dev->name);
	j->fd = open(path, O_RDWR | O_CLOEXEC);
	__atomic_store_n(&j->over, true, __ATOMIC_RELEASE);
	return NULL;
}

/*
 * A function joins others behind the same IOMMU while a thread that unmaps waits for
 * that IOMMU. The thread has not heard of the new function, and nobody tells its ATC
 * anything; so it must not find in the IOTLB what is about to go. The bind waits.
 */
TEST_F_TIMEOUT(sva_window, attach_while_unmapped, 2 * SVA_LOAD_S)
{
	struct sva_unmapper *u = &self->u;
	struct joiner *j = &self->joiner;
	struct sva_queue *first, *joins;
	bool found = false, waits, joined;
	struct sva_queue rogue;
	uint64_t late, faults;
	int err;

	if (variant->kind == SVADEV_INJECT_CONFIG)
		SKIP(return, "an unmap changes no configuration");
	if (sva_too_few_cpus(MIN_CPUS))
		SKIP(return, "needs 3 CPUs");
	for (joins = self->s.q + 1; joins < self->s.end; joins++) {
		first = joins - 1;
		if (first->dev->unit != joins->dev->unit)
			continue;
		found = true;
		ASSERT_TRUE(sva_take(&rogue, joins->dev,
				     sva_reg(joins, SVADEV_Q_PASID)));
		sva_close(joins);
		memset(self->buf, 1, SVA_PAGE);
		ASSERT_TRUE(sva_cache(&self->s, first, self->buf, 1, SVA_PAGE));

		*j = (struct joiner){ .dev = joins->dev, .fd = -1 };
		ASSERT_TRUE(sva_thread_start(&j->thread, 2, bind_only, j));
		ASSERT_TRUE(sva_unmap_prepare(u, &self->s, self->buf, 1));
		sva_settle();
		late = sva_counter(first->dev, SVADEV_U_LATE);
		sva_late_at(first->dev, variant->kind, SVA_HELD);
		sva_unmap_go(u);
		ASSERT_TRUE(sva_wait_late(first->dev, late));
		__atomic_store_n(&j->go, true, __ATOMIC_RELEASE);
		waits = sva_unmap_waits(u);
		joined = __atomic_load_n(&j->over, __ATOMIC_ACQUIRE);
		faults = sva_counter(joins->dev, SVADEV_U_FAULT);
		err = sva_do(&rogue, SVADEV_OP_TOUCH, 0, self->buf, NULL,
			     SVA_PAGE, 0);
		waits &= !sva_unmap_over(u);
		sva_on_time(&self->s);
		/* To tell of it earlier could take a copy on write, which waits as well. */
		EXPECT_TRUE(waits);
		EXPECT_FALSE(joined);
		EXPECT_TRUE(sva_was_refused(&self->s, &rogue, SVA_UNBOUND, err,
					    faults));
		EXPECT_TRUE(sva_unmap_end(u));
		EXPECT_TRUE(join_end(j));
		EXPECT_LE(0, j->fd);

		EXPECT_CLEAN(&self->s);
		EXPECT_TRUE(sva_is_fault(&self->s, sva_fill(&rogue, self->buf,
							    2, SVA_PAGE)));
		sva_give_back(&rogue);
		close(j->fd);
		ASSERT_EQ(0, sva_open(joins, joins->dev));
	}
	if (!found)
		SKIP(return, "needs two functions behind one IOMMU");
}

/* --- all at the same time --- */

#define CHURN_NS	(SVA_MS / 4)
#define ENOUGH		10	/* rounds, of each */
#define REMOVALS	3

static struct churn *churn_new(void)
{
	void *p = mmap(NULL, SVA_PAGE, PROT_READ | PROT_WRITE,
		       MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	return p == MAP_FAILED ? NULL : p;
}

/* New pages are written to, and what is unmapped is not, by any function. */
static bool churn_round(struct sva *s, char *p)
{
	struct sva_queue *q;

	for (q = s->q; q < s->end; q++) {
		memset(p, 3, SVA_PAGE);
		if (sva_fill(q, p, 4, SVA_PAGE) || !sva_all(p, 4, SVA_PAGE))
			return false;
	}
	if (madvise(p, SVA_PAGE, MADV_DONTNEED))
		return false;
	for (q = s->q; q < s->end; q++)
		if (!sva_is_fault(s, sva_fill(q, p, 5, 8)))
			return false;
	return true;
}

static void churn_pages(struct churn *ch, unsigned int id, struct sva *s, char *p)
{
	while (!__atomic_load_n(&ch->stop, __ATOMIC_RELAXED)) {
		if (!churn_round(s, p)) {
			__atomic_store_n(&ch->failed, true, __ATOMIC_RELAXED);
			break;
		}
		__atomic_fetch_add(&ch->rounds[id], 1, __ATOMIC_RELAXED);
	}
}

/* Another mm, at the same functions */
static pid_t churn_worker(struct churn *ch, unsigned int id, struct sva *s)
{
	pid_t pid = sva_fork();
	char *p;

	if (pid)
		return pid;
	p = sva_pages(1, 1);
	if (!p || !sva_open_all(s))
		_exit(1);
	churn_pages(ch, id, s, p);
	sva_close_all(s);
	_exit(0);
}

static void *own_pages(void *arg)
{
	struct own *own = arg;

	churn_pages(own->ch, NR_WORKERS, own->s, own->p);
	return NULL;
}

static bool own_start(struct own *own, struct churn *ch, struct sva *s, char *p)
{
	*own = (struct own){ .ch = ch, .s = s, .p = p };
	return sva_thread_start(&own->thread, SVA_ANY_CPU, own_pages, own);
}

/* Until all have gone ENOUGH rounds, or one of them can no more */
static bool churn_goes_on(struct churn *ch, struct sva_binder *b)
{
	double end = sva_now() + SVA_LOAD_S;
	unsigned int i;
	bool enough;

	do {
		usleep(10000);
		enough = __atomic_load_n(&b->rounds, __ATOMIC_RELAXED) >= ENOUGH;
		for (i = 0; i <= NR_WORKERS; i++)
			enough &= __atomic_load_n(&ch->rounds[i],
						  __ATOMIC_RELAXED) >= ENOUGH;
	} while (!enough && !__atomic_load_n(&ch->failed, __ATOMIC_RELAXED) &&
		 sva_now() < end);
	return enough;
}

/*
 * Two processes unmap, and so does a thread of ours, while the last function
 * comes and goes. Nobody waits for anybody, so that windows are where they are.
 */
TEST_F_TIMEOUT(sva_window, everybody, 2 * SVA_LOAD_S)
{
	struct sva_binder *b = &self->binder;
	pid_t pid[NR_WORKERS];
	struct churn *ch;
	struct sva_dev *d;
	unsigned int i;

	if (self->s.nr < 2)
		SKIP(return, "needs two functions");
	ch = churn_new();
	ASSERT_NE(NULL, ch);
	for (i = 0; i < NR_WORKERS; i++)
		pid[i] = churn_worker(ch, i, &self->s);
	sva_close(--self->s.end);
	d = self->s.end->dev;
	sva_late(&self->s, variant->kind, CHURN_NS);
	ASSERT_TRUE(own_start(&self->own, ch, &self->s, self->buf));
	ASSERT_TRUE(sva_binder_start(b, d));
	EXPECT_TRUE(churn_goes_on(ch, b));
	EXPECT_TRUE(sva_binder_end(b));
	EXPECT_TRUE(own_end(&self->own));
	for (i = 0; i < NR_WORKERS; i++)
		EXPECT_EQ(0, sva_exit_code(pid[i]));
	sva_on_time(&self->s);

	EXPECT_CLEAN(&self->s);
	fprintf(stderr, "# bound %u times; rounds %u %u %u\n", b->rounds,
		ch->rounds[0], ch->rounds[1], ch->rounds[2]);
	EXPECT_FALSE(ch->failed);
	ASSERT_EQ(0, sva_open(self->s.end, d));
	self->s.end++;
}

/* --- a function that goes for good --- */

/* Back again as it was at boot, but for the choice of the test */
static bool remove_and_rescan(struct sva_dev *d)
{
	if (!sva_remove_and_rescan(d))
		return false;
	sva_write(d->ctl, SVADEV_CTRL, SVADEV_CTRL_NO_PRI);
	return true;
}

/* Bound, and with a translation in its ATC, when it goes */
static bool goes_and_comes(struct sva_dev *d, char *p)
{
	struct sva_queue q;
	bool ok;

	memset(p, 1, SVA_PAGE);
	if (sva_open(&q, d))
		return false;
	ok = !sva_fill(&q, p, 2, SVA_PAGE) && remove_and_rescan(d);
	sva_close(&q);
	return ok;
}

/*
 * A function is removed, and found again, while a thread of ours and another
 * process unmap. No invalidation may be under way to it when its ATS goes off:
 * it would not be answered.
 */
TEST_F_TIMEOUT(sva_window, removed, 2 * SVA_LOAD_S)
{
	struct sva_counts c;
	struct churn *ch;
	struct sva_dev *d;
	unsigned int n;
	pid_t pid;

	if (self->s.nr < 2)
		SKIP(return, "needs two functions");
	/* iotlb_to_section() of QEMU 10.0 looks up an old index in the new map. */
	if (sysconf(_SC_NPROCESSORS_ONLN) > 1)
		SKIP(return, "QEMU can take no BAR away while another CPU uses one");
	ch = churn_new();
	ASSERT_NE(NULL, ch);
	sva_close(--self->s.end);
	d = self->s.end->dev;
	self->s.nr--;
	pid = churn_worker(ch, 0, &self->s);
	self->s.nr++;
	sva_count(&self->s, &c);
	sva_late(&self->s, variant->kind, CHURN_NS);
	ASSERT_TRUE(own_start(&self->own, ch, &self->s, self->buf + SVA_PAGE));
	for (n = 0; n < REMOVALS && !ch->failed; n++)
		EXPECT_TRUE(goes_and_comes(d, self->buf));
	EXPECT_TRUE(own_end(&self->own));
	EXPECT_EQ(0, sva_exit_code(pid));
	sva_on_time(&self->s);

	EXPECT_CLEAN(&self->s);
	EXPECT_FALSE(ch->failed);
	EXPECT_LE(1, ch->rounds[0]);
	EXPECT_LE(1, ch->rounds[NR_WORKERS]);
	sva_count_since(&self->s, &c);
	EXPECT_EQ(0, c.all.timeouts);
	ASSERT_EQ(0, sva_open(self->s.end, d));
	self->s.end++;
}

TEST_HARNESS_MAIN

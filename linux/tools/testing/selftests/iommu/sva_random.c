// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Random changes of an address space, many of them, beside functions that use it.
 * All is quiet when it is looked at: each page that is there and was not changed can
 * be used, what is not there cannot, and no cache has anything that is stale.
 *
 * SVA_SEED in the environment repeats a run, SVA_OPS is how many changes it has. What
 * is stale is told with the change after which it was found. Where SVA_CONT is 1, the
 * IOMMU has the fault that a range which covers a part of a contiguous group leaves the
 * entry of the group: what that explains is counted apart, and has to be there. It
 * explains what is stale in a group that was changed, if the IOMMU says that it has
 * left an entry since its caches were looked at.
 */
#include "../kselftest_harness.h"
#include "sva_utils.h"

#define NR_PAGES	512		/* with the one before, in blocks as large */
/* Pages that can have one entry: a contiguous group of arm64, also elsewhere */
#define GROUP_BYTES	(SVA_PAGE == 4096 ? 64UL << 10 : 2UL << 20)
#define GROUP		(GROUP_BYTES / SVA_PAGE)
#define LOOK		16		/* changes between two looks at the caches */
#define DEFAULT_OPS	200
#define MAX_RANGE	40

/* What the CPU has made of a page, so that a function can ... */
enum state {
	GONE,			/* ... do nothing */
	EMPTY,			/* ... nothing, unless a fault nearby has filled it */
	READABLE,
	WRITABLE,
};

struct range {
	unsigned int first;
	unsigned int nr;
};

FIXTURE(sva_random)
{
	struct sva s;
	char *map;
	char *buf;
	unsigned char state[NR_PAGES];
	unsigned char byte[NR_PAGES];
	/* groups that were changed since the caches were looked at */
	bool touched[NR_PAGES];
	bool cont;
	uint64_t left[SVA_MAX_DEVS];	/* by each function's IOMMU, as far as looked at */
	uint64_t seed;
	uint64_t random;
	unsigned long stale_cont;
	unsigned long stale;
	unsigned long refused;
	bool stop;
	unsigned long toggles;
	struct sva_thread thread;
};

/* Whether the kernel takes such groups, where there are any: always, or never */
static void set_groups(const char *when)
{
	char path[80];

	snprintf(path, sizeof(path),
		 "/sys/kernel/mm/transparent_hugepage/hugepages-%lukB/enabled",
		 GROUP_BYTES >> 10);
	sva_write_file(path, when);
}

FIXTURE_SETUP(sva_random)
{
	const char *why = sva_setup(&self->s, SVA_UNTRANSLATED);
	const char *seed = getenv("SVA_SEED");

	if (why)
		SKIP(return, "%s", why);
	if (!sva_lacks(&self->s, SVA_ATS))
		sva_set_mode(&self->s, SVA_ATS);
	if (!sva_lacks(&self->s, SVA_STALL))
		sva_set_mode(&self->s, SVA_STALL);
	set_groups("always");
	self->seed = seed ? strtoull(seed, NULL, 0) : 1 + sva_now() * 1e9;
	self->random = self->seed;
	self->cont = getenv("SVA_CONT") && *getenv("SVA_CONT") == '1';
	self->map = mmap(NULL, 3 * NR_PAGES * SVA_PAGE, PROT_NONE,
			 MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	ASSERT_NE(MAP_FAILED, self->map);
	self->buf = (char *)(((uintptr_t)self->map + NR_PAGES * SVA_PAGE) &
			     -(NR_PAGES * SVA_PAGE));
	ASSERT_TRUE(sva_open_all(&self->s));
}

FIXTURE_TEARDOWN(sva_random)
{
	__atomic_store_n(&self->stop, true, __ATOMIC_RELAXED);
	sva_thread_end(&self->thread);
	set_groups("never");
	sva_close_all(&self->s);
	sva_teardown(&self->s);
}

/* xorshift64*, so that a seed says all */
static unsigned int draw(FIXTURE_DATA(sva_random) *self, unsigned int below)
{
	self->random ^= self->random >> 12;
	self->random ^= self->random << 25;
	self->random ^= self->random >> 27;
	return (self->random * 0x2545f4914f6cdd1dULL >> 33) % below;
}

static struct range draw_range(FIXTURE_DATA(sva_random) *self)
{
	struct range r = { .first = draw(self, NR_PAGES) };

	r.nr = 1 + draw(self, MAX_RANGE);
	/* whole groups now and then */
	if (!draw(self, 4)) {
		r.first &= -GROUP;
		r.nr = GROUP * (1 + draw(self, 4));
	}
	if (r.nr > NR_PAGES - r.first)
		r.nr = NR_PAGES - r.first;
	return r;
}

static char *at(FIXTURE_DATA(sva_random) *self, unsigned int page)
{
	return self->buf + page * SVA_PAGE;
}

/*
 * Some command can be for a part of the group: a range that covers all of it can take
 * several.
 */
static void changed(FIXTURE_DATA(sva_random) *self, const struct range *r)
{
	unsigned int i, last = r->first + r->nr - 1;

	for (i = r->first / GROUP; i <= last / GROUP; i++)
		self->touched[i] = true;
}

static void set(FIXTURE_DATA(sva_random) *self, const struct range *r,
		enum state state, unsigned char byte)
{
	unsigned int i;

	for (i = r->first; i < r->first + r->nr; i++) {
		self->state[i] = state;
		self->byte[i] = byte;
	}
}

static bool map_range(FIXTURE_DATA(sva_random) *self, const struct range *r,
		      unsigned char byte)
{
	void *p = mmap(at(self, r->first), r->nr * SVA_PAGE,
		       PROT_READ | PROT_WRITE,
		       MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);

	if (p == MAP_FAILED)
		return false;
	memset(p, byte, r->nr * SVA_PAGE);
	set(self, r, WRITABLE, byte);
	return true;
}

static bool unmap_range(FIXTURE_DATA(sva_random) *self, const struct range *r)
{
	set(self, r, GONE, 0);
	return !munmap(at(self, r->first), r->nr * SVA_PAGE);
}

/* What is there of it, page by page: holes are nobody's fault. */
static bool protect_range(FIXTURE_DATA(sva_random) *self, const struct range *r,
			  bool writable)
{
	unsigned int i;

	for (i = r->first; i < r->first + r->nr; i++) {
		if (self->state[i] == GONE)
			continue;
		if (mprotect(at(self, i), SVA_PAGE,
			     PROT_READ | (writable ? PROT_WRITE : 0)))
			return false;
		if (writable) {
			/* Without page requests only the CPU makes it dirty. */
			if (self->state[i] == EMPTY)
				self->byte[i] = 0;
			memset(at(self, i), self->byte[i], SVA_PAGE);
			self->state[i] = WRITABLE;
		} else if (self->state[i] == WRITABLE) {
			self->state[i] = READABLE;
		}
	}
	return true;
}

static bool drop_range(FIXTURE_DATA(sva_random) *self, const struct range *r)
{
	unsigned int i;

	for (i = r->first; i < r->first + r->nr; i++) {
		if (self->state[i] == GONE)
			continue;
		if (madvise(at(self, i), SVA_PAGE, MADV_DONTNEED))
			return false;
		self->state[i] = EMPTY;
	}
	return true;
}

/* All is shared with a child for a while, and then the CPU writes where it may. */
static bool fork_range(FIXTURE_DATA(sva_random) *self, const struct range *r)
{
	struct range all = { .nr = NR_PAGES };
	pid_t pid = sva_fork();
	unsigned int i;

	if (!pid)
		_exit(0);
	if (pid < 0 || sva_exit_code(pid))
		return false;
	/* Each page is copied by itself, or found to be nobody else's. */
	changed(self, &all);
	for (i = 0; i < NR_PAGES; i++)
		if (self->state[i] == WRITABLE)
			memset(at(self, i), self->byte[i], SVA_PAGE);
	return true;
}

static bool move_range(FIXTURE_DATA(sva_random) *self, struct range *r)
{
	struct range to = *r;
	unsigned int i;
	void *p;

	for (i = r->first; i < r->first + r->nr; i++)
		if (self->state[i] != WRITABLE)
			return true;
	to.first = draw(self, NR_PAGES - r->nr);
	if (to.first < r->first + r->nr && r->first < to.first + to.nr)
		return true;
	/* One mapping, of whatever it was made */
	if (!map_range(self, r, 3))
		return false;
	p = mremap(at(self, r->first), r->nr * SVA_PAGE, r->nr * SVA_PAGE,
		   MREMAP_MAYMOVE | MREMAP_FIXED, at(self, to.first));
	if (p == MAP_FAILED)
		return false;
	set(self, &to, WRITABLE, 3);
	set(self, r, GONE, 0);
	changed(self, &to);
	return true;
}

/*
 * khugepaged, which this wakes, would make a huge page again of what is left of one
 * later: where nothing is for a moment, a function without page requests faults.
 */
static bool huge(FIXTURE_DATA(sva_random) *self)
{
	struct range all = { .nr = NR_PAGES };

	if (mmap(self->buf, NR_PAGES * SVA_PAGE, PROT_READ | PROT_WRITE,
		 MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) == MAP_FAILED)
		return false;
	changed(self, &all);
	madvise(self->buf, NR_PAGES * SVA_PAGE, MADV_HUGEPAGE);
	memset(self->buf, 7, NR_PAGES * SVA_PAGE);
	madvise(self->buf, NR_PAGES * SVA_PAGE, MADV_NOHUGEPAGE);
	set(self, &all, WRITABLE, 7);
	return true;
}

/*
 * With the pages of the queues where they were: the kernel could choose a hole of ours,
 * which is mapped over later.
 */
static bool rebind(struct sva_queue *begin, struct sva_queue *end)
{
	struct sva_queue *q;

	for (q = begin; q < end; q++)
		sva_close(q);
	for (q = begin; q < end; q++)
		if (sva_open_at(q, q->dev, q->page))
			return false;
	return true;
}

static bool rebind_one(FIXTURE_DATA(sva_random) *self)
{
	struct sva_queue *q = self->s.q + draw(self, self->s.nr);

	return rebind(q, q + 1);
}

/* One function writes to one page, or reads it: is it as the CPU has left it? */
static bool use(FIXTURE_DATA(sva_random) *self)
{
	struct sva_queue *q = self->s.q + draw(self, self->s.nr);
	unsigned int i = draw(self, NR_PAGES);
	enum state state = self->state[i];
	bool writes = draw(self, 2);
	unsigned char byte = draw(self, 255);
	uint64_t sum;
	int err;

	if (state == EMPTY || (self->cont && self->touched[i / GROUP]))
		return true;
	err = writes ? sva_fill(q, at(self, i), byte, SVA_PAGE) :
		       sva_sum(q, at(self, i), SVA_PAGE, &sum);
	if (state < READABLE || (writes && state == READABLE)) {
		self->refused++;
		return sva_is_fault(&self->s, err);
	}
	if (writes)
		self->byte[i] = byte;
	if (!err)
		return writes ? sva_all(at(self, i), byte, SVA_PAGE) :
				sum == self->byte[i] * SVA_PAGE;
	fprintf(stderr, "# page %u, which is there: %s\n", i, sva_error_string(err));
	return false;
}

/* Has the IOMMU of function @i left an entry since it was asked last? */
static bool has_left(FIXTURE_DATA(sva_random) *self, unsigned int i)
{
	uint64_t before = self->left[i];

	self->left[i] = sva_counter(&self->s.dev[i], SVADEV_U_LEFT);
	return self->left[i] != before;
}

/* At rest: what is stale, and is it what the CONT fault explains? */
static bool look(FIXTURE_DATA(sva_random) *self, unsigned long op)
{
	bool known, left, found = false;
	uint64_t n, addr, where;
	unsigned int i, page;

	for (i = 0; i < self->s.nr; i++) {
		struct sva_dev *d = &self->s.dev[i];

		left = has_left(self, i);
		sva_write(d->ctl, SVADEV_VERIFY, SVADEV_PASID_ALL);
		n = sva_read(d->ctl, SVADEV_VERIFY_STALE);
		if (!n)
			continue;
		addr = sva_read(d->ctl, SVADEV_VERIFY_ADDR);
		where = sva_read(d->ctl, SVADEV_VERIFY_WHERE);
		page = (addr - (uintptr_t)self->buf) / SVA_PAGE;
		known = self->cont && left && where >> 33 & 1 &&
			page < NR_PAGES && self->touched[page / GROUP];
		found = true;
		*(known ? &self->stale_cont : &self->stale) += n;
		fprintf(stderr, "# seed %llu, change %lu: %s has %llu stale, at %#llx in %#llx%s\n",
			(unsigned long long)self->seed, op, d->name,
			(unsigned long long)n, (unsigned long long)addr,
			(unsigned long long)where,
			known ? ", in a group that was changed" : "");
	}
	memset(self->touched, 0, sizeof(self->touched));
	if (!found)
		return true;
	/* An unbind takes all that is cached, so that nothing is found twice. */
	return rebind(self->s.q, self->s.end);
}

static bool change(FIXTURE_DATA(sva_random) *self)
{
	struct range r = draw_range(self);
	unsigned int what = draw(self, 64);

	changed(self, &r);
	if (what < 20)
		return map_range(self, &r, draw(self, 255));
	if (what < 30)
		return unmap_range(self, &r);
	if (what < 38)
		return protect_range(self, &r, false);
	if (what < 46)
		return protect_range(self, &r, true);
	if (what < 54)
		return drop_range(self, &r);
	if (what < 58)
		return move_range(self, &r);
	if (what < 60)
		return fork_range(self, &r);
	if (what < 63)
		return rebind_one(self);
	return huge(self);
}

TEST_F_TIMEOUT(sva_random, changes, 850)
{
	unsigned long op, ops = DEFAULT_OPS;
	const char *env = getenv("SVA_OPS");

	if (env)
		ops = strtoul(env, NULL, 0);
	fprintf(stderr, "# SVA_SEED=%llu SVA_OPS=%lu\n",
		(unsigned long long)self->seed, ops);
	for (op = 0; op < ops; op++) {
		ASSERT_TRUE(change(self)) {
			TH_LOG("change %lu of seed %llu", op,
			       (unsigned long long)self->seed);
		}
		ASSERT_TRUE(use(self)) {
			TH_LOG("use after change %lu of seed %llu", op,
			       (unsigned long long)self->seed);
		}
		if (op % LOOK == LOOK - 1)
			ASSERT_TRUE(look(self, op));
	}
	fprintf(stderr, "# %lu changes, %lu uses refused; stale: %lu by CONT, %lu by nothing known\n",
		ops, self->refused, self->stale_cont, self->stale);
	EXPECT_EQ(0, self->stale);
	EXPECT_EQ(self->cont, !!self->stale_cont);
}

static void *toggle(void *arg)
{
	FIXTURE_DATA(sva_random) *self = arg;
	bool writable = false;

	while (!__atomic_load_n(&self->stop, __ATOMIC_RELAXED)) {
		if (mprotect(at(self, 1), SVA_PAGE,
			     PROT_READ | (writable ? PROT_WRITE : 0)))
			break;
		writable = !writable;
		__atomic_fetch_add(&self->toggles, 1, __ATOMIC_RELAXED);
	}
	return NULL;
}

#define TOGGLES		20	/* at least; a change can take as long as some rounds */

static bool few_toggles(FIXTURE_DATA(sva_random) *self)
{
	return __atomic_load_n(&self->toggles, __ATOMIC_RELAXED) < TOGGLES;
}

#define NEIGHBOUR	0	/* in the group of the page that is changed */
#define OTHER		256	/* in none that is */
#define ROUNDS		300

/*
 * A page that nobody changes, beside one that somebody does: to change a part of a
 * group, the CPU may take it apart, and nothing is there for a moment. So a function
 * without page requests can fault there, and nowhere else; and not when all is quiet.
 */
TEST_F(sva_random, resident)
{
	struct range all = { .nr = NR_PAGES };
	unsigned int i, beside = 0, faults = 0;
	struct sva_queue *q = self->s.q;
	double end;

	if (sva_too_few_cpus(2))
		SKIP(return, "needs 2 CPUs");
	ASSERT_TRUE(map_range(self, &all, 1));
	ASSERT_TRUE(sva_thread_start(&self->thread, 1, toggle, self));
	end = sva_now() + SVA_TIMEOUT_S;
	for (i = 0; i < ROUNDS || (sva_now() < end && few_toggles(self)); i++) {
		sva_do(q, SVADEV_OP_ATC_FLUSH, 0, NULL, NULL, 0, 0);
		beside += !!sva_do(q, SVADEV_OP_SUM, 0, at(self, NEIGHBOUR), NULL, 8, 0);
		faults += !!sva_do(q, SVADEV_OP_SUM, 0, at(self, OTHER), NULL, 8, 0);
	}
	__atomic_store_n(&self->stop, true, __ATOMIC_RELAXED);
	EXPECT_TRUE(sva_thread_end(&self->thread));
	fprintf(stderr, "# faults on a resident page: %u of %u beside %lu changes, %u elsewhere\n",
		beside, i, self->toggles, faults);
	EXPECT_EQ(0, faults);
	EXPECT_LE(TOGGLES, self->toggles);
	for (i = 0; i < GROUP; i++)
		EXPECT_TRUE(sva_sees(q, at(self, i), 1, SVA_PAGE));
	EXPECT_CLEAN(&self->s);
}

TEST_HARNESS_MAIN

// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * A process ends, in one way or another, while its functions work for it. Its
 * page table and its pages go at once, its queues go when the last file is
 * closed, and that file may be in other hands: then the mm dies first, and a
 * function that has translations of it in hand must not use them.
 */
#include <signal.h>
#include <sys/socket.h>

#include "../kselftest_harness.h"
#include "sva_utils.h"

#define NR_PAGES	8
#define LEN		(NR_PAGES * SVA_PAGE)
#define EXEC_ENV	"SVA_EXIT_AFTER_EXEC"

enum death {
	EXIT,
	KILL,
	SEGV,
	EXEC,
};

FIXTURE(sva_exit)
{
	struct sva s;
	char *shared;
	int file;
	int free[SVA_MAX_DEVS];
};

FIXTURE_VARIANT(sva_exit)
{
	enum sva_mode mode;
	enum death death;
};

FIXTURE_VARIANT_ADD(sva_exit, pri_exit)
{
	.mode = SVA_PRI,
	.death = EXIT,
};

FIXTURE_VARIANT_ADD(sva_exit, pri_kill)
{
	.mode = SVA_PRI,
	.death = KILL,
};

FIXTURE_VARIANT_ADD(sva_exit, pri_segv)
{
	.mode = SVA_PRI,
	.death = SEGV,
};

FIXTURE_VARIANT_ADD(sva_exit, pri_exec)
{
	.mode = SVA_PRI,
	.death = EXEC,
};

FIXTURE_VARIANT_ADD(sva_exit, ats_exit)
{
	.mode = SVA_ATS,
	.death = EXIT,
};

FIXTURE_VARIANT_ADD(sva_exit, ats_segv)
{
	.mode = SVA_ATS,
	.death = SEGV,
};

FIXTURE_VARIANT_ADD(sva_exit, ats_exec)
{
	.mode = SVA_ATS,
	.death = EXEC,
};

FIXTURE_VARIANT_ADD(sva_exit, ats_kill)
{
	.mode = SVA_ATS,
	.death = KILL,
};

FIXTURE_VARIANT_ADD(sva_exit, untranslated_kill)
{
	.mode = SVA_UNTRANSLATED,
	.death = KILL,
};

/* Tells that the old mm is gone, and waits with the new one for the end. */
static void __attribute__((constructor(101))) after_exec(void)
{
	const char *fd = getenv(EXEC_ENV);

	if (!fd)
		return;
	if (sva_say(atoi(fd)))
		while (sva_hear(atoi(fd)))
			;
	_exit(0);
}

static int free_queues(struct sva_dev *d)
{
	unsigned int q, n = 0;

	for (q = 0; q < d->nr_queues; q++)
		n += !sva_read(d->ctl, SVADEV_QCTL(q) + SVADEV_QCTL_ENABLE) &&
		     !sva_read(d->ctl, SVADEV_QCTL(q) + SVADEV_QCTL_BUSY);
	return n;
}

FIXTURE_SETUP(sva_exit)
{
	const char *why = sva_setup(&self->s, variant->mode);
	unsigned int i;

	if (!why && sva_drop_config())
		why = "the functions would walk a page table that is free";
	if (why)
		SKIP(return, "%s", why);
	for (i = 0; i < self->s.nr; i++)
		self->free[i] = free_queues(&self->s.dev[i]);
	self->file = memfd_create("sva", MFD_CLOEXEC);
	ASSERT_LE(0, self->file);
	ASSERT_EQ(0, ftruncate(self->file, LEN));
	/* with nothing around, as all of sva_pages() */
	self->shared = sva_pages(NR_PAGES, 0);
	ASSERT_NE(NULL, self->shared);
	ASSERT_EQ(self->shared, mmap(self->shared, LEN, PROT_READ | PROT_WRITE,
				     MAP_SHARED | MAP_FIXED, self->file, 0));
	memset(self->shared, 1, LEN);
}

/* The last user of the mm can be a kernel thread that handles its faults. */
static bool come_home(struct sva_dev *d, int queues)
{
	double end = sva_now() + SVA_TIMEOUT_S;

	while (free_queues(d) != queues) {
		if (sva_now() > end)
			return false;
		usleep(1000);
	}
	return true;
}

/* Every queue comes home, and works for somebody else. */
FIXTURE_TEARDOWN(sva_exit)
{
	struct sva_queue q;
	unsigned int i;

	EXPECT_CLEAN(&self->s);
	for (i = 0; i < self->s.nr; i++) {
		EXPECT_TRUE(come_home(&self->s.dev[i], self->free[i]));
		ASSERT_EQ(0, sva_open(&q, &self->s.dev[i]));
		memset(self->shared, 1, LEN);
		EXPECT_EQ(0, sva_fill(&q, self->shared, 9, LEN));
		EXPECT_TRUE(sva_all(self->shared, 9, LEN));
		sva_close(&q);
	}
	sva_teardown(&self->s);
}

static bool send_fd(int sock, int fd)
{
	char control[CMSG_SPACE(sizeof(int))] = "";
	struct iovec iov = { .iov_base = "f", .iov_len = 1 };
	struct msghdr msg = {
		.msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = control,
		.msg_controllen = sizeof(control),
	};
	struct cmsghdr *c = CMSG_FIRSTHDR(&msg);

	c->cmsg_level = SOL_SOCKET;
	c->cmsg_type = SCM_RIGHTS;
	c->cmsg_len = CMSG_LEN(sizeof(int));
	memcpy(CMSG_DATA(c), &fd, sizeof(int));
	return sendmsg(sock, &msg, 0) == 1;
}

static int receive_fd(int sock)
{
	char control[CMSG_SPACE(sizeof(int))] = "", byte;
	struct iovec iov = { .iov_base = &byte, .iov_len = 1 };
	struct msghdr msg = {
		.msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = control,
		.msg_controllen = sizeof(control),
	};
	struct cmsghdr *c;
	int fd = -1;

	if (recvmsg(sock, &msg, MSG_CMSG_CLOEXEC) != 1)
		return -1;
	c = CMSG_FIRSTHDR(&msg);
	if (c && c->cmsg_type == SCM_RIGHTS)
		memcpy(&fd, CMSG_DATA(c), sizeof(int));
	return fd;
}

static void exec_myself(int sync)
{
	char fd[16];

	fcntl(sync, F_SETFD, 0);
	snprintf(fd, sizeof(fd), "%d", sync);
	setenv(EXEC_ENV, fd, 1);
	execl("/proc/self/exe", "sva_exit", NULL);
}

int *nowhere = (int *)8;

/* Dies on the parent's word. The socket says so, whichever way it dies. */
static void die(enum death how, int sync)
{
	if (!sva_hear(sync))
		_exit(1);
	switch (how) {
	case EXIT:
		_exit(0);
	case SEGV:
		signal(SIGSEGV, SIG_DFL);
		__atomic_store_n(nowhere, 1, __ATOMIC_RELAXED);
		break;
	case EXEC:
		exec_myself(sync);
		break;
	case KILL:
		while (pause() < 0)
			;
	}
	_exit(2);
}

/*
 * All functions stop just before they write to the shared pages, which fork has
 * not put into the child's page table.
 */
static void hold_and_die(struct sva *s, char *shared, int sync, enum death how)
{
	struct sva_queue *q;

	if (!sva_pages_come(s))
		memset(shared, 1, LEN);
	if (!sva_open_all(s) || !sva_warm_up(s, shared, 2, LEN))
		_exit(3);
	for (q = s->q; q < s->end; q++)
		if (sva_hold(q, SVADEV_OP_FILL, NULL, shared, LEN, 3))
			_exit(4);
	/* What is held was translated again, if the cache had lost it. */
	if (!sva_all_cached(s, shared, LEN))
		_exit(5);
	for (q = s->q; q < s->end; q++)
		if (!send_fd(sync, q->fd))
			_exit(6);
	die(how, sync);
}

/* True once the mm of @pid is gone */
static bool kill_and_wait(pid_t pid, int sync, enum death how)
{
	int status;

	if (!sva_say(sync))
		return false;
	if (how == KILL && kill(pid, SIGKILL))
		return false;
	if (how == EXEC)
		return sva_hear(sync);
	if (waitpid(pid, &status, 0) != pid)
		return false;
	return how == EXIT ? WIFEXITED(status) && !WEXITSTATUS(status) :
			     WIFSIGNALED(status);
}

static bool map_queue(struct sva_queue *q, struct sva_dev *d, int fd)
{
	void *p = mmap(NULL, SVADEV_QPAGE_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED,
		       fd, 0);

	*q = (struct sva_queue){ .dev = d, .fd = fd, .page = p };
	return p != MAP_FAILED;
}

/* The held operation goes on now, and must get nowhere; nor must a new one. */
static bool is_powerless(struct sva *s, struct sva_queue *q, char *shared)
{
	return sva_reg(q, SVADEV_Q_STATE) == SVADEV_STATE_HELD &&
	       SVA_IS_REFUSED(s, q, SVA_EXITED, sva_release(q)) &&
	       SVA_IS_REFUSED(s, q, SVA_EXITED, sva_fill(q, shared, 4, LEN));
}

/*
 * The mm dies first. The survivor then lets the functions go on, with
 * translations that they got while the pages were there. The pages still are,
 * as the survivor has them mapped too, so that a write would be seen.
 */
TEST_F(sva_exit, held_and_handed_on)
{
	struct sva_queue q[SVA_MAX_DEVS];
	int fd[SVA_MAX_DEVS];
	struct sva_child c;
	unsigned int i;

	if (!sva_child_new(&c))
		hold_and_die(&self->s, self->shared, c.fd, variant->death);
	ASSERT_LT(0, c.pid);
	for (i = 0; i < self->s.nr; i++) {
		fd[i] = receive_fd(c.fd);
		ASSERT_LE(0, fd[i]);
	}
	ASSERT_TRUE(sva_all(self->shared, 2, LEN));
	for (i = 0; i < self->s.nr; i++)
		ASSERT_TRUE(sva_is_cached(&self->s, &self->s.dev[i],
					  SVADEV_PASID_ALL, self->shared, LEN));

	ASSERT_TRUE(SVA_CHANGE(&self->s, kill_and_wait(c.pid, c.fd,
						       variant->death)));
	EXPECT_CLEAN(&self->s);
	for (i = 0; i < self->s.nr; i++) {
		ASSERT_TRUE(map_queue(&q[i], &self->s.dev[i], fd[i]));
		EXPECT_TRUE(is_powerless(&self->s, &q[i], self->shared));
	}
	EXPECT_TRUE(sva_all(self->shared, 2, LEN));
	EXPECT_CLEAN(&self->s);
	/* unbind, after the mm */
	for (i = 0; i < self->s.nr; i++)
		sva_close(&q[i]);
	close(c.fd);
	if (variant->death == EXEC)
		EXPECT_EQ(c.pid, waitpid(c.pid, NULL, 0));
}

#define RUN_PAGES	256
#define RUN_NS		(20 * SVA_MS)	/* for each step */

/* Long enough to be in the middle of it, which the parent makes sure of */
static void run_and_die(struct sva *s, int sync, enum death how, bool requests)
{
	struct sva_queue q[SVA_MAX_DEVS];
	unsigned int i;
	char *p;

	p = mmap(NULL, RUN_PAGES * SVA_PAGE, PROT_READ | PROT_WRITE,
		 MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (!requests)
		memset(p, 1, RUN_PAGES * SVA_PAGE);
	for (i = 0; i < s->nr; i++) {
		sva_write(s->dev[i].ctl, SVADEV_STEP,
			  SVADEV_PAGE_SIZE | RUN_NS << 32);
		if (sva_open(&q[i], &s->dev[i]))
			_exit(3);
		sva_submit(&q[i], SVADEV_OP_FILL, 0, NULL, p,
			   RUN_PAGES * SVA_PAGE, 5);
	}
	for (i = 0; i < s->nr; i++)
		while (!sva_reg(&q[i], SVADEV_Q_DONE))
			usleep(100);
	if (!sva_say(sync))
		_exit(4);
	die(how, sync);
}

static void dies_while_running(struct __test_metadata *_metadata, struct sva *s,
			       enum death how, bool requests)
{
	uint64_t bytes[SVA_MAX_DEVS];
	struct sva_cached cached;
	struct sva_child c;
	unsigned int i;

	for (i = 0; i < s->nr; i++)
		bytes[i] = sva_counter(&s->dev[i], SVADEV_C_BYTES);
	if (!sva_child_new(&c))
		run_and_die(s, c.fd, how, requests);
	ASSERT_LT(0, c.pid);
	ASSERT_TRUE(sva_hear(c.fd));
	/* Each has at least the page that it has written to. */
	for (i = 0; i < s->nr; i++) {
		sva_count_cached(&s->dev[i], SVADEV_PASID_ALL, NULL, 0, &cached);
		ASSERT_LT(0, cached.iotlb);
		ASSERT_EQ(!sva_untranslated(s), !!cached.atc);
	}
	ASSERT_TRUE(kill_and_wait(c.pid, c.fd, how));
	EXPECT_CLEAN(s);
	/* It was not over. */
	for (i = 0; i < s->nr; i++)
		EXPECT_GT(RUN_PAGES * SVA_PAGE,
			  sva_counter(&s->dev[i], SVADEV_C_BYTES) - bytes[i]);
	close(c.fd);
	if (how == EXEC)
		EXPECT_EQ(c.pid, waitpid(c.pid, NULL, 0));
}

/*
 * Nobody has the files: they are closed, with DMA under way, by the exit. Not
 * with an invalidation lost: the functions would write to memory that is free.
 */
TEST_F(sva_exit, running)
{
	dies_while_running(_metadata, &self->s, variant->death, false);
}

/* The same, with page requests on the way: each is answered before the end. */
TEST_F(sva_exit, requesting)
{
	unsigned int i;

	if (!sva_pages_come(&self->s))
		SKIP(return, "needs page requests");
	dies_while_running(_metadata, &self->s, variant->death, true);
	for (i = 0; i < self->s.nr; i++)
		EXPECT_EQ(sva_requests(&self->s.dev[i]),
			  sva_answers(&self->s.dev[i]));
}

static uint64_t asked(struct sva_dev *d)
{
	return sva_counter(d, SVADEV_C_INV_RANGE) +
	       sva_counter(d, SVADEV_C_INV_PASID) +
	       sva_counter(d, SVADEV_C_INV_UNTAGGED);
}

/* All have the pages in their caches, and then the first is not bound any more. */
static void leave_one_and_die(struct sva *s, char *shared, int sync,
			      enum death how)
{
	if (!sva_open_all(s))
		_exit(3);
	memset(shared, 1, LEN);
	if (!sva_warm_up(s, shared, 2, LEN))
		_exit(4);
	sva_close(&s->q[0]);
	if (!sva_say(sync))
		_exit(5);
	die(how, sync);
}

/*
 * Of two functions one has left the mm before that ends. It is asked nothing then,
 * and of the other nothing is left.
 */
TEST_F(sva_exit, one_has_left)
{
	struct sva_dev *left = &self->s.dev[0];
	uint64_t before[SVA_MAX_DEVS];
	struct sva_cached cached;
	struct sva_child c;
	unsigned int i;

	if (self->s.nr < 2)
		SKIP(return, "needs two functions");
	if (!sva_child_new(&c))
		leave_one_and_die(&self->s, self->shared, c.fd, variant->death);
	ASSERT_LT(0, c.pid);
	ASSERT_TRUE(sva_hear(c.fd));
	EXPECT_CLEAN(&self->s);
	for (i = 0; i < self->s.nr; i++)
		before[i] = asked(&self->s.dev[i]);
	EXPECT_EQ(0, sva_counter(left, SVADEV_C_ATC_USED));
	/* A unit of VT-d forgets its tag when a function leaves. */
	for (i = 1; i < self->s.nr; i++) {
		if (self->s.dev[i].unit != left->unit) {
			ASSERT_TRUE(sva_is_cached(&self->s, &self->s.dev[i],
						  SVADEV_PASID_ALL, self->shared,
						  LEN));
			continue;
		}
		sva_count_cached(&self->s.dev[i], SVADEV_PASID_ALL,
				 self->shared, LEN, &cached);
		ASSERT_EQ(sva_untranslated(&self->s) ? 0 : LEN / SVADEV_PAGE_SIZE,
			  cached.atc);
		EXPECT_EQ(SVA_SMMU ? NR_PAGES : 0, cached.iotlb);
	}
	ASSERT_TRUE(kill_and_wait(c.pid, c.fd, variant->death));
	EXPECT_CLEAN(&self->s);
	EXPECT_EQ(before[0], asked(left));
	for (i = 0; i < self->s.nr; i++) {
		EXPECT_EQ(0, sva_counter(&self->s.dev[i], SVADEV_C_ATC_USED));
		if (i && !sva_untranslated(&self->s))
			EXPECT_LT(before[i], asked(&self->s.dev[i]));
	}
	close(c.fd);
	if (variant->death == EXEC)
		EXPECT_EQ(c.pid, waitpid(c.pid, NULL, 0));
}

TEST_HARNESS_MAIN

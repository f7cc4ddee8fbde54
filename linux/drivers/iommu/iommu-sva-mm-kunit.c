// SPDX-License-Identifier: GPL-2.0-only
/*
 * KUnit tests of what SVA does with an mm: its page faults, its end for want of memory,
 * its user, and what debugfs shows of it
 *
 * The IOMMU driver is that of iommu-sva-mock.c. An mm with memory is the test's own: each
 * test has a thread, whose mm it is.
 */
#include <kunit/test.h>
#include <linux/anon_inodes.h>
#include <linux/completion.h>
#include <linux/cred.h>
#include <linux/delay.h>
#include <linux/fs.h>
#include <linux/iommu.h>
#include <linux/kprobes.h>
#include <linux/kthread.h>
#include <linux/mm.h>
#include <linux/mman.h>
#include <linux/oom.h>
#include <linux/sched/mm.h>
#include <linux/sched/signal.h>
#include <linux/sched/task.h>
#include <linux/seq_file.h>
#include <linux/shmem_fs.h>
#include <linux/uaccess.h>
#include <linux/user_namespace.h>

#include "iommu-priv.h"
#include "iommu-sva-kunit.h"

#define R	IOMMU_FAULT_PERM_READ
#define W	IOMMU_FAULT_PERM_WRITE
#define X	IOMMU_FAULT_PERM_EXEC
#define PRIV	IOMMU_FAULT_PERM_PRIV

#define SUCCESS	IOMMU_PAGE_RESP_SUCCESS
#define INVALID	IOMMU_PAGE_RESP_INVALID

/* --- page faults --- */

/* The group of a fault, as far as who handles it looks at that */
struct test_group {
	struct iopf_group group;
	struct list_head unanswered;
};

static void group_init(struct test_group *tg)
{
	memset(tg, 0, sizeof(*tg));
	tg->group.mm = current->mm;
	INIT_LIST_HEAD(&tg->unanswered);
	list_add(&tg->group.pending_node, &tg->unanswered);
}

static enum iommu_page_response_code handle(struct test_group *tg,
					    unsigned long addr, u32 perm)
{
	struct iommu_fault fault = {
		.type = IOMMU_FAULT_PAGE_REQ,
		.prm = {
			.flags = IOMMU_FAULT_PAGE_REQUEST_PASID_VALID |
				 IOMMU_FAULT_PAGE_REQUEST_LAST_PAGE,
			.perm = perm,
			.addr = addr,
		},
	};

	return iommu_sva_handle_mm(&fault, &tg->group);
}

/* Whoever has handled a fault has given up the lock. */
static void expect_fault(struct kunit *test, unsigned long addr, u32 perm,
			 enum iommu_page_response_code code)
{
	struct test_group tg;

	group_init(&tg);
	KUNIT_EXPECT_EQ_MSG(test, code, handle(&tg, addr, perm),
			    "address %#lx, permissions %#x", addr, perm);
	KUNIT_ASSERT_FALSE(test, rwsem_is_locked(&current->mm->mmap_lock));
}

static void mm_drop(void *mm)
{
	mmdrop(mm);
}

/*
 * Memory of the test's thread, which gets an mm with the first of it. The thread takes
 * mm_users with it when it ends; a reference to mm_count is left.
 */
static unsigned long map_file(struct kunit *test, struct file *file,
			      unsigned long pages, unsigned long prot,
			      unsigned long flags)
{
	bool first = !current->mm;
	unsigned long addr;

	addr = kunit_vm_mmap(test, file, 0, pages * PAGE_SIZE, prot, flags, 0);
	KUNIT_ASSERT_NE(test, 0, addr);
	KUNIT_ASSERT_FALSE(test, IS_ERR_VALUE(addr));
	if (first)
		KUNIT_ASSERT_EQ(test, 0,
				kunit_add_action_or_reset(test, mm_drop,
							  current->mm));
	return addr;
}

static unsigned long map(struct kunit *test, unsigned long pages,
			 unsigned long prot)
{
	return map_file(test, NULL, pages, prot, MAP_PRIVATE | MAP_ANONYMOUS);
}

/* Exactly, other than get_mm_counter() */
static s64 pages_of(struct mm_struct *mm, int kind)
{
	return percpu_counter_sum(&mm->rss_stat[kind]);
}

static void faults_need_permission(struct kunit *test)
{
	static const struct {
		unsigned long prot;
		u32 allowed;
	} kinds[] = {
		{ PROT_NONE, 0 },
		{ PROT_READ, R },
		{ PROT_READ | PROT_WRITE, R | W },
		{ PROT_READ | PROT_EXEC, R | X },
	};
	unsigned long addr;
	unsigned int n;
	u32 perm;

	for (n = 0; n < ARRAY_SIZE(kinds); n++)
		for (perm = R; perm <= (R | W | X); perm++) {
			addr = map(test, 1, kinds[n].prot);
			expect_fault(test, addr, perm,
				     perm & ~kinds[n].allowed ? INVALID : SUCCESS);
		}
}

static void faults_end_at_the_mapping(struct kunit *test)
{
	unsigned long addr = map(test, 4, PROT_READ | PROT_WRITE);

	/* A hole on each side */
	KUNIT_ASSERT_EQ(test, 0, vm_munmap(addr, PAGE_SIZE));
	KUNIT_ASSERT_EQ(test, 0, vm_munmap(addr + 3 * PAGE_SIZE, PAGE_SIZE));
	expect_fault(test, addr, R, INVALID);
	expect_fault(test, addr + PAGE_SIZE - 1, R, INVALID);
	expect_fault(test, addr + PAGE_SIZE, R, SUCCESS);
	expect_fault(test, addr + 3 * PAGE_SIZE - 1, W, SUCCESS);
	expect_fault(test, addr + 3 * PAGE_SIZE, R, INVALID);
}

static void faults_need_a_pasid(struct kunit *test)
{
	struct iommu_fault fault = {
		.type = IOMMU_FAULT_PAGE_REQ,
		.prm.perm = R,
	};
	struct test_group tg;

	fault.prm.addr = map(test, 1, PROT_READ);
	group_init(&tg);
	KUNIT_EXPECT_EQ(test, INVALID, iommu_sva_handle_mm(&fault, &tg.group));
	KUNIT_EXPECT_EQ(test, 0, pages_of(current->mm, MM_ANONPAGES));
}

/* What is written to is a page of its own, which the next access does not fault at. */
static void write_fault_makes_a_page(struct kunit *test)
{
	unsigned long addr = map(test, 1, PROT_READ | PROT_WRITE);

	expect_fault(test, addr, R, SUCCESS);
	KUNIT_EXPECT_EQ(test, 0, pages_of(current->mm, MM_ANONPAGES));
	expect_fault(test, addr, W, SUCCESS);
	KUNIT_EXPECT_EQ(test, 1, pages_of(current->mm, MM_ANONPAGES));
}

/* Of shared memory it gives up the lock, to wait for who writes pages back. */
static void write_fault_of_shared_memory(struct kunit *test)
{
	struct file *file = shmem_kernel_file_setup("sva-test", PAGE_SIZE, 0);
	unsigned long addr;

	KUNIT_ASSERT_FALSE(test, IS_ERR(file));
	addr = map_file(test, file, 1, PROT_READ | PROT_WRITE, MAP_SHARED);
	fput(file);
	expect_fault(test, addr, W, SUCCESS);
	KUNIT_EXPECT_EQ(test, 1, pages_of(current->mm, MM_SHMEMPAGES));
}

/* A file whose pages somebody else has, and does not always give */
static struct {
	struct test_group *tg;
	unsigned int calls;
	unsigned int flags;	/* of the last one */
	unsigned int retries;	/* so many calls, the page is not there yet */
	bool answer;		/* the group gets its answer meanwhile */
	bool kill;		/* the OOM killer chooses the process */
	vm_fault_t error;
	struct page *page;
} served;

static vm_fault_t serve_fault(struct vm_fault *vmf)
{
	served.flags = vmf->flags;
	served.calls++;
	if (served.answer)
		list_del_init_careful(&served.tg->group.pending_node);
	if (served.kill)
		set_bit(MMF_OOM_REAP_QUEUED, &vmf->vma->vm_mm->flags);
	if (served.error)
		return served.error;
	if (served.calls <= served.retries) {
		if (!(vmf->flags & FAULT_FLAG_ALLOW_RETRY))
			return VM_FAULT_SIGBUS;
		release_fault_lock(vmf);
		return VM_FAULT_RETRY;
	}
	get_page(served.page);
	vmf->page = served.page;
	return 0;
}

static const struct vm_operations_struct served_vm_ops = {
	.fault = serve_fault,
};

static int served_mmap(struct file *file, struct vm_area_struct *vma)
{
	vma->vm_ops = &served_vm_ops;
	return 0;
}

static const struct file_operations served_fops = {
	.mmap = served_mmap,
};

static void put_test_page(void *page)
{
	put_page(page);
}

/* One page of such a file, in an mm that is bound */
static unsigned long map_served(struct kunit *test, struct iommu_sva **handle)
{
	struct file *file = anon_inode_getfile("[sva-test]", &served_fops, NULL,
					       O_RDWR);
	unsigned long addr;

	KUNIT_ASSERT_FALSE(test, IS_ERR(file));
	memset(&served, 0, sizeof(served));
	served.page = alloc_page(GFP_KERNEL | __GFP_ZERO);
	KUNIT_ASSERT_NOT_NULL(test, served.page);
	KUNIT_ASSERT_EQ(test, 0, kunit_add_action_or_reset(test, put_test_page,
							   served.page));
	addr = map_file(test, file, 1, PROT_READ | PROT_WRITE | PROT_EXEC,
			MAP_SHARED);
	fput(file);
	*handle = bind(test, DEV, current->mm);
	return addr;
}

/* The page goes away again, so that the next fault asks for it. */
static enum iommu_page_response_code ask(struct kunit *test, unsigned long addr,
					 u32 perm)
{
	enum iommu_page_response_code code;
	struct test_group tg;

	group_init(&tg);
	served.tg = &tg;
	served.calls = 0;
	code = handle(&tg, addr, perm);
	KUNIT_EXPECT_FALSE(test, rwsem_is_locked(&current->mm->mmap_lock));
	mmap_read_lock(current->mm);
	zap_vma_pages(find_vma(current->mm, addr));
	mmap_read_unlock(current->mm);
	return code;
}

static void fault_says_what_it_is(struct kunit *test)
{
	const unsigned int always = FAULT_FLAG_REMOTE | FAULT_FLAG_ALLOW_RETRY |
				    FAULT_FLAG_KILLABLE;
	const unsigned int kinds = always | FAULT_FLAG_WRITE | FAULT_FLAG_USER |
				   FAULT_FLAG_INSTRUCTION | FAULT_FLAG_TRIED |
				   FAULT_FLAG_RETRY_NOWAIT;
	static const struct {
		u32 perm;
		unsigned int flags;
	} faults[] = {
		{ R, FAULT_FLAG_USER },
		{ R | PRIV, 0 },
		{ W, FAULT_FLAG_USER | FAULT_FLAG_WRITE },
		{ W | PRIV, FAULT_FLAG_WRITE },
		{ R | W, FAULT_FLAG_USER | FAULT_FLAG_WRITE },
	};
	struct iommu_sva *handle;
	unsigned long addr = map_served(test, &handle);
	unsigned int n;

	for (n = 0; n < ARRAY_SIZE(faults); n++) {
		KUNIT_EXPECT_EQ(test, SUCCESS, ask(test, addr, faults[n].perm));
		KUNIT_EXPECT_EQ(test, 1, served.calls);
		KUNIT_EXPECT_EQ_MSG(test, always | faults[n].flags,
				    served.flags & kinds, "permissions %#x",
				    faults[n].perm);
	}
	iommu_sva_unbind_device(handle);
}

static void fault_fails(struct kunit *test)
{
	struct iommu_sva *handle;
	unsigned long addr = map_served(test, &handle);
	static const vm_fault_t errors[] = {
		VM_FAULT_SIGBUS, VM_FAULT_SIGSEGV, VM_FAULT_HWPOISON,
	};
	unsigned int n;

	for (n = 0; n < ARRAY_SIZE(errors); n++) {
		served.error = errors[n];
		KUNIT_EXPECT_EQ(test, INVALID, ask(test, addr, R));
		KUNIT_EXPECT_EQ(test, 1, served.calls);
	}
	iommu_sva_unbind_device(handle);
}

/* As often as a CPU's fault might, but not for ever, and not for nobody */
static void fault_is_tried_again(struct kunit *test)
{
	struct iommu_sva *handle;
	unsigned long addr = map_served(test, &handle);

	served.retries = 1;
	KUNIT_EXPECT_EQ(test, SUCCESS, ask(test, addr, W));
	KUNIT_EXPECT_EQ(test, 2, served.calls);
	served.retries = 7;
	KUNIT_EXPECT_EQ(test, SUCCESS, ask(test, addr, R));
	KUNIT_EXPECT_EQ(test, 8, served.calls);
	served.retries = UINT_MAX;
	KUNIT_EXPECT_EQ(test, INVALID, ask(test, addr, R));
	KUNIT_EXPECT_EQ(test, 8, served.calls);

	served.answer = true;
	KUNIT_EXPECT_EQ(test, INVALID, ask(test, addr, R));
	KUNIT_EXPECT_EQ(test, 1, served.calls);
	served.answer = false;
	served.kill = true;
	KUNIT_EXPECT_EQ(test, INVALID, ask(test, addr, R));
	KUNIT_EXPECT_EQ(test, 1, served.calls);
	clear_bit(MMF_OOM_REAP_QUEUED, &current->mm->flags);
	iommu_sva_unbind_device(handle);
}

/* --- want of memory --- */

#define OOM_PAGES	4

/*
 * An mm with memory, and a bond. The test's thread is its only task, until it
 * leaves it.
 */
static struct mm_struct *mm_with_memory(struct kunit *test,
					struct iommu_sva **handle)
{
	unsigned long addr = map(test, OOM_PAGES, PROT_READ | PROT_WRITE);
	unsigned int n;

	for (n = 0; n < OOM_PAGES; n++)
		KUNIT_ASSERT_EQ(test, 0, put_user(1, (int __user *)
						  (addr + n * PAGE_SIZE)));
	KUNIT_ASSERT_EQ(test, OOM_PAGES,
			pages_of(current->mm, MM_ANONPAGES));
	*handle = bind(test, DEV, current->mm);
	return current->mm;
}

static unsigned long oom(void)
{
	unsigned long freed = 0;

	iommu_sva_oom(NULL, 0, &freed);
	return freed;
}

static int reaped(struct mm_struct *mm)
{
	return READ_ONCE(mm->iommu_mm->reap);
}

static void mm_of_a_task_is_not_reaped(struct kunit *test)
{
	struct iommu_sva *handle;
	struct mm_struct *mm = mm_with_memory(test, &handle);

	/* Nobody handles a fault */
	KUNIT_EXPECT_EQ(test, 0, oom());
	KUNIT_ASSERT_TRUE(test, iommu_sva_mmget(mm));
	KUNIT_EXPECT_EQ(test, 0, oom());
	KUNIT_EXPECT_EQ(test, SVA_NOT_REAPED, reaped(mm));
	iommu_sva_mmput(mm);
	KUNIT_EXPECT_EQ(test, 0, oom());
	KUNIT_EXPECT_EQ(test, OOM_PAGES, pages_of(mm, MM_ANONPAGES));
	iommu_sva_unbind_device(handle);
}

/* So long at least mmap_lock is tried for. */
#define REAP_TIME	(9 * HZ / 10)

/* Others than tasks may have a reference for long. */
static void mm_without_tasks_is_reaped_once(struct kunit *test)
{
	struct iommu_sva *handle;
	struct mm_struct *mm = mm_with_memory(test, &handle);
	unsigned long start;
	bool slow;
	int count;

	KUNIT_ASSERT_TRUE(test, iommu_sva_mmget(mm));
	kthread_unuse_mm(mm);
	count = atomic_read(&mm->mm_count);

	mmap_write_lock(mm);
	start = jiffies;
	KUNIT_EXPECT_EQ(test, 1, oom());
	KUNIT_EXPECT_EQ(test, SVA_REAPING, reaped(mm));
	/* Who needs the memory comes again. */
	KUNIT_EXPECT_EQ(test, 1, oom());
	KUNIT_EXPECT_EQ(test, count + 1, atomic_read(&mm->mm_count));
	KUNIT_EXPECT_EQ(test, OOM_PAGES, pages_of(mm, MM_ANONPAGES));
	mmap_write_unlock(mm);
	slow = time_after_eq(jiffies, start + REAP_TIME);

	KUNIT_EXPECT_TRUE(test, EVENTUALLY(reaped(mm) == SVA_REAPED));
	/* On a machine that is busy it may have given up. */
	if (!slow)
		KUNIT_EXPECT_EQ(test, 0, pages_of(mm, MM_ANONPAGES));
	KUNIT_EXPECT_TRUE(test, EVENTUALLY(atomic_read(&mm->mm_count) == count));
	KUNIT_EXPECT_EQ(test, 0, oom());
	KUNIT_EXPECT_EQ(test, count, atomic_read(&mm->mm_count));
	iommu_sva_mmput(mm);
	kthread_use_mm(mm);
	iommu_sva_unbind_device(handle);
	if (slow && test->status == KUNIT_SUCCESS)
		kunit_skip(test, "too slow to see that it is reaped");
}

/* The last reference to it is that of who handles its faults. */
static void mm_of_its_faults_is_reaped(struct kunit *test)
{
	struct iommu_sva *handle;
	struct mm_struct *mm = mm_with_memory(test, &handle);

	/* Two of them are two references. */
	KUNIT_ASSERT_TRUE(test, iommu_sva_mmget(mm));
	KUNIT_ASSERT_TRUE(test, iommu_sva_mmget(mm));
	mmput(mm);
	KUNIT_EXPECT_TRUE(test, iommu_sva_mm_is_dying(mm));
	KUNIT_EXPECT_EQ(test, 1, oom());
	KUNIT_EXPECT_TRUE(test, EVENTUALLY(reaped(mm) == SVA_REAPED));
	KUNIT_EXPECT_EQ(test, 0, pages_of(mm, MM_ANONPAGES));
	mmget(mm);
	iommu_sva_mmput(mm);
	iommu_sva_mmput(mm);
	iommu_sva_unbind_device(handle);
}

/* Whoever has mmap_lock may have it for ever. */
static void reaping_gives_up(struct kunit *test)
{
	struct iommu_sva *handle;
	struct mm_struct *mm = mm_with_memory(test, &handle);

	KUNIT_ASSERT_TRUE(test, iommu_sva_mmget(mm));
	kthread_unuse_mm(mm);
	mmap_write_lock(mm);
	KUNIT_EXPECT_EQ(test, 1, oom());
	KUNIT_EXPECT_TRUE(test, EVENTUALLY(reaped(mm) == SVA_REAPED));
	KUNIT_EXPECT_EQ(test, OOM_PAGES, pages_of(mm, MM_ANONPAGES));
	KUNIT_EXPECT_EQ(test, 0, oom());
	mmap_write_unlock(mm);
	iommu_sva_mmput(mm);
	kthread_use_mm(mm);
	iommu_sva_unbind_device(handle);
}

static void mm_is_reaped_under_mmap_lock(struct kunit *test)
{
	struct iommu_sva *handle;
	struct mm_struct *mm = mm_with_memory(test, &handle);

	mmap_write_lock(mm);
	KUNIT_EXPECT_FALSE(test, oom_reap_mm(mm));
	mmap_write_unlock(mm);
	KUNIT_EXPECT_EQ(test, OOM_PAGES, pages_of(mm, MM_ANONPAGES));

	/* Its tables may be about to be freed. */
	set_bit(MMF_OOM_SKIP, &mm->flags);
	KUNIT_EXPECT_FALSE(test, oom_reap_mm(mm));
	clear_bit(MMF_OOM_SKIP, &mm->flags);
	KUNIT_EXPECT_EQ(test, OOM_PAGES, pages_of(mm, MM_ANONPAGES));
	KUNIT_EXPECT_FALSE(test, test_bit(MMF_UNSTABLE, &mm->flags));

	KUNIT_EXPECT_TRUE(test, oom_reap_mm(mm));
	KUNIT_EXPECT_EQ(test, 0, pages_of(mm, MM_ANONPAGES));
	KUNIT_EXPECT_TRUE(test, test_bit(MMF_UNSTABLE, &mm->flags));
	KUNIT_EXPECT_FALSE(test, rwsem_is_locked(&mm->mmap_lock));
	iommu_sva_unbind_device(handle);
}

/* Each reason by itself */
static void faults_of_a_dying_mm_are_refused(struct kunit *test)
{
	static const int flags[] = {
		MMF_OOM_REAP_QUEUED, MMF_OOM_SKIP, MMF_UNSTABLE,
	};
	struct iommu_sva *handle;
	struct mm_struct *mm = test_mm(test);
	unsigned int n;

	handle = bind(test, DEV, mm);
	KUNIT_EXPECT_FALSE(test, iommu_sva_mm_is_dying(mm));
	for (n = 0; n < ARRAY_SIZE(flags); n++) {
		set_bit(flags[n], &mm->flags);
		KUNIT_EXPECT_TRUE(test, iommu_sva_mm_is_dying(mm));
		KUNIT_EXPECT_FALSE(test, iommu_sva_mmget(mm));
		clear_bit(flags[n], &mm->flags);
	}

	/* A reference for each fault, and one of the process */
	for (n = 1; n <= 3; n++) {
		KUNIT_EXPECT_TRUE(test, iommu_sva_mmget(mm));
		KUNIT_EXPECT_EQ(test, n, mm->iommu_mm->faulting);
		KUNIT_EXPECT_EQ(test, 1 + n, atomic_read(&mm->mm_users));
		KUNIT_EXPECT_FALSE(test, iommu_sva_mm_is_dying(mm));
	}
	mmput(mm);
	KUNIT_EXPECT_TRUE(test, iommu_sva_mm_is_dying(mm));
	KUNIT_EXPECT_FALSE(test, iommu_sva_mmget(mm));
	KUNIT_EXPECT_EQ(test, 3, mm->iommu_mm->faulting);
	mmget(mm);
	while (--n)
		iommu_sva_mmput(mm);
	KUNIT_EXPECT_EQ(test, 0, mm->iommu_mm->faulting);
	KUNIT_EXPECT_EQ(test, 1, atomic_read(&mm->mm_users));
	iommu_sva_unbind_device(handle);
}

static int report_write(unsigned long addr, bool last)
{
	struct iopf_fault evt = {
		.fault.type = IOMMU_FAULT_PAGE_REQ,
		.fault.prm = {
			.flags = IOMMU_FAULT_PAGE_REQUEST_PASID_VALID |
				 (last ? IOMMU_FAULT_PAGE_REQUEST_LAST_PAGE : 0),
			.pasid = mm_get_enqcmd_pasid(current->mm),
			.perm = W,
			.grpid = 1,
			.addr = addr,
		},
	};

	return iommu_report_device_fault(DEV, &evt);
}

/* Its worker ends with the fault that it has in hand. */
static void answered_group_is_left(struct kunit *test)
{
	unsigned long addr = map(test, 2, PROT_READ | PROT_WRITE);
	struct mm_struct *mm = current->mm;
	struct iommu_sva *handle;

	sva_mock.queue = iopf_queue_alloc();
	KUNIT_ASSERT_NOT_NULL(test, sva_mock.queue);
	KUNIT_ASSERT_EQ(test, 0, iopf_queue_add_device(sva_mock.queue, DEV));
	handle = bind(test, DEV, mm);
	mmap_write_lock(mm);
	KUNIT_EXPECT_EQ(test, 0, report_write(addr, false));
	KUNIT_EXPECT_EQ(test, 0, report_write(addr + PAGE_SIZE, true));
	KUNIT_EXPECT_TRUE(test, EVENTUALLY(READ_ONCE(mm->iommu_mm->faulting) == 1));
	iommu_sva_unbind_device(handle);
	mmap_write_unlock(mm);
	KUNIT_EXPECT_TRUE(test, EVENTUALLY(!READ_ONCE(mm->iommu_mm->faulting)));
	KUNIT_EXPECT_EQ(test, 1, pages_of(mm, MM_ANONPAGES));
}

/* --- users --- */

/* Whose page faults those of an mm are that is bound with @cred */
static struct iommu_sva_user *user_of(struct kunit *test, const struct cred *cred)
{
	const struct cred *old = override_creds(cred);
	struct mm_struct *mm = test_mm(test);
	struct iommu_sva *handle = bind(test, DEV, mm);

	revert_creds(old);
	iommu_sva_unbind_device(handle);
	return mm->iommu_mm->user;
}

static void users_are_told_apart(struct kunit *test)
{
	const struct cred *root = current_cred();
	struct cred *one = test_cred(test, 1000);
	struct cred *two = test_cred(test, 1001);
	struct iommu_sva_user *user = user_of(test, one);

	KUNIT_EXPECT_PTR_EQ(test, user, user_of(test, one));
	KUNIT_EXPECT_PTR_EQ(test, user, user_of(test, test_cred(test, 1000)));
	KUNIT_EXPECT_PTR_NE(test, user, user_of(test, two));
	KUNIT_EXPECT_PTR_NE(test, user, user_of(test, root));
}

/* Containers of root count by themselves, and what is in them by its container. */
static void containers_are_told_apart(struct kunit *test)
{
	struct cred *one = test_cred(test, 0);
	struct cred *two = test_cred(test, 0);
	struct iommu_sva_user *user;

	if (create_user_ns(one) || create_user_ns(two))
		kunit_skip(test, "needs CONFIG_USER_NS");
	user = user_of(test, one);
	KUNIT_EXPECT_PTR_EQ(test, user, user_of(test, one));
	KUNIT_EXPECT_PTR_NE(test, user, user_of(test, two));
	KUNIT_EXPECT_PTR_NE(test, user, user_of(test, current_cred()));
	/* Its own users are its. */
	one->uid = KUIDT_INIT(1007);
	KUNIT_EXPECT_PTR_EQ(test, user, user_of(test, one));
}

#ifdef CONFIG_HAVE_FUNCTION_ARG_ACCESS_API

static const void *watched;
static bool watched_is_freed;

static int look_at_kfree(struct kprobe *kp, struct pt_regs *regs)
{
	if ((void *)regs_get_kernel_argument(regs, 0) == READ_ONCE(watched))
		WRITE_ONCE(watched_is_freed, true);
	return 0;
}

NOKPROBE_SYMBOL(look_at_kfree);

static struct kprobe kfree_probe;

static void unprobe_kfree(void *unused)
{
	unregister_kprobe(&kfree_probe);
}

static void user_is_freed(struct kunit *test)
{
	struct cred *cred = test_cred(test, 1006);
	struct mm_struct *mm = mm_alloc();
	const struct cred *old;

	KUNIT_ASSERT_NOT_NULL(test, mm);
	old = override_creds(cred);
	iommu_sva_unbind_device(bind(test, DEV, mm));
	revert_creds(old);
	watched_is_freed = false;
	watched = mm->iommu_mm->user;
	kfree_probe = (struct kprobe) {
		.symbol_name = "kfree",
		.pre_handler = look_at_kfree,
	};
	if (register_kprobe(&kfree_probe)) {
		mmput(mm);
		kunit_skip(test, "needs KPROBES");
	}
	KUNIT_ASSERT_EQ(test, 0, kunit_add_action_or_reset(test, unprobe_kfree, NULL));
	mmput(mm);
	KUNIT_EXPECT_TRUE(test, EVENTUALLY(READ_ONCE(watched_is_freed)));
}

#else

static void user_is_freed(struct kunit *test)
{
	kunit_skip(test, "needs KPROBES");
}

#endif

/* Until its last mm is freed; also where a bind fails that has made the user. */
static void user_goes_with_its_last_mm(struct kunit *test)
{
	struct mm_struct *mm[] = { mm_alloc(), mm_alloc() };
	u32 max_pasids = DEV->iommu->max_pasids;
	struct cred *cred = test_cred(test, 1002);
	const struct cred *old;
	ioasid_t pasid;

	KUNIT_ASSERT_NOT_NULL(test, mm[0]);
	KUNIT_ASSERT_NOT_NULL(test, mm[1]);
	/* The lowest is the next; from then on there is none. */
	pasid = iommu_alloc_global_pasid(DEV);
	iommu_free_global_pasid(pasid);
	DEV->iommu->max_pasids = max(pasid, IOMMU_FIRST_GLOBAL_PASID) + 1;
	KUNIT_EXPECT_EQ(test, 0, iommu_sva_count_mms(cred->uid));

	old = override_creds(cred);
	iommu_sva_unbind_device(bind(test, DEV, mm[0]));
	KUNIT_EXPECT_EQ(test, 1, iommu_sva_count_mms(cred->uid));
	KUNIT_EXPECT_EQ(test, -ENOSPC,
			PTR_ERR_OR_ZERO(iommu_sva_bind_device(DEV, mm[1])));
	KUNIT_EXPECT_EQ(test, 1, iommu_sva_count_mms(cred->uid));
	DEV->iommu->max_pasids = max_pasids;
	iommu_sva_unbind_device(bind(test, DEV, mm[1]));
	revert_creds(old);
	KUNIT_EXPECT_EQ(test, 2, iommu_sva_count_mms(cred->uid));
	mmput(mm[0]);
	KUNIT_EXPECT_TRUE(test, EVENTUALLY(iommu_sva_count_mms(cred->uid) == 1));
	mmput(mm[1]);
	KUNIT_EXPECT_TRUE(test, EVENTUALLY(iommu_sva_count_mms(cred->uid) == 0));

	/* And the PASID can be had again. */
	DEV->iommu->max_pasids = max(pasid, IOMMU_FIRST_GLOBAL_PASID) + 1;
	pasid = iommu_alloc_global_pasid(DEV);
	KUNIT_EXPECT_NE(test, IOMMU_PASID_INVALID, pasid);
	if (pasid != IOMMU_PASID_INVALID)
		iommu_free_global_pasid(pasid);
	DEV->iommu->max_pasids = max_pasids;
}

/* --- debugfs --- */

#ifdef CONFIG_IOMMU_DEBUGFS

#define SHOWN_SIZE	8192

/* What somebody reads there */
static const char *show(struct kunit *test)
{
	struct seq_file m = {
		.buf = kunit_kzalloc(test, SHOWN_SIZE, GFP_KERNEL),
		.size = SHOWN_SIZE - 1,
	};

	KUNIT_ASSERT_NOT_NULL(test, m.buf);
	mutex_init(&m.lock);
	KUNIT_EXPECT_EQ(test, 0, iommu_sva_show(&m, NULL));
	KUNIT_EXPECT_FALSE(test, seq_has_overflowed(&m));
	return m.buf;
}

__printf(2, 3)
static const char *text(struct kunit *test, const char *fmt, ...)
{
	char *buf = kunit_kzalloc(test, SHOWN_SIZE, GFP_KERNEL);
	va_list args;

	KUNIT_ASSERT_NOT_NULL(test, buf);
	va_start(args, fmt);
	vsnprintf(buf, SHOWN_SIZE, fmt, args);
	va_end(args);
	return buf;
}

static void debugfs_shows_each_bond(struct kunit *test)
{
	struct mm_struct *mm[] = { test_mm(test), test_mm(test), test_mm(test) };
	const char *comm = current->comm;
	struct iommu_sva *handle[4];
	u32 pasid[3], low, high;
	const char *expected;
	unsigned int n;

	KUNIT_EXPECT_STREQ(test, "", show(test));
	for (n = 0; n < 3; n++) {
		handle[n] = bind(test, DEV, mm[n]);
		pasid[n] = iommu_sva_get_pasid(handle[n]);
	}
	iommu_sva_unbind_device(handle[2]);
	low = min(pasid[0], pasid[1]);
	high = max(pasid[0], pasid[1]);
	expected = text(test,
			"PASID %u  %s\n  domain 0\n    %-12s sva-mock2\n"
			"PASID %u  %s\n  domain 0\n    %-12s sva-mock2\n",
			low, comm, "sva-mock-iommu1",
			high, comm, "sva-mock-iommu1");
	KUNIT_EXPECT_STREQ(test, expected, show(test));
	/* In this order, whichever came first */
	swap(mm[0]->iommu_mm->pasid, mm[1]->iommu_mm->pasid);
	KUNIT_EXPECT_STREQ(test, expected, show(test));
	swap(mm[0]->iommu_mm->pasid, mm[1]->iommu_mm->pasid);
	iommu_sva_unbind_device(handle[0]);
	iommu_sva_unbind_device(handle[1]);
	KUNIT_EXPECT_STREQ(test, "", show(test));
}

/* Under its own domain, and all members of a group that can have a PASID */
static void debugfs_shows_domains_and_groups(struct kunit *test)
{
	struct mm_struct *mm = test_mm(test);
	u32 max_pasids = GROUP_SECOND->iommu->max_pasids;
	struct iommu_sva *group = bind(test, GROUP_FIRST, mm);
	struct iommu_sva *odd = bind(test, ODD, mm);
	struct iommu_sva *same = bind(test, SAME_INSTANCE, mm);
	int count = atomic_read(&mm->mm_count);
	const char *head, *shown;

	head = text(test,
		    "PASID %u  %s\n  domain 0\n    %-12s sva-mock4\n"
		    "  domain 1\n    %-12s sva-mock0\n",
		    mm_get_enqcmd_pasid(mm), current->comm,
		    "sva-mock-iommu2", "sva-mock-iommu0");
	shown = text(test, "%s    %-12s sva-mock1\n    %-12s sva-mock3\n", head,
		     "sva-mock-iommu0", "sva-mock-iommu1");
	KUNIT_EXPECT_STREQ(test, shown, show(test));
	GROUP_SECOND->iommu->max_pasids = 1;
	shown = text(test, "%s    %-12s sva-mock3\n", head, "sva-mock-iommu1");
	KUNIT_EXPECT_STREQ(test, shown, show(test));
	GROUP_SECOND->iommu->max_pasids = max_pasids;
	KUNIT_EXPECT_EQ(test, count, atomic_read(&mm->mm_count));
	iommu_sva_unbind_device(odd);
	iommu_sva_unbind_device(group);
	iommu_sva_unbind_device(same);
}

/* One whose last reference has gone is about to leave the list. */
static void debugfs_passes_over_a_freed_mm(struct kunit *test)
{
	struct iommu_mm_data *data = kunit_kzalloc(test, sizeof(*data), GFP_KERNEL);
	struct mm_struct *mm = kunit_kzalloc(test, sizeof(*mm), GFP_KERNEL);
	struct iommu_sva *handle = bind(test, DEV, test_mm(test));
	struct iommu_domain domain = {};

	KUNIT_ASSERT_NOT_NULL(test, data);
	KUNIT_ASSERT_NOT_NULL(test, mm);
	mutex_init(&data->lock);
	INIT_LIST_HEAD(&data->sva_domains);
	INIT_LIST_HEAD(&data->bonds);
	list_add(&domain.next, &data->sva_domains);
	data->mm = mm;
	/* The lowest and the highest: those behind it are shown, and it ends. */
	data->pasid = 1;
	iommu_sva_debugfs_add(data);
	KUNIT_EXPECT_NULL(test, strstr(show(test), "PASID 1 "));
	if (iommu_sva_get_pasid(handle) > 1)
		KUNIT_EXPECT_NOT_NULL(test, strstr(show(test), "sva-mock2"));
	data->pasid = U32_MAX;
	KUNIT_EXPECT_NOT_NULL(test, strstr(show(test), "sva-mock2"));
	KUNIT_EXPECT_NULL(test, strstr(show(test), "domain 1"));
	iommu_sva_debugfs_del(data);
	KUNIT_EXPECT_EQ(test, 0, atomic_read(&mm->mm_count));
	iommu_sva_unbind_device(handle);
}

struct shower {
	struct kunit *test;
	struct completion done;
};

static int show_thread(void *data)
{
	struct shower *shower = data;
	struct seq_file m = { .buf = NULL };

	/* Too small for anything, so that nothing is written. */
	iommu_sva_show(&m, NULL);
	complete(&shower->done);
	return 0;
}

/* The process exits, and its bond goes, while somebody looks at them. */
static void debugfs_keeps_the_mm(struct kunit *test)
{
	struct shower shower = {
		.done = COMPLETION_INITIALIZER_ONSTACK(shower.done),
	};
	struct mm_struct *mm = mm_alloc();
	struct iommu_mm_data *iommu_mm;
	struct task_struct *thread;

	KUNIT_ASSERT_NOT_NULL(test, mm);
	iommu_sva_unbind_device(bind(test, DEV, mm));
	iommu_mm = mm->iommu_mm;
	mmgrab(mm);
	KUNIT_EXPECT_TRUE(test, EVENTUALLY(atomic_read(&mm->mm_users) == 1));
	mutex_lock(&iommu_mm->lock);
	thread = kthread_run(show_thread, &shower, "sva-show");
	if (!IS_ERR(thread))
		KUNIT_EXPECT_TRUE(test, EVENTUALLY(atomic_read(&mm->mm_count) == 3));
	/* Not under the lock */
	mmput_async(mm);
	/* The test's, and that of who looks */
	KUNIT_EXPECT_TRUE(test, EVENTUALLY(atomic_read(&mm->mm_count) == 2));
	mutex_unlock(&iommu_mm->lock);
	KUNIT_ASSERT_FALSE(test, IS_ERR(thread));
	wait_for_completion(&shower.done);
	KUNIT_EXPECT_EQ(test, 1, atomic_read(&mm->mm_count));
	mmdrop(mm);
	KUNIT_EXPECT_STREQ(test, "", show(test));
}

static int show_often(void *buf)
{
	while (!kthread_should_stop()) {
		struct seq_file m = { .buf = buf, .size = SHOWN_SIZE };

		iommu_sva_show(&m, NULL);
		cond_resched();
	}
	return 0;
}

static void stop_showing(void *thread)
{
	kthread_stop(thread);
}

/* Processes, domains, groups and devices come and go meanwhile: for KASAN to see. */
static void debugfs_while_all_goes(struct kunit *test)
{
	void *buf = kunit_kzalloc(test, SHOWN_SIZE, GFP_KERNEL);
	unsigned long end = jiffies + HZ / 2;
	struct task_struct *thread;
	struct iommu_sva *handle[3];
	struct mm_struct *mm;
	unsigned int n = 0;

	KUNIT_ASSERT_NOT_NULL(test, buf);
	thread = kthread_run(show_often, buf, "sva-show");
	KUNIT_ASSERT_FALSE(test, IS_ERR(thread));
	KUNIT_ASSERT_EQ(test, 0, kunit_add_action_or_reset(test, stop_showing, thread));
	do {
		mm = mm_alloc();
		if (!mm)
			break;
		handle[0] = bind(test, DEV, mm);
		handle[1] = bind(test, ODD, mm);
		handle[2] = bind(test, GROUP_FIRST, mm);
		if (n++ == 8)
			sva_mock_dev_del(to_sva_mock_dev(GROUP_SECOND));
		iommu_sva_unbind_device(handle[n % 3]);
		mmput(mm);
		iommu_sva_unbind_device(handle[(n + 1) % 3]);
		iommu_sva_unbind_device(handle[(n + 2) % 3]);
	} while (time_before(jiffies, end) || n < 10);
	kunit_release_action(test, stop_showing, thread);
	KUNIT_EXPECT_GE(test, n, 10);
}
#endif /* CONFIG_IOMMU_DEBUGFS */

static struct kunit_case mm_cases[] = {
	KUNIT_CASE(faults_need_permission),
	KUNIT_CASE(faults_end_at_the_mapping),
	KUNIT_CASE(faults_need_a_pasid),
	KUNIT_CASE(write_fault_makes_a_page),
	KUNIT_CASE(write_fault_of_shared_memory),
	KUNIT_CASE(fault_says_what_it_is),
	KUNIT_CASE(fault_fails),
	KUNIT_CASE(fault_is_tried_again),
	KUNIT_CASE(mm_of_a_task_is_not_reaped),
	KUNIT_CASE(mm_without_tasks_is_reaped_once),
	KUNIT_CASE(mm_of_its_faults_is_reaped),
	KUNIT_CASE(reaping_gives_up),
	KUNIT_CASE(mm_is_reaped_under_mmap_lock),
	KUNIT_CASE(faults_of_a_dying_mm_are_refused),
	KUNIT_CASE(answered_group_is_left),
	KUNIT_CASE(users_are_told_apart),
	KUNIT_CASE(containers_are_told_apart),
	KUNIT_CASE(user_is_freed),
	KUNIT_CASE(user_goes_with_its_last_mm),
#ifdef CONFIG_IOMMU_DEBUGFS
	KUNIT_CASE(debugfs_shows_each_bond),
	KUNIT_CASE(debugfs_shows_domains_and_groups),
	KUNIT_CASE(debugfs_passes_over_a_freed_mm),
	KUNIT_CASE(debugfs_keeps_the_mm),
	KUNIT_CASE(debugfs_while_all_goes),
#endif
	{}
};

static struct kunit_suite mm_suite = {
	.name = "iommu_sva_mm",
	.init = sva_mock_init,
	.exit = sva_mock_exit,
	.test_cases = mm_cases,
};

kunit_test_suite(mm_suite);

MODULE_DESCRIPTION("Tests of what SVA does with an mm");
MODULE_LICENSE("GPL");

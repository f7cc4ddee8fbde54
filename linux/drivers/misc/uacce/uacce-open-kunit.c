// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * KUnit tests of files of uacce devices: how often a driver's methods are called, what
 * an open leaves behind that fails, and who answers page faults meanwhile
 */
#include <kunit/device.h>
#include <kunit/test.h>
#include <linux/cdev.h>
#include <linux/completion.h>
#include <linux/delay.h>
#include <linux/fs.h>
#include <linux/iommu.h>
#include <linux/kthread.h>
#include <linux/mm_types.h>
#include <linux/sched/signal.h>
#include <linux/sched/task.h>
#include <linux/uacce.h>
#include <uapi/misc/uacce/uacce.h>

struct test_accelerator {
	struct uacce_device *uacce;
	bool removed;
	const struct file_operations *fops;
	unsigned int got, started, stopped, put;	/* queues */
	int get_error, start_error;
	struct iommu_sva *handle;	/* whose faults they are stopped with */
	unsigned int stopping;		/* what it says then */
};

static struct test_accelerator accelerator;

static int get_queue(struct uacce_device *uacce, unsigned long arg,
		     struct uacce_queue *q)
{
	if (accelerator.get_error)
		return accelerator.get_error;
	accelerator.got++;
	return 0;
}

static void put_queue(struct uacce_queue *q)
{
	accelerator.put++;
}

static int start_queue(struct uacce_queue *q)
{
	if (accelerator.start_error)
		return accelerator.start_error;
	accelerator.started++;
	return 0;
}

static void stop_queue(struct uacce_queue *q)
{
	accelerator.stopped++;
	if (accelerator.handle)
		accelerator.stopping = accelerator.handle->stopping;
}

static const struct uacce_ops test_ops = {
	.get_queue = get_queue,
	.put_queue = put_queue,
	.start_queue = start_queue,
	.stop_queue = stop_queue,
};

static int accelerator_init(struct kunit *test)
{
	struct uacce_interface interface = {
		.name = "uacce-open-kunit",
		.ops = &test_ops,
	};
	struct device *parent = kunit_device_register(test, "uacce-open-kunit");
	struct uacce_device *uacce;
	int ret;

	memset(&accelerator, 0, sizeof(accelerator));
	if (IS_ERR(parent))
		return PTR_ERR(parent);

	uacce = uacce_alloc(parent, &interface);
	if (IS_ERR(uacce))
		return PTR_ERR(uacce);
	accelerator.uacce = uacce;
	/* Some of the tests look at it after its removal. */
	get_device(&uacce->dev);
	ret = uacce_register(uacce);
	if (!ret)
		accelerator.fops = uacce->cdev->ops;
	return ret;
}

static void remove_device(void)
{
	accelerator.removed = true;
	uacce_remove(accelerator.uacce);
}

/*
 * Unless the test has done so, because something failed, remove the device; if an open has
 * left its lock behind, that would wait for ever.
 */
static void accelerator_exit(struct kunit *test)
{
	if (!accelerator.uacce)
		return;
	if (!accelerator.removed && !rwsem_is_locked(&accelerator.uacce->opening))
		remove_device();
	put_device(&accelerator.uacce->dev);
}

/* As far as the driver looks at them */
struct test_file {
	struct inode inode;
	struct file file;
	struct address_space mapping;
	int ret;
	struct completion done;
};

static struct test_file *test_file(struct kunit *test)
{
	struct test_file *tf = kunit_kzalloc(test, sizeof(*tf), GFP_KERNEL);

	KUNIT_ASSERT_NOT_NULL(test, tf);
	address_space_init_once(&tf->mapping);
	tf->file.f_mapping = &tf->mapping;
	tf->inode.i_rdev = MKDEV(0, accelerator.uacce->dev_id);
	init_completion(&tf->done);
	return tf;
}

static int open_file(struct test_file *tf)
{
	return accelerator.fops->open(&tf->inode, &tf->file);
}

static void expect_nobody_inside(struct kunit *test)
{
	/* Or its removal waits for ever. */
	KUNIT_ASSERT_FALSE(test, rwsem_is_locked(&accelerator.uacce->opening));
	KUNIT_EXPECT_FALSE(test, mutex_is_locked(&accelerator.uacce->mutex));
}

static void expect_queues(struct kunit *test, unsigned int nr)
{
	KUNIT_EXPECT_EQ(test, nr, list_count_nodes(&accelerator.uacce->queues));
}

static long command(struct test_file *tf, unsigned int cmd)
{
	return accelerator.fops->unlocked_ioctl(&tf->file, cmd, 0);
}

static int close_file(struct test_file *tf)
{
	return accelerator.fops->release(&tf->inode, &tf->file);
}

static void queue_lives_with_its_file(struct kunit *test)
{
	struct test_file *tf = test_file(test);

	KUNIT_ASSERT_EQ(test, 0, open_file(tf));
	expect_nobody_inside(test);
	expect_queues(test, 1);
	KUNIT_EXPECT_EQ(test, 1, accelerator.got);
	/* One that does not run is not stopped. */
	KUNIT_EXPECT_EQ(test, 0, command(tf, UACCE_CMD_PUT_Q));
	KUNIT_EXPECT_EQ(test, 0, accelerator.stopped);
	accelerator.start_error = -EIO;
	KUNIT_EXPECT_EQ(test, -EIO, command(tf, UACCE_CMD_START_Q));
	KUNIT_EXPECT_EQ(test, 0, command(tf, UACCE_CMD_PUT_Q));
	KUNIT_EXPECT_EQ(test, 0, accelerator.stopped);
	accelerator.start_error = 0;
	KUNIT_EXPECT_EQ(test, 0, command(tf, UACCE_CMD_START_Q));
	KUNIT_EXPECT_EQ(test, -EINVAL, command(tf, UACCE_CMD_START_Q));
	KUNIT_EXPECT_EQ(test, 1, accelerator.started);
	KUNIT_EXPECT_EQ(test, 0, command(tf, UACCE_CMD_PUT_Q));
	KUNIT_EXPECT_EQ(test, 1, accelerator.stopped);
	KUNIT_EXPECT_EQ(test, 0, accelerator.put);
	KUNIT_EXPECT_EQ(test, 0, command(tf, UACCE_CMD_START_Q));
	KUNIT_EXPECT_EQ(test, 0, close_file(tf));
	KUNIT_EXPECT_EQ(test, 2, accelerator.stopped);
	KUNIT_EXPECT_EQ(test, 1, accelerator.put);
	expect_queues(test, 0);
	expect_nobody_inside(test);
	remove_device();
}

static void failed_open_leaves_nothing(struct kunit *test)
{
	struct test_file *tf = test_file(test);

	accelerator.get_error = -EBUSY;
	KUNIT_EXPECT_EQ(test, -EBUSY, open_file(tf));
	expect_nobody_inside(test);
	expect_queues(test, 0);
	KUNIT_EXPECT_NULL(test, tf->file.private_data);
	/* And does not keep others from it. */
	accelerator.get_error = 0;
	KUNIT_EXPECT_EQ(test, 0, open_file(tf));
	KUNIT_EXPECT_EQ(test, 0, close_file(tf));
	KUNIT_EXPECT_EQ(test, 1, accelerator.put);
	remove_device();
}

static void remove_ends_each_queue_once(struct kunit *test)
{
	struct test_file *tf[] = { test_file(test), test_file(test) };
	struct uacce_queue *q;

	KUNIT_ASSERT_EQ(test, 0, open_file(tf[0]));
	KUNIT_ASSERT_EQ(test, 0, open_file(tf[1]));
	KUNIT_EXPECT_EQ(test, 0, command(tf[1], UACCE_CMD_START_Q));
	remove_device();
	KUNIT_EXPECT_EQ(test, 1, accelerator.stopped);
	KUNIT_EXPECT_EQ(test, 2, accelerator.put);
	expect_nobody_inside(test);
	q = tf[1]->file.private_data;
	KUNIT_EXPECT_EQ(test, UACCE_Q_ZOMBIE, q->state);
	KUNIT_EXPECT_EQ(test, -ENXIO, command(tf[1], UACCE_CMD_START_Q));
	KUNIT_EXPECT_EQ(test, 0, close_file(tf[0]));
	KUNIT_EXPECT_EQ(test, 0, close_file(tf[1]));
	KUNIT_EXPECT_EQ(test, 1, accelerator.stopped);
	KUNIT_EXPECT_EQ(test, 2, accelerator.put);
	KUNIT_EXPECT_EQ(test, -ENODEV, open_file(tf[0]));
	expect_nobody_inside(test);
	KUNIT_EXPECT_EQ(test, 2, accelerator.got);
}

static int open_thread(void *data)
{
	struct test_file *tf = data;

	allow_signal(SIGINT);
	tf->ret = open_file(tf);
	complete(&tf->done);
	return 0;
}

/* Run @fn while an open waits for a removal, which waits for a driver. */
static void open_in_removal(struct kunit *test, struct test_file *tf,
			    void (*fn)(struct task_struct *opener))
{
	struct uacce_device *uacce = accelerator.uacce;
	unsigned long end = jiffies + 20 * HZ;
	struct task_struct *thread;

	down_write(&uacce->opening);
	thread = kthread_create(open_thread, tf, "uacce-open");
	if (!IS_ERR(thread)) {
		get_task_struct(thread);
		wake_up_process(thread);
		while (!rwsem_is_contended(&uacce->opening) &&
		       time_before(jiffies, end))
			msleep(20);
		fn(thread);
	}
	up_write(&uacce->opening);
	KUNIT_ASSERT_FALSE(test, IS_ERR(thread));
	KUNIT_EXPECT_NE(test, 0, wait_for_completion_timeout(&tf->done, 20 * HZ));
	put_task_struct(thread);
	KUNIT_EXPECT_EQ(test, 0, accelerator.got);
	expect_nobody_inside(test);
	expect_queues(test, 0);
}

static void interrupt(struct task_struct *opener)
{
	unsigned long end = jiffies + 20 * HZ;

	send_sig(SIGINT, opener, 1);
	/* That it waits for nobody else is seen when the lock is free. */
	while (rwsem_is_contended(&accelerator.uacce->opening) &&
	       time_before(jiffies, end))
		msleep(20);
}

static void open_is_interrupted(struct kunit *test)
{
	struct test_file *tf = test_file(test);

	open_in_removal(test, tf, interrupt);
	KUNIT_EXPECT_EQ(test, -ERESTARTSYS, tf->ret);
	remove_device();
}

static void lose_parent(struct task_struct *opener)
{
	accelerator.uacce->parent = NULL;
}

/* It has found the device, and then the device has no driver any more. */
static void open_comes_late(struct kunit *test)
{
	struct test_file *tf = test_file(test);
	struct device *parent = accelerator.uacce->parent;

	open_in_removal(test, tf, lose_parent);
	KUNIT_EXPECT_EQ(test, -EINVAL, tf->ret);
	accelerator.uacce->parent = parent;
	remove_device();
}

/* Who waits for the device's page faults has them answered meanwhile, and no longer. */
static void faults_are_answered_while_stopped(struct kunit *test)
{
	struct test_file *tf = test_file(test);
	struct iommu_mm_data iommu_mm = {};
	struct iommu_domain domain = {
		.mm = kunit_kzalloc(test, sizeof(*domain.mm), GFP_KERNEL),
	};
	struct iommu_sva handle = {
		.users = 1,
		.handle.domain = &domain,
	};
	struct uacce_queue *q;

	if (!IS_ENABLED(CONFIG_IOMMU_SVA))
		kunit_skip(test, "needs IOMMU_SVA");

	KUNIT_ASSERT_NOT_NULL(test, domain.mm);
	atomic_set(&domain.mm->mm_users, 2);
	handle.group = iommu_group_alloc();
	KUNIT_ASSERT_FALSE(test, IS_ERR(handle.group));
	spin_lock_init(&handle.lock);
	domain.mm->iommu_mm = &iommu_mm;
	KUNIT_ASSERT_EQ(test, 0, open_file(tf));
	q = tf->file.private_data;
	q->handle = &handle;
	accelerator.handle = &handle;
	KUNIT_EXPECT_EQ(test, 0, command(tf, UACCE_CMD_START_Q));
	KUNIT_EXPECT_EQ(test, 0, handle.stopping);
	KUNIT_EXPECT_EQ(test, 0, command(tf, UACCE_CMD_PUT_Q));
	KUNIT_EXPECT_EQ(test, 1, accelerator.stopping);
	KUNIT_EXPECT_EQ(test, 0, handle.stopping);
	q->handle = NULL;
	accelerator.handle = NULL;
	KUNIT_EXPECT_EQ(test, 0, close_file(tf));
	iommu_group_put(handle.group);
	remove_device();
}

static struct kunit_case open_cases[] = {
	KUNIT_CASE(queue_lives_with_its_file),
	KUNIT_CASE(failed_open_leaves_nothing),
	KUNIT_CASE(remove_ends_each_queue_once),
	KUNIT_CASE(open_is_interrupted),
	KUNIT_CASE(open_comes_late),
	KUNIT_CASE(faults_are_answered_while_stopped),
	{}
};

static struct kunit_suite open_suite = {
	.name = "uacce_open",
	.init = accelerator_init,
	.exit = accelerator_exit,
	.test_cases = open_cases,
};

kunit_test_suite(open_suite);

MODULE_DESCRIPTION("Tests of files of uacce devices");
MODULE_LICENSE("GPL");

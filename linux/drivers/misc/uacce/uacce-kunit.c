// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * KUnit test of what uacce promises to the drivers of accelerators: which locks
 * stop_queue() is called with
 */
#include <kunit/test.h>
#include <kunit/device.h>
#include <linux/completion.h>
#include <linux/fs.h>
#include <linux/kthread.h>
#include <linux/uacce.h>

struct test_accelerator {
	struct uacce_device *uacce;
	struct uacce_queue q;
	struct address_space mapping;
	struct completion served;
	unsigned int stopped;
	bool fault_served;
};

static struct test_accelerator accelerator;

/* A page fault of the device whose handler drops the last reference to an mm. */
static int serve_fault(void *unused)
{
	mutex_lock(&accelerator.q.mutex);	/* uacce_vma_close() */
	mutex_unlock(&accelerator.q.mutex);
	complete_all(&accelerator.served);
	return 0;
}

/* Waits for the device, which waits for the answer to a page fault. */
static void stop_queue(struct uacce_queue *q)
{
	struct task_struct *thread = kthread_run(serve_fault, NULL, "uacce-fault");

	accelerator.stopped++;
	if (!IS_ERR(thread))
		accelerator.fault_served =
			wait_for_completion_timeout(&accelerator.served, 2 * HZ);
}

static const struct uacce_ops test_ops = {
	.stop_queue = stop_queue,
};

static int accelerator_init(struct kunit *test)
{
	struct uacce_interface interface = {
		.name = "uacce-kunit",
		.ops = &test_ops,
	};
	struct device *parent = kunit_device_register(test, "uacce-kunit");
	struct test_accelerator *acc = &accelerator;

	if (IS_ERR(parent))
		return PTR_ERR(parent);

	memset(acc, 0, sizeof(*acc));
	init_completion(&acc->served);
	acc->uacce = uacce_alloc(parent, &interface);
	if (IS_ERR(acc->uacce))
		return PTR_ERR(acc->uacce);

	/* An open file */
	address_space_init_once(&acc->mapping);
	acc->q.uacce = acc->uacce;
	acc->q.mapping = &acc->mapping;
	acc->q.state = UACCE_Q_STARTED;
	mutex_init(&acc->q.mutex);
	init_waitqueue_head(&acc->q.wait);
	list_add(&acc->q.list, &acc->uacce->queues);
	return 0;
}

/* Else the queue never stops. */
static void remove_serves_faults(struct kunit *test)
{
	uacce_remove(accelerator.uacce);
	KUNIT_EXPECT_EQ(test, 1, accelerator.stopped);
	KUNIT_EXPECT_TRUE(test, accelerator.fault_served);
	KUNIT_EXPECT_EQ(test, UACCE_Q_ZOMBIE, accelerator.q.state);
	/* Late if it has had to wait for the end of the removal. */
	wait_for_completion_timeout(&accelerator.served, HZ);
}

static struct kunit_case uacce_cases[] = {
	KUNIT_CASE(remove_serves_faults),
	{}
};

static struct kunit_suite uacce_suite = {
	.name = "uacce",
	.init = accelerator_init,
	.test_cases = uacce_cases,
};

kunit_test_suite(uacce_suite);

MODULE_DESCRIPTION("Test of uacce, as seen by the driver of an accelerator");
MODULE_LICENSE("GPL");

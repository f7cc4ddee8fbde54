// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * A function waits for a page of a file system that never answers: nobody but its
 * own process notices, and that one can be ended.
 *
 * The file system is a FUSE server of the test's own, which answers everything but
 * READ. Where it lives decides what its end is worth: in a process of its own it is
 * there when the user of the function is killed; in the user itself it dies with it,
 * but after the queue, whose file is the first to be closed.
 */
#include <linux/fuse.h>
#include <pthread.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/wait.h>

#include "../kselftest_harness.h"
#include "sva_utils.h"

/*
 * What takes longer than that never ends. A tenth of it is what it takes at
 * most on two slow cores; the log has the times.
 */
#define LIMIT_S		20

#define FILE_NODE	2
#define FILE_PAGES	8

/* --- the file system --- */

struct server {
	char dir[64];
	char file[80];
	int fd;
	int reads[2];		/* gets a byte for each READ that is not answered */
	int fails_reads;	/* that many come before */
	pid_t pid;		/* of the process it has for itself, or 0 */
};

static void reply(struct server *srv, uint64_t unique, int error,
		  const void *data, size_t len)
{
	char buf[sizeof(struct fuse_out_header) + 256];
	struct fuse_out_header *out = (void *)buf;

	out->unique = unique;
	out->error = error;
	out->len = sizeof(*out) + len;
	if (len)
		memcpy(out + 1, data, len);
	if (write(srv->fd, buf, out->len) < 0 && errno != ENOENT)
		perror("# fuse reply");
}

static struct fuse_attr attr_of(uint64_t node)
{
	return (struct fuse_attr) {
		.ino = node,
		.mode = node == FILE_NODE ? S_IFREG | 0444 : S_IFDIR | 0755,
		.nlink = 1,
		.size = node == FILE_NODE ? FILE_PAGES * SVA_PAGE : 0,
	};
}

static void serve(struct server *srv, struct fuse_in_header *in)
{
	struct fuse_attr_out attr = { .attr_valid = 3600, .attr = attr_of(in->nodeid) };
	struct fuse_entry_out entry = {
		.nodeid = FILE_NODE,
		.entry_valid = 3600,
		.attr_valid = 3600,
		.attr = attr_of(FILE_NODE),
	};
	struct fuse_open_out opened = {};
	struct fuse_init_out init = {
		.major = FUSE_KERNEL_VERSION,
		.minor = FUSE_KERNEL_MINOR_VERSION,
		.max_write = SVA_PAGE,
	};

	switch (in->opcode) {
	case FUSE_INIT:
		reply(srv, in->unique, 0, &init, sizeof(init));
		break;
	case FUSE_LOOKUP:
		reply(srv, in->unique, 0, &entry, sizeof(entry));
		break;
	case FUSE_GETATTR:
		reply(srv, in->unique, 0, &attr, sizeof(attr));
		break;
	case FUSE_OPEN:
		reply(srv, in->unique, 0, &opened, sizeof(opened));
		break;
	case FUSE_READ:
		if (srv->fails_reads) {
			srv->fails_reads--;
			reply(srv, in->unique, -EIO, NULL, 0);
			break;
		}
		/* Never answered. */
		if (write(srv->reads[1], "r", 1) != 1)
			_exit(1);
		break;
	case FUSE_FORGET:
	case FUSE_BATCH_FORGET:
	case FUSE_INTERRUPT:
		break;
	default:
		reply(srv, in->unique, -ENOSYS, NULL, 0);
	}
}

static void *serve_all(void *arg)
{
	struct server *srv = arg;
	static char buf[FUSE_MIN_READ_BUFFER + 65536];

	while (read(srv->fd, buf, sizeof(buf)) > 0)
		serve(srv, (void *)buf);
	return NULL;
}

/* What the test itself has of it */
static bool server_prepare(struct server *srv)
{
	strcpy(srv->dir, "/tmp/sva-fuse-XXXXXX");
	if (!mkdtemp(srv->dir) || pipe(srv->reads))
		return false;
	snprintf(srv->file, sizeof(srv->file), "%s/file", srv->dir);
	return true;
}

static bool server_mount(struct server *srv)
{
	char options[80];

	srv->fd = open("/dev/fuse", O_RDWR | O_CLOEXEC);
	if (srv->fd < 0)
		return false;
	snprintf(options, sizeof(options),
		 "fd=%d,rootmode=40000,user_id=0,group_id=0", srv->fd);
	return !mount("fuse", srv->dir, "fuse", MS_NOSUID | MS_NODEV, options);
}

/* In a process of its own, which has the only other end of the connection */
static bool server_start(struct server *srv)
{
	if (!server_mount(srv))
		return false;
	srv->pid = sva_fork();
	if (!srv->pid) {
		serve_all(srv);
		_exit(0);
	}
	close(srv->fd);
	return srv->pid > 0;
}

static void server_end(struct server *srv)
{
	if (srv->pid > 0) {
		kill(srv->pid, SIGKILL);
		waitpid(srv->pid, NULL, 0);
	}
	umount2(srv->dir, MNT_DETACH);
	rmdir(srv->dir);
	close(srv->reads[0]);
	close(srv->reads[1]);
}

/* --- the user of the function --- */

struct user {
	pid_t pid;
	int commands[2];
	int replies[2];
};

static bool unmap_page(struct sva_queue *q)
{
	return !munmap(q->page, SVADEV_QPAGE_SIZE);
}

/* The function is to copy a page of the file, which does not come. */
static bool block(struct sva_queue *q, struct server *srv)
{
	int file = open(srv->file, O_RDONLY);
	char *from = mmap(NULL, SVA_PAGE, PROT_READ, MAP_PRIVATE, file, 0);
	char *to = sva_pages(1, 0);
	char c;

	/* An exit that closes it would have to wait for the server's FLUSH, too. */
	if (file < 0 || close(file) || from == MAP_FAILED || !to)
		return false;
	sva_submit(q, SVADEV_OP_COPY, 0, from, to, SVA_PAGE, 0);
	return read(srv->reads[0], &c, 1) == 1;
}

/* Comes by a page request. */
static char *untouched_page(void)
{
	return mmap(NULL, SVA_PAGE, PROT_READ | PROT_WRITE,
		    MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
}

/* Serves commands of one letter, and replies with the same one when it is done. */
static void obey(struct user *u, struct sva_queue *q)
{
	char c;

	while (read(u->commands[0], &c, 1) == 1) {
		if (c == 'u' && !unmap_page(q))
			_exit(2);
		if (c == 'c' && close(q->fd))
			_exit(3);
		if (c == 's' && ioctl(q->fd, UACCE_CMD_PUT_Q))
			_exit(4);
		if (c == 'g' && ioctl(q->fd, UACCE_CMD_START_Q))
			_exit(5);
		if (c == 'w' && sva_fill(q, untouched_page(), 1, SVA_PAGE))
			_exit(6);
		if (write(u->replies[1], &c, 1) != 1)
			break;
	}
	_exit(0);
}

static bool replied(struct user *u, char wanted)
{
	struct timeval tv = { .tv_sec = LIMIT_S };
	fd_set set;
	char c;

	FD_ZERO(&set);
	FD_SET(u->replies[0], &set);
	return select(u->replies[0] + 1, &set, NULL, NULL, &tv) == 1 &&
	       read(u->replies[0], &c, 1) == 1 && c == wanted;
}

static bool command(struct user *u, char c)
{
	return write(u->commands[1], &c, 1) == 1 && replied(u, c);
}

static bool user_start(struct user *u, struct sva_dev *d, struct server *srv,
		       bool serves_itself)
{
	struct sva_queue q;
	pthread_t thread;

	if (pipe(u->commands) || pipe(u->replies))
		return false;
	u->pid = sva_fork();
	if (u->pid)
		return u->pid > 0 && replied(u, 'b');

	/* The parent's end must not keep it from seeing that the parent is gone. */
	close(u->commands[1]);
	if (sva_open(&q, d))
		_exit(7);
	/* Its files are closed in the order of their numbers. */
	if (serves_itself && (!server_mount(srv) || srv->fd < q.fd ||
			      pthread_create(&thread, NULL, serve_all, srv)))
		_exit(8);
	if (!block(&q, srv) || write(u->replies[1], "b", 1) != 1)
		_exit(9);
	obey(u, &q);
	return false;
}

static bool reaped(pid_t pid)
{
	double end = sva_now() + LIMIT_S;

	do {
		if (waitpid(pid, NULL, WNOHANG) == pid)
			return true;
		usleep(1000);
	} while (sva_now() < end);
	return false;
}

/* Whether a process that does @what is done in time, and says that it went well */
static bool process_does(bool (*what)(struct sva_dev *d), struct sva_dev *d)
{
	double end = sva_now() + LIMIT_S;
	pid_t pid = sva_fork();
	int status;

	if (!pid)
		_exit(!what(d));
	do {
		if (waitpid(pid, &status, WNOHANG) == pid)
			return WIFEXITED(status) && !WEXITSTATUS(status);
		usleep(1000);
	} while (sva_now() < end);
	kill(pid, SIGKILL);
	/* Most likely it cannot be, either. */
	usleep(100000);
	waitpid(pid, NULL, WNOHANG);
	return false;
}

static bool use_queue(struct sva_dev *d)
{
	char *from = sva_pages(1, 42), *to = sva_pages(1, 0);
	struct sva_queue q;

	if (!from || !to || sva_open(&q, d) || sva_copy(&q, to, from, SVA_PAGE))
		return false;
	sva_close(&q);
	return sva_all(to, 42, SVA_PAGE);
}

static bool reset(struct sva_dev *d)
{
	return sva_pci_write(d, "reset", "1");
}

/* All of them, that of the user before among them */
static bool use_all_queues(struct sva_dev *d)
{
	char *from = sva_pages(1, 43), *to = sva_pages(1, 0);
	struct sva_queue q[64];
	unsigned int n, i;
	bool good = true;

	for (n = 0; n < d->nr_queues; n++)
		if (sva_open(&q[n], d))
			break;
	for (i = 0; i < n; i++) {
		good = good && !sva_copy(&q[i], to, from, SVA_PAGE);
		sva_close(&q[i]);
	}
	if (!good || n < d->nr_queues)
		fprintf(stderr, "# %s: %u of %u queues, copies %s\n", d->name, n,
			d->nr_queues, good ? "good" : "wrong");
	return good && n == d->nr_queues;
}

/* --- tests --- */

FIXTURE(sva_fuse)
{
	struct sva s;
	struct sva_dev *dev;
	struct server srv;
	struct user user;
};

/* A mapping of the queue's page keeps the file, and with it the queue, from being released. */
FIXTURE_VARIANT(sva_fuse)
{
	bool mapped;
};

FIXTURE_VARIANT_ADD(sva_fuse, mapped)
{
	.mapped = true,
};

FIXTURE_VARIANT_ADD(sva_fuse, unmapped)
{
	.mapped = false,
};

FIXTURE_SETUP(sva_fuse)
{
	const char *why = sva_setup(&self->s, SVA_PRI);

	if (why)
		SKIP(return, "%s", why);
	if (access("/dev/fuse", F_OK))
		SKIP(return, "no /dev/fuse");
	ASSERT_TRUE(server_prepare(&self->srv));
	self->dev = &self->s.dev[0];
	ASSERT_EQ(self->dev->nr_queues, sva_instances_left(self->dev));
}

FIXTURE_TEARDOWN(sva_fuse)
{
	if (self->user.pid > 0) {
		kill(self->user.pid, SIGKILL);
		waitpid(self->user.pid, NULL, WNOHANG);
	}
	server_end(&self->srv);
	/* With the file system goes what the user has left. */
	EXPECT_TRUE(sva_queues_come_back(self->dev, LIMIT_S));
	EXPECT_CLEAN(&self->s);
	sva_teardown(&self->s);
}

#define IN_TIME(what) ({						\
	double __begin = sva_now();					\
	bool __good = (what);						\
									\
	EXPECT_TRUE(__good);						\
	TH_LOG("%s: %.2f s", #what, sva_now() - __begin);		\
})

TEST_F(sva_fuse, others_go_on)
{
	ASSERT_TRUE(server_start(&self->srv));
	ASSERT_TRUE(user_start(&self->user, self->dev, &self->srv, false));
	if (!variant->mapped)
		ASSERT_TRUE(command(&self->user, 'u'));
	IN_TIME(process_does(use_queue, self->dev));
	/* At the same function, and behind the same unit */
	if (self->s.nr > 1)
		IN_TIME(process_does(use_queue, &self->s.dev[1]));
	EXPECT_EQ(self->dev->nr_queues - 1, sva_instances_left(self->dev));
}

TEST_F(sva_fuse, user_is_killed)
{
	ASSERT_TRUE(server_start(&self->srv));
	ASSERT_TRUE(user_start(&self->user, self->dev, &self->srv, false));
	if (!variant->mapped)
		ASSERT_TRUE(command(&self->user, 'u'));
	kill(self->user.pid, SIGKILL);
	IN_TIME(reaped(self->user.pid));
	self->user.pid = 0;
	IN_TIME(process_does(use_queue, self->dev));
	/* What the page fault keeps is the mm, and its mappings. */
	if (variant->mapped)
		return;
	IN_TIME(sva_queues_come_back(self->dev, LIMIT_S));
	IN_TIME(process_does(use_all_queues, self->dev));
}

TEST_F(sva_fuse, user_closes)
{
	ASSERT_TRUE(server_start(&self->srv));
	ASSERT_TRUE(user_start(&self->user, self->dev, &self->srv, false));
	if (!variant->mapped)
		ASSERT_TRUE(command(&self->user, 'u'));
	IN_TIME(command(&self->user, 'c'));
	if (variant->mapped)
		IN_TIME(command(&self->user, 'u'));
	IN_TIME(process_does(use_all_queues, self->dev));
}

/* PUT_Q stops a queue that is kept, and works again afterwards. */
TEST_F(sva_fuse, user_stops)
{
	ASSERT_TRUE(server_start(&self->srv));
	ASSERT_TRUE(user_start(&self->user, self->dev, &self->srv, false));
	if (!variant->mapped)
		SKIP(return, "a queue is used through its page");
	IN_TIME(command(&self->user, 's'));
	IN_TIME(process_does(use_queue, self->dev));
	IN_TIME(command(&self->user, 'g'));
	IN_TIME(command(&self->user, 'w'));
}

TEST_F(sva_fuse, server_is_the_user)
{
	ASSERT_TRUE(user_start(&self->user, self->dev, &self->srv, true));
	if (!variant->mapped)
		ASSERT_TRUE(command(&self->user, 'u'));
	kill(self->user.pid, SIGKILL);
	IN_TIME(reaped(self->user.pid));
	self->user.pid = 0;
	IN_TIME(sva_queues_come_back(self->dev, LIMIT_S));
	IN_TIME(process_does(use_all_queues, self->dev));
}

/* Root resets the function meanwhile. */
TEST_F(sva_fuse, function_is_reset)
{
	ASSERT_TRUE(server_start(&self->srv));
	ASSERT_TRUE(user_start(&self->user, self->dev, &self->srv, false));
	if (!variant->mapped)
		ASSERT_TRUE(command(&self->user, 'u'));
	IN_TIME(process_does(reset, self->dev));
	IN_TIME(process_does(use_queue, self->dev));
}

/* --- a process with two queues --- */

struct worker {
	struct sva_queue *q;
	volatile bool stop;
	unsigned int done;
	int err;
};

/* Each time pages that nobody has touched, which come by page requests */
static void *work(void *arg)
{
	struct worker *w = arg;
	char *p;

	while (!w->stop && !w->err) {
		p = mmap(NULL, 4 * SVA_PAGE, PROT_READ | PROT_WRITE,
			 MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
		w->err = sva_fill(w->q, p, 1, 4 * SVA_PAGE);
		munmap(p, 4 * SVA_PAGE);
		w->done++;
	}
	return NULL;
}

static void two_queues(struct server *srv, struct sva_dev *d)
{
	struct sva_queue q[2];
	struct worker w = { .q = &q[1] };
	unsigned int before;
	pthread_t thread;
	int i;

	if (sva_open(&q[1], d) || pthread_create(&thread, NULL, work, &w))
		_exit(2);
	/* The page requests of the other one come before, after and in between. */
	for (i = 0; i < 10; i++) {
		if (sva_open(&q[0], d) || (!i && !block(&q[0], srv)))
			_exit(3);
		before = w.done;
		sva_close(&q[0]);
		while (w.done < before + 3 && !w.err)
			usleep(1000);
	}
	w.stop = true;
	pthread_join(thread, NULL);
	if (w.err)
		fprintf(stderr, "# the other queue: %s\n", sva_error_string(w.err));
	_exit(w.err ? 4 : 0);
}

TEST_F_TIMEOUT(sva_fuse, other_queue_goes_on, 4 * LIMIT_S)
{
	double end = sva_now() + 2 * LIMIT_S;
	int status = -1;
	pid_t pid;

	if (!variant->mapped)
		SKIP(return, "a queue is used through its page");
	ASSERT_TRUE(server_start(&self->srv));
	pid = sva_fork();
	if (!pid)
		two_queues(&self->srv, self->dev);
	while (waitpid(pid, &status, WNOHANG) != pid && sva_now() < end)
		usleep(1000);
	EXPECT_EQ(0, status);
	if (status == -1)
		kill(pid, SIGKILL);
}

/* --- who has mmap_lock --- */

/*
 * A thread of the opener reads a page. After a READ that has failed the kernel tries
 * again, with mmap_lock held. (The server allows no readahead, which is another one.)
 */
#define FAILED_READS	1

static void *read_page(void *page)
{
	return (void *)(uintptr_t)*(volatile char *)page;
}

static void open_behind_fault(struct server *srv, struct sva_dev *d)
{
	int file = open(srv->file, O_RDONLY);
	char *p = mmap(NULL, SVA_PAGE, PROT_READ, MAP_PRIVATE, file, 0);
	struct sva_queue q;
	pthread_t thread;
	char c;

	if (file < 0 || p == MAP_FAILED ||
	    pthread_create(&thread, NULL, read_page, p) ||
	    read(srv->reads[0], &c, 1) != 1)
		_exit(2);
	sva_open(&q, d);
	_exit(3);
}

/* Asleep, and not to be woken by a signal: seen a few times, as it may be short */
static bool waits_for_lock(pid_t pid)
{
	double end = sva_now() + LIMIT_S;
	unsigned int seen = 0;
	char path[32], state;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/stat", pid);
	while (seen < 10 && sva_now() < end) {
		f = fopen(path, "r");
		if (!f)
			return false;
		if (fscanf(f, "%*d (%*[^)]) %c", &state) != 1)
			state = '?';
		fclose(f);
		seen = state == 'D' ? seen + 1 : 0;
		usleep(10000);
	}
	return seen == 10;
}

TEST_F_TIMEOUT(sva_fuse, opener_waits_for_mmap_lock, 4 * LIMIT_S)
{
	int status;
	pid_t pid;

	if (!variant->mapped)
		SKIP(return, "is about an open");
	self->srv.fails_reads = FAILED_READS;
	ASSERT_TRUE(server_start(&self->srv));
	pid = sva_fork();
	if (!pid)
		open_behind_fault(&self->srv, self->dev);
	ASSERT_TRUE(waits_for_lock(pid));
	ASSERT_EQ(0, waitpid(pid, &status, WNOHANG));
	ASSERT_EQ(self->dev->nr_queues, sva_instances_left(self->dev));
	IN_TIME(process_does(use_all_queues, self->dev));
	IN_TIME(process_does(reset, self->dev));
	kill(pid, SIGKILL);
	server_end(&self->srv);
	IN_TIME(reaped(pid));
	ASSERT_TRUE(server_prepare(&self->srv));
}

TEST_HARNESS_MAIN

// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Shared Virtual Addressing in one program: every /dev/svadev-* copies between
 * two buffers from malloc(), given nothing but the two pointers, and then a page
 * is unmapped and every one of them has to notice.
 *
 * Prints one key=value a line. Exit status: 0 everything held, 1 something did
 * not, 2 the kernel refused to bind (as 6.12 does on x86), 3 nothing to run on.
 * What is exact of an IOMMU differs by architecture: see sva_waits_of().
 *
 * Built with -I tools/testing/selftests/iommu of the kernel tree, for sva_utils.h.
 */
#define _GNU_SOURCE
#include <stdarg.h>

#include "sva_utils.h"

#define LEN	(64 * SVA_PAGE)

enum { HELD, BROKEN, REFUSED, NOTHING };

static int status = HELD;

static void say(const char *key, const char *format, ...)
{
	va_list ap;

	va_start(ap, format);
	printf("%s=", key);
	vprintf(format, ap);
	putchar('\n');
	va_end(ap);
}

static void say_of(const char *what, unsigned int i, const char *key,
		   unsigned long long value)
{
	printf("%s%u.%s=%llu\n", what, i, key, value);
}

static void check(bool holds, const char *what)
{
	say(what, "%s", holds ? "yes" : "NO");
	if (!holds)
		status = BROKEN;
}

static int open_all(struct sva *s)
{
	unsigned int i;
	int err = 0;

	s->end = s->q;
	for (i = 0; i < s->nr && !err; i++) {
		err = sva_open(s->end, &s->dev[i]);
		printf("dev%u.name=%s\n", i, s->dev[i].name);
		printf("dev%u.pci=%s\n", i, s->dev[i].pci);
		say_of("dev", i, "unit", s->dev[i].unit);
		printf("dev%u.page_requests_enabled=%s\n", i,
		       s->dev[i].pri ? "yes" : "no");
		printf("dev%u.open=%s\n", i, err ? strerrorname_np(-err) : "ok");
		if (!err)
			say_of("dev", i, "pasid", sva_reg(s->end++, SVADEV_Q_PASID));
	}
	return err;
}

/* What the kernel says about it to an administrator, its lines ended by '|' */
static void show_debugfs(void)
{
	FILE *f = fopen("/sys/kernel/debug/iommu/sva", "r");
	int c;

	if (!f)
		return;
	printf("debugfs=");
	while ((c = getc(f)) != EOF)
		putchar(c == '\n' ? '|' : c);
	putchar('\n');
	fclose(f);
}

static void check_one_pasid(struct sva *s)
{
	struct sva_queue *q;
	bool same = true;

	for (q = s->q; q < s->end; q++)
		same = same && sva_reg(q, SVADEV_Q_PASID) ==
			       sva_reg(s->q, SVADEV_Q_PASID);
	check(same, "one_pasid");
}

static void check_ats(struct sva *s)
{
	unsigned int i;
	bool ats = true;

	for (i = 0; i < s->nr; i++)
		ats = ats && s->dev[i].ats;
	check(ats, "all_have_ats");
}

/* A malloc() to b malloc(), by one function; b is new, so nothing is there yet */
static bool copies(struct sva_queue *q, unsigned int i, const char *a)
{
	unsigned long long bytes = sva_counter(q->dev, SVADEV_C_BYTES);
	unsigned long long requests = sva_counter(q->dev, SVADEV_C_PAGE_REQ);
	char *b = malloc(LEN);
	bool ok;

	if (!b)
		return false;
	if (!q->dev->pri)
		memset(b, 1, LEN);
	ok = !sva_copy(q, b, a, LEN) && !memcmp(a, b, LEN);
	/* each byte is read and written */
	say_of("dev", i, "bytes_copied",
	       (sva_counter(q->dev, SVADEV_C_BYTES) - bytes) / 2);
	say_of("dev", i, "page_requests_served",
	       sva_counter(q->dev, SVADEV_C_PAGE_REQ) - requests);
	return ok;	/* b stays, so that the next one gets memory of its own */
}

static void copy_all(struct sva *s)
{
	char *a = malloc(LEN);
	bool ok = a;
	size_t n;

	srandom(time(NULL));
	for (n = 0; a && n < LEN; n++)
		a[n] = random();
	for (n = 0; ok && n < s->nr; n++)
		ok = copies(&s->q[n], n, a);
	check(ok, "copied_and_verified");
	free(a);
}

struct unit_counts {
	unsigned long long iotlb;
	unsigned long long atc;
	unsigned long long sync;
};

static struct unit_counts count_unit(struct sva_dev *d)
{
	return (struct unit_counts) {
		.iotlb = sva_counter(d, SVADEV_U_IOTLB_RANGE) +
			 sva_counter(d, SVADEV_U_IOTLB_TAG) +
			 sva_counter(d, SVADEV_U_IOTLB_ALL),
		.atc = sva_counter(d, SVADEV_U_ATC_RANGE) +
		       sva_counter(d, SVADEV_U_ATC_ALL),
		.sync = sva_counter(d, SVADEV_U_SYNC),
	};
}

/* One IOTLB invalidation, one for each ATC, and the waits; not more, not less */
static bool within_limit(struct sva *s, unsigned int i, struct unit_counts was)
{
	struct unit_counts now = count_unit(&s->dev[i]);
	unsigned int unit = s->dev[i].unit;
	unsigned int atcs = sva_atcs_of(s, sva_unit_of(s, &s->dev[i]));
	unsigned int waits = sva_waits_of(s, sva_unit_of(s, &s->dev[i]));

	say_of("unit", unit, "munmap_iotlb", now.iotlb - was.iotlb);
	say_of("unit", unit, "munmap_iotlb_limit", 1);
	say_of("unit", unit, "munmap_atc", now.atc - was.atc);
	say_of("unit", unit, "munmap_atc_limit", atcs);
	say_of("unit", unit, "munmap_waits", now.sync - was.sync);
	say_of("unit", unit, "munmap_waits_limit", waits);
	return now.iotlb - was.iotlb == 1 && now.atc - was.atc == atcs &&
	       now.sync - was.sync == waits;
}

static bool faults(struct sva_queue *q, unsigned int i, char *gone)
{
	int err = sva_fill(q, gone, 2, SVA_PAGE);

	printf("dev%u.dma_after_munmap=%s\n", i, sva_error_string(err));
	printf("dev%u.fault_address=%#llx\n", i,
	       (unsigned long long)sva_reg(q, SVADEV_Q_FAULT) & -SVA_PAGE);
	return err > 0 && sva_faulted_at(q, gone);
}

static void unmap(struct sva *s)
{
	struct unit_counts was[SVA_MAX_DEVS];
	bool within = true, fault = true;
	char *p = sva_pages(1, 1);
	unsigned int i;

	check(p && sva_warm_up(s, p, 1, SVA_PAGE), "page_shared_by_all");
	for (i = 0; i < s->nr; i++)
		was[i] = count_unit(&s->dev[i]);
	SVA_CHANGE(s, munmap(p, SVA_PAGE));
	for (i = 0; i < s->nr; i++)
		if (sva_first_of_unit(s, i))
			within = within_limit(s, i, was[i]) && within;
	check(sva_clean(s), "nothing_stale");
	check(within, "commands_within_limit");

	say("unmapped_address", "%p", p);
	for (i = 0; i < s->nr; i++)
		fault = faults(&s->q[i], i, p) && fault;
	check(fault, "dma_after_munmap_refused");
}

int main(void)
{
	static struct sva s;
	const char *why = sva_find(&s);

	setvbuf(stdout, NULL, _IOLBF, 0);
	if (why) {
		say("missing", "%s", why);
		return NOTHING;
	}
	say("devices", "%u", s.nr);
	say("units", "%u", sva_units(&s));
	if (open_all(&s)) {
		say("bind", "refused");
		return REFUSED;
	}
	say("bind", "ok");
	check_one_pasid(&s);
	check_ats(&s);
	show_debugfs();
	copy_all(&s);
	unmap(&s);
	sva_close_all(&s);
	say("result", "%s", status == HELD ? "ok" : "FAILED");
	return status;
}

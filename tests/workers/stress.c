/* Stress of workers.h: stress NAME [CALLERS [JOBS]]. Prints "ok", or a sentence and ends with 1. SIGALRM ends hangs. */
#define _GNU_SOURCE
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

static int refuse_from = -1; /* pthread_create fails from this thread on */
static int created;
static int fake_create(pthread_t *thread, const pthread_attr_t *attributes, void *(*run)(void *), void *context) {
    if (refuse_from >= 0 && created >= refuse_from) return EAGAIN;
    created++;
    return pthread_create(thread, attributes, run, context);
}
#define CCONV_PTHREAD_CREATE fake_create
#include "workers.h"

#define ITEMS 64
#define THREADS 8

static void fail(const char *what) {
    printf("FAILED: %s\n", what);
    fflush(stdout);
    _exit(1);
}

typedef struct {
    int done[ITEMS];            /* plain: an item is one thread's, and seen by the caller afterwards */
    int busy[THREADS];          /* plain as well: a slot is one thread's */
    int threads, nested, chunk, looks, stop_at;
    long spin;                  /* nanoseconds of an item */
} Sum;

static void burn(long ns) {
    for (int64_t end = cconv_now() + ns; cconv_now() < end;) {}
}

static int run_sum(Sum *sum, int items, int threads, int (*look)(void *));

static void add(void *context, ptrdiff_t item, int slot) {
    Sum *sum = context, inner;
    if (slot < 0 || slot >= sum->threads) fail("a slot that the job does not have");
    if (sum->busy[slot]++) fail("two threads in a slot");
    sum->done[item]++;
    if (sum->spin) burn(sum->spin);
    if (sum->nested) {
        memset(&inner, 0, sizeof inner);
        inner.nested = sum->nested - 1;
        run_sum(&inner, 5, sum->threads, NULL);
    }
    sum->busy[slot]--;
}

static int run_sum(Sum *sum, int items, int threads, int (*look)(void *)) {
    cconv_job job = {0};
    int stopped;
    sum->threads = threads;
    job.run = add, job.context = sum, job.items = items, job.chunk = sum->chunk ? sum->chunk : 1;
    job.threads = threads, job.look = look;
    stopped = cconv_run_job(&job);
    for (int i = 0; i < items; i++)
        if (sum->done[i] > 1 || (!stopped && sum->done[i] != 1)) fail("an item that was not computed once");
    return stopped;
}

/* ---------------------------------------------------------------- many tiny jobs */

static long jobs = 1000000;
static int nesting;

static void *tiny(void *which) {
    long n = *(long *)which;
    for (long i = 0; i < n; i++) {
        Sum sum;
        memset(&sum, 0, sizeof sum);
        sum.nested = nesting;
        sum.chunk = 1 + i % 3;
        run_sum(&sum, 2 + i % 6, 2 + i % 3, NULL);
    }
    return NULL;
}

static void callers(int n) {
    pthread_t threads[64];
    long each = jobs / n;
    for (int i = 0; i < n; i++) pthread_create(&threads[i], NULL, tiny, &each);
    for (int i = 0; i < n; i++) pthread_join(threads[i], NULL);
}

/* ---------------------------------------------------------------- signals */

static int looked;
static int never(void *_) { (void)_; looked++; return 0; }
static int third(void *_) { (void)_; return ++looked == 3; }

static void stops(void) {
    Sum sum;
    int64_t start = cconv_now();
    memset(&sum, 0, sizeof sum);
    sum.spin = 20000000;
    if (!run_sum(&sum, ITEMS, 2, third)) fail("was not stopped");
    if (looked != 3) fail("looked after it was stopped");
    if (cconv_now() - start > 3000000000) fail("stopped too late");
    looked = 0;
    memset(&sum, 0, sizeof sum);
    sum.spin = 10000000;
    if (run_sum(&sum, 20, 1, never)) fail("stopped without a reason");
    if (!looked) fail("did not look");
}

/* The helper holds the last item, for long: the caller looks meanwhile. */
static int helper_is_in;
static void late_two(void *context, ptrdiff_t item, int slot) {
    (void)item, (void)context;
    if (slot) {
        cw_store32(&helper_is_in, 1);
        usleep(450000);
    } else while (!cw_load32(&helper_is_in)) usleep(1000);
}
static void waits(void) {
    cconv_job job = {0};
    job.run = late_two, job.items = 2, job.chunk = 1, job.threads = 2, job.look = never;
    looked = 0;
    cconv_run_job(&job);
    if (looked < 3) fail("did not look while it waited");
}

/* ---------------------------------------------------------------- forks */

static int32_t over;

static void *steady(void *threads) {
    while (!cw_load32(&over)) {
        Sum sum;
        memset(&sum, 0, sizeof sum);
        sum.spin = 2000;
        run_sum(&sum, 20, *(int *)threads, NULL);
    }
    return NULL;
}

#ifndef __SANITIZE_THREAD__ /* it has a thread of its own */
static int count_tasks(void) {
    char path[64];
    FILE *file;
    int n = 0;
    snprintf(path, sizeof path, "/proc/self/status");
    file = fopen(path, "r");
    if (!file) return -1;
    while (fgets(path, sizeof path, file)) sscanf(path, "Threads: %d", &n);
    fclose(file);
    return n;
}
#endif

static void in_child(void) {
    alarm(20);
    for (int i = 0; i < 20; i++) {
        Sum sum;
        memset(&sum, 0, sizeof sum);
        sum.spin = 1000;
        run_sum(&sum, 20, 3, NULL);
    }
#ifndef __SANITIZE_THREAD__
    if (count_tasks() != 3) fail("the child has not all its threads");
#endif
    _exit(0);
}

static void expect_child(pid_t child) {
    int status;
    if (child < 0) fail("no fork");
    waitpid(child, &status, 0);
    if (status) fail("a child failed");
}

static void forks(int n) {
    pthread_t threads[3];
    int three = 3;
    for (int i = 0; i < 3; i++) pthread_create(&threads[i], NULL, steady, &three);
    for (int i = 0; i < n; i++) {
        pid_t child;
        usleep(500);
        child = fork();
        if (child == 0) in_child();
        expect_child(child);
    }
    cw_store32(&over, 1);
    for (int i = 0; i < 3; i++) pthread_join(threads[i], NULL);
}

static pid_t forked = -1;
static int fork_once(void *_) {
    (void)_;
    if (forked < 0) forked = fork();
    return 0;
}

/* A signal's handler forks: both go on with the job in whose middle they are. */
static void fork_inside(void) {
    Sum sum;
    memset(&sum, 0, sizeof sum);
    sum.spin = 10000000;
    forked = -1;
    run_sum(&sum, ITEMS, 3, fork_once);
    if (forked < 0) fail("did not fork");
    if (forked == 0) in_child();
    expect_child(forked);
}

/* ---------------------------------------------------------------- ends */

static int leave_thread(void *_) {
    (void)_;
    pthread_exit(NULL);
    return 0;
}

static void *ends_inside(void *_) {
    Sum sum;
    (void)_;
    memset(&sum, 0, sizeof sum);
    sum.spin = 10000000;
    run_sum(&sum, ITEMS, 3, leave_thread);
    fail("went on after pthread_exit");
    return NULL;
}

static void thread_ends(void) {
    pthread_t thread;
    long few = 1000;
    for (int i = 0; i < 3; i++) {
        pthread_create(&thread, NULL, ends_inside, NULL);
        pthread_join(thread, NULL);
    }
    if (cw_pool.jobs) fail("a job was left in the list");
    tiny(&few);
}

static void exits(void) {
    pthread_t thread;
    int three = 3;
    for (int i = 0; i < 2; i++) pthread_create(&thread, NULL, steady, &three);
    usleep(20000);
    printf("ok\n");
    exit(0);
}

static void refused(void) {
    long few = 10000;
    refuse_from = 0;
    if (cconv_threads(4) != 1) fail("counts threads that were not started");
    tiny(&few);
    cw_pool.refused = 0;
    refuse_from = 1;
    if (cconv_threads(4) != 2) fail("counts threads that were not started");
    tiny(&few);
    cw_pool.refused = 0;
    refuse_from = -1;
    if (cconv_threads(4) != 4) fail("never asks again");
}

static void no_memory(void) {
    struct rlimit limit;
    long few = 1000;
    getrlimit(RLIMIT_AS, &limit);
    limit.rlim_cur = 12 << 20;
    if (setrlimit(RLIMIT_AS, &limit)) fail("no limit");
    if (cconv_threads(64) >= 64) fail("64 threads in 12 MiB");
    tiny(&few);
}

int main(int count, char **words) {
    (void)cconv_crowded; /* for the runner */
    const char *name = count > 1 ? words[1] : "";
    int n = count > 2 ? atoi(words[2]) : 1;
    if (count > 3) jobs = atol(words[3]);
    alarm(300);
    if (!strcmp(name, "tiny")) callers(n);
    else if (!strcmp(name, "nested")) nesting = 2, callers(n);
    else if (!strcmp(name, "stop")) stops(), waits();
    else if (!strcmp(name, "fork")) forks(n);
    else if (!strcmp(name, "fork-inside")) for (int i = 0; i < n; i++) fork_inside();
    else if (!strcmp(name, "thread-ends")) thread_ends();
    else if (!strcmp(name, "exit")) exits();
    else if (!strcmp(name, "refused")) refused();
    else if (!strcmp(name, "no-memory")) no_memory();
    else fail("no such test");
    printf("ok\n");
    return 0;
}

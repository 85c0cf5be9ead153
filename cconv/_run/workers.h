/* The threads of cconv: one pool a process, which all calls share. C11 and pthreads, or Win32 threads, or none.
 *
 * A job is a counter of items. The caller works too: it takes every item that no helper has begun, and waits at the end
 * for items in flight only, never for a helper that has not been scheduled. Jobs of concurrent and nested callers stand
 * in one list; a helper joins the job that has the fewest, under the lock, and gets a slot (of workspaces) that nobody
 * else has in that job. Items are taken by one atomic addition. Who computes an item makes no difference to it.
 *
 *     publish      lock, link, unlock; epoch += 1; call two helpers, who call two each where more are wanted
 *     helper       lock, join, unlock; items until there are none; inside -= 1, which wakes the caller if it sleeps
 *     end          lock, unlink, unlock; wait for inside == 0: spin, then sleep
 *
 * A helper that finds no job spins for CW_SPIN_NS, then sleeps until it is called. On a machine that other threads keep
 * busy a helper may lose its processor with an item in hand, for time slices of several milliseconds. A helper that has
 * seen that, at work or spinning, or has come late when it was called, declares the pool crowded for CW_CROWDED_NS, and
 * for longer when it happens again: then nobody spins, and helpers are called only for jobs of which more than
 * CW_SLICE_NS are left by the pace of the first items.
 *
 * Include it in ONE module; the others call through that. CCONV_NO_THREADS: the caller does everything. */
#ifndef CCONV_WORKERS_H
#define CCONV_WORKERS_H
#include "workers_os.h"

/* ---------------------------------------------------------------- what callers see */

typedef struct cconv_job cconv_job;
struct cconv_job {
    void (*run)(void *context, ptrdiff_t item, int slot); /* slot: 0..threads-1; of the caller 0 */
    void *context;
    ptrdiff_t items, chunk;     /* items in all, and those that a thread takes at once */
    int threads;                /* at most so many work at it, the caller among them */
    int (*look)(void *context); /* asked by the caller every CW_LOOK_NS; not 0: no more items are begun. Or NULL */
    /* the pool's own */
    cconv_job *before, *after;  /* in the list of jobs */
    cconv_job *outer;           /* the job in whose look() this thread began this one */
    int linked;
    int joined;                 /* helpers that have joined; under the lock */
    ptrdiff_t held;             /* `next` while the job is held */
    char line0[64];             /* what threads write lies on lines of its own */
    ptrdiff_t next;             /* the first item that nobody has begun */
    char line1[64];
    int32_t inside;             /* helpers in flight, and CW_SLEEPS where the caller sleeps until there are none */
    int32_t stop;
    char line2[64];
};

static int cconv_run_job(cconv_job *job); /* not 0: look() has stopped it. The caller sets the fields above only */
static int cconv_ask(int (*look)(void *), void *context); /* look(), for who is inside of an item of his own job */
static int cconv_crowded(void);           /* whether short jobs are the caller's alone for now */
static int cconv_threads(int n);          /* starts helpers for n threads; how many threads there are then, at most n */
static int64_t cconv_now(void);           /* nanoseconds */

/* Measured, see benchmarks/threads.py. */
enum {
    CW_SPIN_NS = 200000,        /* a helper's wait for the next job: bridges the caller's last item and some Python */
    CW_PAUSE_NS = 2000,         /* of a wait that spins, before it yields */
    CW_TAIL_NS = 20000,         /* the caller's wait for items in flight, before it sleeps: what sleeping costs */
    CW_GAP_NS = 100000,         /* off its processor for so long in a job, a thread gave way to others, no interrupt */
    CW_LATE_NS = 300000,        /* with no item in hand: between two looks at a word, or from a call to its coming */
    CW_CROWDED_NS = 32000000,   /* the pool counts as crowded for so long after that, */
    CW_CROWDED_MOST = 3,        /* doubled so often while it happens again */
    CW_SLICE_NS = 4000000,      /* what a helper may keep a job waiting then */
    CW_LOOK_NS = 100000000,
    CW_REFUSED_NS = 1000000000, /* until threads are asked for again that could not be started */
    CW_SLEEPS = 1 << 30
};

#ifdef CCONV_NO_THREADS

static int cconv_threads(int n) {
    (void)n;
    return 1;
}

static int cconv_ask(int (*look)(void *), void *context) { return look(context); }

static int cconv_crowded(void) { return 0; }

static int cconv_run_job(cconv_job *job) {
    int64_t due = job->look ? cconv_now() + CW_LOOK_NS : 0;
    for (ptrdiff_t item = 0; item < job->items; item++) {
        job->run(job->context, item, 0);
        if (job->look && cconv_now() >= due) {
            if (job->look(job->context)) return 1;
            due = cconv_now() + CW_LOOK_NS;
        }
    }
    return 0;
}

#else

/* ---------------------------------------------------------------- the pool */

static struct {
    int32_t lock;               /* 0 free, 1 taken, 2 taken and somebody sleeps */
    int32_t helpers;            /* that were started; changed under the lock */
    cconv_job *jobs;            /* under the lock */
    int64_t refused;            /* when a thread could not be started, or 0; under the lock */
    char line0[64];
    int32_t epoch;              /* of publications */
    int32_t asleep, spinning;   /* helpers; asleep: those that nobody has called yet */
    int32_t called;             /* calls that no sleeper has answered yet */
    int32_t called_at;          /* when the last of them was made, nanoseconds >> 10 */
    int32_t crowded, crowds;    /* until when, in cw_ticks(); how often in a row */
    char line1[64];
} cw_pool;

CW_LOCAL cconv_job *cw_mine;    /* the shared jobs of this thread, innermost first */

/* Time in one word, in about milliseconds. It wraps: times are compared by their difference. */
static int32_t cw_ticks(int64_t ns) { return (int32_t)(uint32_t)((uint64_t)ns >> 20); }

static int cw_left(int64_t now) {
    return (int32_t)((uint32_t)cw_load32(&cw_pool.crowded) - (uint32_t)cw_ticks(now));
}

static int cw_crowded(int64_t now) {
    int32_t left = cw_left(now);
    return left > 0 && left <= ((CW_CROWDED_NS >> 20) << CW_CROWDED_MOST) + 1;
}

static int cconv_crowded(void) { return cw_crowded(cconv_now()); }

/* A helper was off its processor. Two that say so at once may count once or twice. */
static void cw_crowd(int64_t now) {
    int32_t times = cw_load32(&cw_pool.crowds), span = CW_CROWDED_NS >> 20;
    if (cw_crowded(now)) return;
    /* soon after the last time: the machine is still busy */
    times = -cw_left(now) < span << times ? times + (times < CW_CROWDED_MOST) : 0;
    cw_store32(&cw_pool.crowds, times);
    cw_store32(&cw_pool.crowded, (int32_t)((uint32_t)cw_ticks(now) + ((uint32_t)span << times)));
}

/* Waits for up to `ns` that the word changes; whether it has. A thread that waits for this processor gets it. */
static int cw_spin(int32_t *word, int32_t seen, int64_t ns) {
    int64_t start = cconv_now(), last = start, now = start;
    while (cw_load32(word) == seen) {
        if (now - start < CW_PAUSE_NS)
            for (int i = 0; i < 4; i++) cw_pause();
        else cw_yield();
        now = cconv_now();
        if (now - last > CW_LATE_NS) cw_crowd(now);
        if (now - start > ns || cw_crowded(now)) return cw_load32(word) != seen;
        last = now;
    }
    return 1;
}

/* ---------------------------------------------------------------- helpers */

static int cw_open(cconv_job *job) {
    return job->joined + 1 < job->threads && cw_load(&job->next) < job->items && !cw_load32(&job->stop);
}

/* One of the sleepers is not counted as such any more; whether there was one. */
static int cw_take_sleeper(void) {
    int32_t asleep;
    while ((asleep = cw_load32(&cw_pool.asleep)) > 0)
        if (cw_cas32(&cw_pool.asleep, asleep, asleep - 1)) return 1;
    return 0;
}

/* Calls helpers for a job of so many threads that `joined` have joined, where those that spin do not suffice. Each is
 * called once: to wake who is waking already would cost a system call a job. */
static void cw_call(int threads, int joined) {
    int wanted = threads - 1 - joined - cw_load32(&cw_pool.spinning), n = 0;
    while (n < 2 && n < wanted && cw_take_sleeper()) n++;
    if (n == 0) return;
    cw_store32(&cw_pool.called_at, (int32_t)(uint32_t)((uint64_t)cconv_now() >> 10));
    cw_add32(&cw_pool.called, n);
    cw_wake(&cw_pool.called, n);
}

/* Until it is called. Who publishes sees a sleeper, or has changed the epoch before that is read here. */
static void cw_rest(int32_t seen) {
    int32_t called;
    int64_t now;
    cw_add32(&cw_pool.asleep, 1);
    if (cw_load32(&cw_pool.epoch) != seen && cw_take_sleeper()) return;
    for (;;) {
        called = cw_load32(&cw_pool.called);
        if (called == 0) cw_sleep(&cw_pool.called, 0, -1);
        else if (cw_cas32(&cw_pool.called, called, called - 1)) break;
    }
    now = cconv_now();
    if ((int32_t)((uint32_t)((uint64_t)now >> 10) - (uint32_t)cw_load32(&cw_pool.called_at)) > CW_LATE_NS >> 10)
        cw_crowd(now);
}

/* Items until there are none. */
static void cw_help(cconv_job *job, int slot) {
    ptrdiff_t first, last;
    while (!cw_load32(&job->stop) && (first = cw_add(&job->next, job->chunk)) < job->items) {
        last = first + job->chunk < job->items ? first + job->chunk : job->items;
        for (; first < last && !cw_load32(&job->stop); first++) job->run(job->context, first, slot);
    }
}

/* Joins the open job that has the fewest helpers; the slot, or 0. */
static int cw_join(cconv_job **found) {
    cconv_job *best = NULL, *job;
    int slot = 0;
    cw_lock(&cw_pool.lock);
    for (job = cw_pool.jobs; job; job = job->after)
        if (cw_open(job) && (!best || job->joined < best->joined)) best = job;
    if (best) {
        slot = ++best->joined;
        cw_add32(&best->inside, 1);
    }
    cw_unlock(&cw_pool.lock);
    *found = best;
    return slot;
}

static void cw_leave(cconv_job *job) {
    /* the job may be gone from here on */
    if (cw_add32(&job->inside, -1) == (CW_SLEEPS | 1)) cw_wake(&job->inside, 1);
}

static void cw_helper(void) {
    int64_t lost;
    cconv_job *job;
    int32_t seen;
    int slot, woken;
    for (;;) {
        seen = cw_load32(&cw_pool.epoch);
        slot = cw_join(&job);
        if (slot) {
            lost = cw_lost();
            cw_call(job->threads, slot);
            cw_help(job, slot);
            cw_leave(job);
            if (cw_lost() - lost > CW_GAP_NS) cw_crowd(cconv_now());
            continue;
        }
        cw_add32(&cw_pool.spinning, 1);
        woken = !cw_crowded(cconv_now()) && cw_spin(&cw_pool.epoch, seen, CW_SPIN_NS);
        cw_add32(&cw_pool.spinning, -1);
        if (!woken) cw_rest(seen);
    }
}

/* ---------------------------------------------------------------- jobs */

static void cw_link(cconv_job *job) {
    job->before = NULL;
    job->after = cw_pool.jobs;
    if (job->after) job->after->before = job;
    cw_pool.jobs = job;
    job->linked = 1;
}

static void cw_publish(cconv_job *job) {
    cw_lock(&cw_pool.lock);
    cw_link(job);
    cw_unlock(&cw_pool.lock);
    cw_add32(&cw_pool.epoch, 1);
    cw_call(job->threads, 0);
}

static void cw_unlink(cconv_job *job) {
    if (!job->linked) return;
    cw_lock(&cw_pool.lock);
    if (job->before) job->before->after = job->after;
    else cw_pool.jobs = job->after;
    if (job->after) job->after->before = job->before;
    job->linked = 0;
    cw_unlock(&cw_pool.lock);
}

static void cw_ask(cconv_job *job);

/* Until nobody is inside of a job that nobody can join. `asks`: it goes on looking at signals. */
static void cw_drain(cconv_job *job, int asks) {
    int32_t seen = cw_load32(&job->inside);
    int64_t due;
    if (seen == 0) return;
    due = cconv_now() + CW_LOOK_NS;
    if (!cw_crowded(due - CW_LOOK_NS))
        while (seen && cw_spin(&job->inside, seen, CW_TAIL_NS)) seen = cw_load32(&job->inside);
    if (seen == 0) return;
    cw_or32(&job->inside, CW_SLEEPS);
    while ((seen = cw_load32(&job->inside)) & ~CW_SLEEPS) {
        cw_sleep(&job->inside, seen, asks ? CW_LOOK_NS : -1);
        if (asks && cconv_now() >= due) {
            cw_ask(job);
            due = cconv_now() + CW_LOOK_NS;
        }
    }
    cw_store32(&job->inside, 0);
}

/* No items are begun, and none are in flight, until cw_resume(). */
static void cw_hold(cconv_job *job) {
    cw_lock(&cw_pool.lock);
    job->held = cw_swap(&job->next, job->items);
    cw_unlock(&cw_pool.lock);
    cw_drain(job, 0);
}

static void cw_resume(cconv_job *job) {
    cw_lock(&cw_pool.lock);
    job->joined = 0;
    cw_store(&job->next, job->held);
    cw_unlock(&cw_pool.lock);
    cw_add32(&cw_pool.epoch, 1);
    cw_call(job->threads, 0);
}

#if defined(_WIN32)
/* Where Python may end this thread inside look(), nothing can be done then: so nothing may be in flight. */
static int cconv_ask(int (*look)(void *), void *context) {
    int stop;
    cconv_job *job = cw_mine; /* those around it are held already, for this is inside of their looks */
    if (job) cw_hold(job);
    stop = look(context);
    if (job) cw_resume(job);
    return stop;
}
#else
/* The thread ends inside look(), as Python ends daemon threads that ask for the GIL of an interpreter that is gone. */
static void cw_abandon(void *_) {
    (void)_;
    for (; cw_mine; cw_mine = cw_mine->outer) {
        cw_store32(&cw_mine->stop, 1);
        cw_unlink(cw_mine);
        cw_drain(cw_mine, 0);
    }
}

static int cconv_ask(int (*look)(void *), void *context) {
    int stop;
    pthread_cleanup_push(cw_abandon, NULL);
    stop = look(context);
    pthread_cleanup_pop(0);
    return stop;
}
#endif

static void cw_ask(cconv_job *job) {
    if (cconv_ask(job->look, job->context)) cw_store32(&job->stop, 1);
}

/* Items until there are none, with looks at signals between. `alone`: helpers are not called before that pays. */
static void cw_work(cconv_job *job, int alone) {
    int64_t start, due, now;
    ptrdiff_t first, last;
    if (!job->look && !alone) {
        cw_help(job, 0);
        return;
    }
    start = cconv_now();
    due = start + CW_LOOK_NS;
    while (!cw_load32(&job->stop) && (first = cw_add(&job->next, job->chunk)) < job->items) {
        last = first + job->chunk < job->items ? first + job->chunk : job->items;
        for (; first < last && !cw_load32(&job->stop); first++) {
            job->run(job->context, first, 0);
            now = cconv_now();
            if (alone && ((now - start) / (first + 1) * (job->items - first) > CW_SLICE_NS || !cw_crowded(now))) {
                cw_publish(job);
                alone = 0;
            }
            if (!job->look || now < due) continue;
            cw_ask(job);
            due = cconv_now() + CW_LOOK_NS;
        }
    }
}

static int cconv_run_job(cconv_job *job) {
    int shared = job->threads > 1 && job->items > job->chunk && cconv_threads(job->threads) > 1, alone;
    job->joined = 0;
    job->next = 0;
    job->inside = 0;
    job->stop = 0;
    job->linked = 0;
    if (!shared) {
        job->threads = 1;
        cw_work(job, 0);
        return job->stop;
    }
    job->outer = cw_mine;
    cw_mine = job;
    alone = cw_crowded(cconv_now());
    if (!alone) cw_publish(job);
    cw_work(job, alone);
    cw_unlink(job);
#if defined(_WIN32)
    cw_drain(job, 0);
#else
    cw_drain(job, job->look != NULL);
#endif
    cw_mine = job->outer;
    return job->stop;
}

/* ---------------------------------------------------------------- threads */

#if defined(_WIN32)
static void cw_register(void) {}
#else
/* A fork from within look(), by a signal's handler: the helpers that hold items of this thread's jobs will not be in
 * the child, so they end them before. */
static void cw_before_fork(void) {
    for (cconv_job *job = cw_mine; job; job = job->outer) cw_hold(job);
}

static void cw_in_parent(void) {
    for (cconv_job *job = cw_mine; job; job = job->outer) cw_resume(job);
}

/* The pool begins anew: whoever held the lock, worked or slept is not here. Jobs of other threads are forgotten. */
static void cw_in_child(void) {
    memset(&cw_pool, 0, sizeof cw_pool);
    cw_sleep_init();
    for (cconv_job *job = cw_mine; job; job = job->outer) {
        job->joined = 0;
        job->inside = 0;
        job->next = job->held;
        if (job->linked) cw_link(job);
    }
    if (cw_mine) cconv_threads(cw_mine->threads);
}

static void cw_register_once(void) { pthread_atfork(cw_before_fork, cw_in_parent, cw_in_child); }

static void cw_register(void) {
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, cw_register_once);
}
#endif

static int cconv_threads(int n) {
    int helpers = cw_load32(&cw_pool.helpers);
    if (n < 2 || helpers >= n - 1) return n < 1 ? 1 : n;
    cw_register();
    cw_lock(&cw_pool.lock);
    helpers = cw_pool.helpers;
    if (helpers < n - 1 && (!cw_pool.refused || cconv_now() - cw_pool.refused > CW_REFUSED_NS)) {
        cw_pool.refused = 0;
        while (helpers < n - 1 && cw_start()) helpers++;
        if (helpers < n - 1) cw_pool.refused = cconv_now();
        cw_store32(&cw_pool.helpers, helpers);
    }
    cw_unlock(&cw_pool.lock);
    return helpers + 1 < n ? helpers + 1 : n;
}

#endif /* CCONV_NO_THREADS */
#endif

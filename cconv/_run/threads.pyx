# cython: language_level=3, cdivision=True
"""How many threads a call may use, and the signals that it looks at."""
import os
from time import sleep

from cconv._processors import affinity, from_environment, most_threads, quota_processors

from libc.stddef cimport ptrdiff_t

from cconv.kernels.job cimport Watch

cdef extern from "stamp.h":
    const char *CCONV_STAMP_STRING

stamp = CCONV_STAMP_STRING.decode()

cdef enum:
    LOOK_NS = 100_000_000           # between two looks at signals

cdef extern from "workers.h" nogil:
    ctypedef struct cconv_job:
        void (*run)(void *context, ptrdiff_t item, int slot) noexcept nogil
        void *context
        ptrdiff_t items, chunk
        int threads
        int (*look)(void *context) noexcept nogil
    int cconv_run_job(cconv_job *job) noexcept
    int cconv_threads(int n) noexcept
    int cconv_ask(int (*look)(void *context) noexcept nogil, void *context) noexcept
    int cconv_crowded() noexcept
    long long cconv_now() noexcept
    const char *CCONV_THREADS       # which kind

cdef extern from *:
    """
    #if defined(_MSC_VER) && !defined(__clang__)
    #define CCONV_LOCAL static __declspec(thread)
    #define cconv_load(p) (_InterlockedOr((volatile long *)(p), 0))
    #define cconv_store(p, n) ((void)_InterlockedExchange((volatile long *)(p), n))
    #define cconv_add(p, n) (_InterlockedExchangeAdd((volatile long *)(p), n) + (n))
    static volatile long cconv_active = 0;
    #else
    #define CCONV_LOCAL static _Thread_local
    #define cconv_load(p) __atomic_load_n(p, __ATOMIC_RELAXED)
    #define cconv_store(p, n) __atomic_store_n(p, n, __ATOMIC_RELAXED)
    #define cconv_add(p, n) __atomic_add_fetch(p, n, __ATOMIC_RELAXED)
    static int cconv_active = 0;
    #endif
    CCONV_LOCAL int cconv_here = 0, cconv_depth = 0;
    CCONV_LOCAL int (*cconv_asked)(void *) = 0;
    CCONV_LOCAL void *cconv_asked_of = 0;
    /* by this threadpoolctl knows the module that holds the pool */
    #if defined(_WIN32)
    __declspec(dllexport)
    #elif defined(__GNUC__)
    __attribute__((visibility("default")))
    #endif
    extern int cconv_pool_marker;
    int cconv_pool_marker = 1;
    static int cconv_check_signals(void) { return PyErr_CheckSignals() != 0; }
    #if PY_VERSION_HEX >= 0x030D0000
    #define cconv_finalizing() Py_IsFinalizing()
    #else
    #define cconv_finalizing() _Py_IsFinalizing()
    #endif
    """
    int cconv_active                # calls that are running
    int cconv_here                  # the limit of the calling thread, 0: none of its own
    int cconv_depth                 # its calls that are running
    int (*cconv_asked)(void *) noexcept nogil       # whom it asks in runs of capi, or NULL
    void *cconv_asked_of
    int load "cconv_load"(int *p) noexcept nogil
    void store "cconv_store"(int *p, int n) noexcept nogil
    int add "cconv_add"(int *p, int n) noexcept nogil
    int check_signals "cconv_check_signals"() noexcept          # the exception stays set
    int finalizing "cconv_finalizing"() noexcept nogil
    unsigned long PyThread_get_thread_ident() noexcept nogil

kind = CCONV_THREADS.decode()


cdef int start_threads(int n) noexcept nogil:
    """Threads that there are for a call, of n: fewer where they cannot be started. Asked before a workspace is."""
    return cconv_threads(n)


cdef bint crowded() noexcept nogil:
    """Whether other programs keep the processors busy: then the caller does short jobs alone."""
    return cconv_crowded()


# ---------------------------------------------------------------- how many

cdef int threads = 0                # 0: not asked for yet, see own_threads
cdef bint given = False             # by set_num_threads or the environment; else the processors, counted anew
cdef int ceiling = 0, lowered_from  # what threadpoolctl allows of them, 0: all; how many they were then
cdef long long affinity_due = 0, quota_due = 0      # when they are read anew
cdef int quota = 0


def set_num_threads(n):
    """
    Set how many threads all calls together may use: those that run at the same time share them.

    Parameters
    ----------
    n : int
        At least 1 and at most 1024. Results do not depend on it. Where a thread cannot be started, calls use fewer.

    Raises
    ------
    TypeError, ValueError
        If `n` is not an integer from 1 to 1024.

    Examples
    --------
    >>> import cconv
    >>> cconv.set_num_threads(1)
    >>> cconv.get_num_threads()
    1
    """
    global threads, given
    if isinstance(n, bool) or not hasattr(n, "__index__"):
        raise TypeError(f"set_num_threads: n must be an int, got {n!r}")
    n = n.__index__()
    if not 1 <= n <= 1024:
        raise ValueError(f"set_num_threads: n must be from 1 to 1024, got {n}")
    threads = n
    given = True


def get_num_threads():
    """
    Number of threads a call may use.

    Returns
    -------
    int
        What `set_num_threads` set; else, as they were at the first call, ``CCONV_NUM_THREADS`` or
        ``OMP_NUM_THREADS``; else the processors that this process may use, by its affinity and its cgroup's quota as
        they are now. Less within ``threadpoolctl.threadpool_limits`` and `thread_limit`.

    Examples
    --------
    >>> import cconv
    >>> cconv.get_num_threads() >= 1
    True
    """
    return allowed_threads()


def shared_threads():
    """Threads for all calls together, as threadpoolctl sees them."""
    return min(own_threads(), ceiling) if ceiling else own_threads()


def set_ceiling(int n):
    """threadpoolctl's limit, for all threads; it is lifted by the number that it was lowered from."""
    global ceiling, lowered_from
    if not ceiling:
        lowered_from = own_threads()
    ceiling = n if 1 <= n < lowered_from else 0


cdef int own_threads() except 0:
    """Asked for at the first call, not at import: reading the cgroup is file access."""
    global threads, given, affinity_due, quota_due, quota
    cdef long long now
    if given:
        return threads
    if threads == 0:
        threads = from_environment()
        given = threads != 0
        if given:
            return threads
    now = cconv_now()
    if now < affinity_due:
        return threads
    affinity_due = now + 1_000_000_000
    if now >= quota_due:
        quota_due = now + 5_000_000_000
        quota = quota_processors()
    threads = most_threads(min(affinity(), quota))
    return threads


cdef int allowed_threads() except 0:
    """Threads that calls from this thread may use."""
    cdef int n = own_threads()
    if ceiling:
        n = min(n, ceiling)
    return min(n, cconv_here) if cconv_here else n


def limit_here(int n):
    """Limits calls from this thread alone, for callers that are one of many; 0 lifts it. Returns the last limit."""
    global cconv_here
    cdef int last = cconv_here
    cconv_here = n
    return last


cdef int enter_call(int n) noexcept nogil:
    """
    Threads that a call may use now, of at most n: calls that run at the same time share them, so that eight Python
    threads do not start eight times as many. `leave_call` must follow.
    """
    global cconv_depth
    cconv_depth += 1
    return max(1, n // max(1, add(&cconv_active, 1)))


cdef void leave_call() noexcept nogil:
    global cconv_depth
    cconv_depth -= 1
    add(&cconv_active, -1)


def after_fork():
    """In a child only this thread's calls go on: those in whose look at signals a handler has forked."""
    store(&cconv_active, cconv_depth)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=after_fork)

# ---------------------------------------------------------------- signals

cdef int signalled(void *_context) noexcept nogil:
    """Whether a signal's handler has raised: its exception is set then, for who returns to Python to find.

    A daemon thread whose interpreter ends must not ask for the GIL in a new state; it ends where its call returns."""
    cdef bint raised
    if finalizing():
        return True
    with gil:
        raised = check_signals()
    return raised


cdef void watch(Watch *here) noexcept nogil:
    """Begins the looks at signals of a call of this thread's; who asks somebody else sets `ask` afterwards."""
    here.owner = PyThread_get_thread_ident()
    here.due = 0                    # from the first time that the clock is read: short calls never do
    here.stop = 0
    here.look = look
    here.ask = signalled
    here.context = NULL


cdef void ask_instead(int (*ask)(void *context) noexcept nogil, void *context) noexcept nogil:
    """Whom this thread asks in runs of capi from now on, which know of no signals; NULL: nobody."""
    global cconv_asked, cconv_asked_of
    cconv_asked, cconv_asked_of = ask, context


cdef Watch *watch_here(Watch *here) noexcept nogil:
    """Begins the looks of a run of capi, if there are any; else NULL."""
    if cconv_asked == NULL:
        return NULL
    watch(here)
    here.ask, here.context = cconv_asked, cconv_asked_of
    return here


cdef int look(Watch *here) noexcept nogil:
    """Whether a kernel has to give up, from inside of an item."""
    cdef int stop = load(&here.stop)
    if stop or PyThread_get_thread_ident() != here.owner or not is_due(here):
        return stop
    return cconv_ask(ask, here)


cdef inline bint is_due(Watch *here) noexcept nogil:
    cdef long long now = cconv_now()
    if here.due == 0:
        here.due = now + LOOK_NS
    return now >= here.due


cdef int ask(void *context) noexcept nogil:
    """Asks, on the thread that called."""
    cdef Watch *here = <Watch *>context
    cdef int stop = load(&here.stop)
    if stop:
        return stop
    stop = here.ask(here.context)
    if stop:
        store(&here.stop, 1)
    here.due = cconv_now() + LOOK_NS
    return stop

# ---------------------------------------------------------------- items

cdef void run_item(void *context, ptrdiff_t item, int slot) noexcept nogil:
    cdef Task *task = <Task *>context
    task.run(task.job, item, task.workspace + slot * task.workspace_bytes)


cdef int look_between(void *context) noexcept nogil:
    return ask((<Task *>context).signals)


cdef bint run_task(Task *task) noexcept nogil:
    """Runs all items on the pool; whether a look at signals has ended that, and an exception is set."""
    cdef cconv_job job
    if task.items == 1:             # a tiny call: nothing to share, and nothing between items
        task.run(task.job, 0, task.workspace)
        if task.signals == NULL:
            return False
        return load(&task.signals.stop) or (is_due(task.signals) and cconv_ask(ask, task.signals))
    job.run = run_item
    job.context = task
    job.items = task.items
    # the last chunks are what threads wait for at the end
    job.chunk = max(<Py_ssize_t>1, min(task.chunk, task.items // (8 * task.threads)))
    job.threads = task.threads
    job.look = NULL
    if task.signals == NULL:
        cconv_run_job(&job)
        return False
    job.look = look_between
    # an item may have looked, and stopped; many short tasks of one call look between them
    if cconv_run_job(&job) or load(&task.signals.stop):
        return True
    return is_due(task.signals) and cconv_ask(ask, task.signals)


cdef void no_item(void *_job, Py_ssize_t _item, char *_workspace) noexcept nogil:
    pass


def time_empty_jobs(int n, int jobs, long long pause):
    """Microseconds that a job of empty items takes on n threads, nanoseconds of sleep before each; the median."""
    cdef Task task
    cdef long long start, took
    task.name, task.dtype, task.run, task.job, task.items, task.chunk = NULL, NULL, no_item, NULL, 64, 1
    task.threads, task.workspace, task.workspace_bytes, task.signals = n, NULL, 0, NULL
    times = []
    for _ in range(jobs):
        if pause:
            sleep(pause / 1e9)
        with nogil:
            start = cconv_now()
            run_task(&task)
            took = cconv_now() - start
        times.append(took)
    return sorted(times)[jobs // 2] / 1e3

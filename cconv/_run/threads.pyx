# cython: language_level=3, cdivision=True
"""How many threads a call may use, and the signals that it looks at."""
import os

from cconv._processors import default_threads

from cconv.kernels.job cimport Watch

cdef extern from "stamp.h":
    const char *CCONV_STAMP_STRING

stamp = CCONV_STAMP_STRING.decode()

cdef extern from *:
    """
    #ifdef _OPENMP
    #include <omp.h>
    #define CCONV_HAS_OPENMP 1
    #define cconv_omp_threads() omp_get_max_threads()
    #define cconv_omp_processors() omp_get_num_procs()
    #else
    #define CCONV_HAS_OPENMP 0
    #define cconv_omp_threads() 1
    #define cconv_omp_processors() 1
    #endif
    #include <time.h>
    #if defined(_MSC_VER)
    #include <intrin.h>
    static volatile long cconv_active = 0;
    static int cconv_add_active(int n) { return (int)_InterlockedExchangeAdd(&cconv_active, n) + n; }
    static void cconv_set_active(int n) { cconv_active = n; }
    static double cconv_seconds(void) { return (double)clock() / CLOCKS_PER_SEC; } /* there it is a wall clock */
    #else
    static int cconv_active = 0;
    static int cconv_add_active(int n) { return __atomic_add_fetch(&cconv_active, n, __ATOMIC_RELAXED); }
    static void cconv_set_active(int n) { __atomic_store_n(&cconv_active, n, __ATOMIC_RELAXED); }
    static double cconv_seconds(void) {
        struct timespec now;
        clock_gettime(CLOCK_MONOTONIC, &now);
        return now.tv_sec + 1e-9 * now.tv_nsec;
    }
    #endif
    #if defined(_MSC_VER)
    static __declspec(thread) int cconv_here = 0;
    #else
    static _Thread_local int cconv_here = 0;
    #endif
    static int cconv_check_signals(void) { return PyErr_CheckSignals() != 0; }
    """
    const bint CCONV_HAS_OPENMP
    int cconv_here                  # the limit of the calling thread, 0: none of its own
    int cconv_omp_threads() nogil
    int cconv_omp_processors() nogil
    int add_active "cconv_add_active"(int n) noexcept nogil     # calls that are running
    void set_active "cconv_set_active"(int n) noexcept nogil
    double cconv_seconds() noexcept nogil
    int check_signals "cconv_check_signals"() noexcept          # the exception stays set
    unsigned long PyThread_get_thread_ident() noexcept nogil

cdef extern from "team.h" nogil:
    int cconv_team(int n) noexcept

openmp = bool(CCONV_HAS_OPENMP)


cdef int team(int n) noexcept nogil:
    """Threads that OpenMP can give a kernel, of n."""
    return n if n < 2 else cconv_team(n)


cdef double seconds() noexcept nogil:
    return cconv_seconds()


# ---------------------------------------------------------------- how many

cdef int threads = 0                # 0: not asked for yet, see thread_limit
cdef int omp_initial = 0            # what OpenMP allows when nobody has lowered it
cdef bint forked = False


def set_num_threads(n):
    """
    Set how many threads all calls together may use: those that run at the same time share them.

    Parameters
    ----------
    n : int
        At least 1 and at most 1024. Results do not depend on it. Without OpenMP every call uses one thread; so does
        a child after ``os.fork()``, where OpenMP cannot be entered again.

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
    global threads
    if isinstance(n, bool) or not hasattr(n, "__index__"):
        raise TypeError(f"set_num_threads: n must be an int, got {n!r}")
    n = n.__index__()
    if not 1 <= n <= 1024:
        raise ValueError(f"set_num_threads: n must be from 1 to 1024, got {n}")
    thread_limit()  # what OpenMP begins with is noted before
    threads = n


def get_num_threads():
    """
    Number of threads a call may use.

    Returns
    -------
    int
        What `set_num_threads` set; at the first call ``CCONV_NUM_THREADS``, else ``OMP_NUM_THREADS``, else the
        processors that this process may use. Less where OpenMP's own limit has been lowered below what it began
        with, as within ``threadpoolctl.threadpool_limits``.

    Examples
    --------
    >>> import cconv
    >>> cconv.get_num_threads() >= 1
    True
    """
    return thread_limit()


def after_fork():
    """libgomp hangs in a forked child once it was used before: there calls stay on one thread."""
    global forked
    forked = True
    set_active(0)  # the calls of the parent's other threads do not go on here


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=after_fork)


cdef int thread_limit() except 0:
    """Asked for at the first call, not at import: reading the cgroup is file access."""
    global threads, omp_initial
    cdef int now
    if forked:
        return 1
    if threads == 0:
        value = os.environ.get("OMP_NUM_THREADS", "").split(",")[0].strip()
        omp_initial = min(int(value), 1024) if value.isdigit() and int(value) else cconv_omp_processors()
        threads = default_threads()
    # A num_threads clause overrules omp_set_num_threads: so who lowers that for a while (threadpoolctl) is asked for.
    now = cconv_omp_threads()
    if now >= omp_initial or now >= threads:
        now = threads
    return min(now, cconv_here) if cconv_here else now


def limit_here(int n):
    """Limits calls from this thread alone, for callers that are one of many; 0 lifts it. Returns the last limit."""
    global cconv_here
    cdef int last = cconv_here
    cconv_here = n
    return last


cdef bint is_forked() noexcept nogil:
    return forked


cdef int enter_call(int n) noexcept nogil:
    """
    Threads that a call may use now, of at most n: calls that run at the same time share them, so that eight Python
    threads do not start eight times as many. One in a forked child. `leave_call` must follow.
    """
    cdef int active = add_active(1)
    return 1 if forked else max(1, n // max(1, active))


cdef void leave_call() noexcept nogil:
    add_active(-1)


# ---------------------------------------------------------------- signals

cdef bint signalled() noexcept nogil:
    """Whether a signal's handler has raised: its exception is set then, for who returns to Python to find."""
    cdef bint raised
    with gil:
        raised = check_signals()
    return raised


cdef void watch(Watch *here) noexcept nogil:
    """Starts to look at signals from inside a kernel: for items that may take long by themselves."""
    here.owner = PyThread_get_thread_ident()
    here.due = seconds() + between_looks()
    here.stop = 0
    here.look = look


cdef int look(Watch *here) noexcept nogil:
    """Whether a kernel has to give up; an exception is set then. Only the calling thread asks, and rarely."""
    if here.stop or PyThread_get_thread_ident() != here.owner or seconds() < here.due:
        return here.stop
    here.stop = signalled()
    here.due = seconds() + between_looks()
    return here.stop

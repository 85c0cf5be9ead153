/* What workers.h needs of the machine: time, atomics, sleep and wake, threads' own variables. Included by it alone. */
#ifndef CCONV_WORKERS_OS_H
#define CCONV_WORKERS_OS_H
#if (defined(__EMSCRIPTEN__) && !defined(__EMSCRIPTEN_PTHREADS__)) || defined(__wasi__)
#define CCONV_NO_THREADS
#endif
#if defined(CCONV_NO_THREADS)
#define CCONV_THREADS "none"
#elif defined(_WIN32)
#define CCONV_THREADS "win32"
#else
#define CCONV_THREADS "pthreads"
#endif

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#if defined(_WIN32)
#ifndef WIN32_LEAN_AND_MEAN
#define WIN32_LEAN_AND_MEAN
#endif
#include <windows.h>
static int64_t cconv_now(void) {
    LARGE_INTEGER now, second;
    QueryPerformanceFrequency(&second);
    QueryPerformanceCounter(&now);
    return now.QuadPart / second.QuadPart * 1000000000 + now.QuadPart % second.QuadPart * 1000000000 / second.QuadPart;
}
#else
#include <time.h>
static int64_t cconv_now(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}
#endif

#ifndef CCONV_NO_THREADS

/* Atomics. Every change and cw_load32() are sequentially consistent; cw_load() acquires, the stores release. */
#if defined(_MSC_VER) && !defined(__clang__)
#define cw_add32(p, n) (InterlockedExchangeAdd((volatile LONG *)(p), n))
#define cw_or32(p, n) (InterlockedOr((volatile LONG *)(p), n))
#define cw_swap32(p, n) (InterlockedExchange((volatile LONG *)(p), n))
#define cw_cas32(p, old, n) (InterlockedCompareExchange((volatile LONG *)(p), n, old) == (old))
static __forceinline LONG cw_load32(const volatile void *p) {
    MemoryBarrier();
    return ReadAcquire((const volatile LONG *)p);
}
#define cw_store32(p, n) (WriteRelease((volatile LONG *)(p), n))
#if defined(_WIN64)
#define cw_add(p, n) ((ptrdiff_t)InterlockedExchangeAdd64((volatile LONG64 *)(p), n))
#define cw_swap(p, n) ((ptrdiff_t)InterlockedExchange64((volatile LONG64 *)(p), n))
#define cw_load(p) ((ptrdiff_t)ReadAcquire64((const volatile LONG64 *)(p)))
#define cw_store(p, n) (WriteRelease64((volatile LONG64 *)(p), n))
#else
#define cw_add(p, n) ((ptrdiff_t)InterlockedExchangeAdd((volatile LONG *)(p), n))
#define cw_swap(p, n) ((ptrdiff_t)InterlockedExchange((volatile LONG *)(p), n))
#define cw_load(p) ((ptrdiff_t)ReadAcquire((const volatile LONG *)(p)))
#define cw_store(p, n) (WriteRelease((volatile LONG *)(p), n))
#endif
#define cw_pause() YieldProcessor()
#define CW_LOCAL static __declspec(thread)
#else
#define cw_add32(p, n) __atomic_fetch_add(p, n, __ATOMIC_SEQ_CST)
#define cw_or32(p, n) __atomic_fetch_or(p, n, __ATOMIC_SEQ_CST)
#define cw_swap32(p, n) __atomic_exchange_n(p, n, __ATOMIC_SEQ_CST)
#define cw_load32(p) __atomic_load_n(p, __ATOMIC_SEQ_CST)
#define cw_store32(p, n) __atomic_store_n(p, n, __ATOMIC_RELEASE)
#define cw_add(p, n) __atomic_fetch_add(p, n, __ATOMIC_SEQ_CST)
#define cw_swap(p, n) __atomic_exchange_n(p, n, __ATOMIC_SEQ_CST)
#define cw_load(p) __atomic_load_n(p, __ATOMIC_ACQUIRE)
#define cw_store(p, n) __atomic_store_n(p, n, __ATOMIC_RELEASE)
static inline int cw_cas32(int32_t *p, int32_t old, int32_t n) {
    return __atomic_compare_exchange_n(p, &old, n, 0, __ATOMIC_SEQ_CST, __ATOMIC_RELAXED);
}
#if defined(__x86_64__) || defined(__i386__)
#define cw_pause() __builtin_ia32_pause()
#elif defined(__aarch64__) || (defined(__arm__) && __ARM_ARCH >= 7)
#define cw_pause() __asm__ volatile("yield")
#else
#define cw_pause() ((void)0)
#endif
#define CW_LOCAL static _Thread_local
#endif

/* Sleep while a word has a value, and wake by its address, which nothing here reads: a job, and the word in it, may be
 * gone by then, for it ends as soon as nobody is inside. Sleepers may wake early; ns < 0: no limit. */
#if defined(_WIN32)
#if defined(_MSC_VER)
#pragma comment(lib, "synchronization.lib")
#endif
static void cw_sleep(int32_t *word, int32_t seen, int64_t ns) {
    WaitOnAddress(word, &seen, sizeof seen, ns < 0 ? INFINITE : (DWORD)(ns / 1000000 + 1));
}
static void cw_wake(int32_t *word, int n) {
    while (n-- > 0) WakeByAddressSingle(word);
}
static void cw_sleep_init(void) {}
#elif defined(__linux__) && !defined(CCONV_NO_FUTEX)
#include <linux/futex.h>
#include <sys/syscall.h>
#include <unistd.h>
#if !defined(SYS_futex) && defined(SYS_futex_time64) /* 32 bits with times of 64 */
#define SYS_futex SYS_futex_time64
#endif
static void cw_sleep(int32_t *word, int32_t seen, int64_t ns) {
    struct timespec wait;
    wait.tv_sec = (time_t)(ns / 1000000000);
    wait.tv_nsec = (long)(ns % 1000000000);
    syscall(SYS_futex, word, FUTEX_WAIT_PRIVATE, seen, ns < 0 ? NULL : &wait, NULL, 0);
}
static void cw_wake(int32_t *word, int n) { syscall(SYS_futex, word, FUTEX_WAKE_PRIVATE, n, NULL, NULL, 0); }
static void cw_sleep_init(void) {}
#else
#include <pthread.h>
#include <sys/time.h>
/* one place where all sleep, whatever their word */
static pthread_mutex_t cw_place = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t cw_changed = PTHREAD_COND_INITIALIZER;
static void cw_sleep(int32_t *word, int32_t seen, int64_t ns) {
    struct timeval now;
    struct timespec until;
    if (ns >= 0) {
        gettimeofday(&now, NULL);
        ns += (int64_t)now.tv_usec * 1000;
        until.tv_sec = now.tv_sec + (time_t)(ns / 1000000000);
        until.tv_nsec = (long)(ns % 1000000000);
    }
    pthread_mutex_lock(&cw_place);
    if (cw_load32(word) == seen) {
        if (ns < 0) pthread_cond_wait(&cw_changed, &cw_place);
        else pthread_cond_timedwait(&cw_changed, &cw_place, &until);
    }
    pthread_mutex_unlock(&cw_place);
}
static void cw_wake(int32_t *word, int n) {
    (void)word, (void)n;
    pthread_mutex_lock(&cw_place);
    pthread_cond_broadcast(&cw_changed);
    pthread_mutex_unlock(&cw_place);
}
static void cw_sleep_init(void) {
    static const pthread_mutex_t place = PTHREAD_MUTEX_INITIALIZER;
    static const pthread_cond_t changed = PTHREAD_COND_INITIALIZER;
    memcpy(&cw_place, &place, sizeof place);
    memcpy(&cw_changed, &changed, sizeof changed);
}
#endif

#if defined(_WIN32)
#define cw_yield() SwitchToThread()
#else
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#define cw_yield() sched_yield()
#endif

/* Time that this thread was off its processor, plus a constant: of a thread that does not sleep, lost to others. */
static int64_t cw_lost(void) {
#if !defined(_WIN32) && defined(CLOCK_THREAD_CPUTIME_ID)
    struct timespec used;
    if (clock_gettime(CLOCK_THREAD_CPUTIME_ID, &used) == 0)
        return cconv_now() - ((int64_t)used.tv_sec * 1000000000 + used.tv_nsec);
#endif
    return 0;
}

/* A lock: 0 free, 1 taken, 2 taken and somebody sleeps. */
static void cw_lock(int32_t *lock) {
    if (cw_cas32(lock, 0, 1)) return;
    for (int i = 0; i < 64; i++) {
        if (cw_load32(lock) == 0 && cw_cas32(lock, 0, 1)) return;
        cw_pause();
    }
    while (cw_swap32(lock, 2) != 0) cw_sleep(lock, 2, -1);
}

static void cw_unlock(int32_t *lock) {
    if (cw_swap32(lock, 0) == 2) cw_wake(lock, 1);
}

/* A thread that runs cw_helper(); whether it could be started. */
static void cw_helper(void);
enum { CW_STACK_BYTES = 1 << 20 }; /* kernels use up to 64 KiB; glibc takes thread-local storage of all modules from it */

#if defined(_WIN32)

static DWORD WINAPI cw_main(void *_) {
    (void)_;
    cw_helper();
    return 0;
}

static int cw_start(void) {
    HANDLE thread = CreateThread(NULL, CW_STACK_BYTES, cw_main, NULL, STACK_SIZE_PARAM_IS_A_RESERVATION, NULL);
    if (thread == NULL) return 0;
    CloseHandle(thread);
    return 1;
}

#else

#ifndef CCONV_PTHREAD_CREATE    /* tests replace it */
#define CCONV_PTHREAD_CREATE pthread_create
#endif

static void *cw_main(void *_) {
    (void)_;
#if defined(__linux__) && defined(__GLIBC__) && defined(_GNU_SOURCE)
    pthread_setname_np(pthread_self(), "cconv");
#endif
    cw_helper();
    return NULL;
}

static int cw_start(void) {
    pthread_attr_t attributes;
    pthread_t thread;
    sigset_t none, before;
    int started;
    if (pthread_attr_init(&attributes)) return 0;
    pthread_attr_setstacksize(&attributes, CW_STACK_BYTES);
    pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
    /* signals are for the program's threads; but a fault in a kernel is reported as one of theirs */
    sigfillset(&none);
    sigdelset(&none, SIGSEGV);
    sigdelset(&none, SIGBUS);
    sigdelset(&none, SIGFPE);
    sigdelset(&none, SIGILL);
    pthread_sigmask(SIG_SETMASK, &none, &before);
    started = CCONV_PTHREAD_CREATE(&thread, &attributes, cw_main, NULL) == 0;
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    pthread_attr_destroy(&attributes);
    return started;
}

#endif

#endif /* CCONV_NO_THREADS */
#endif

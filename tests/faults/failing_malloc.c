/* Preloaded: makes chosen allocations of the arming thread fail. See failing.py. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <execinfo.h>
#include <link.h>
#include <stddef.h>
#include <string.h>

void *__libc_malloc(size_t);
void *__libc_calloc(size_t, size_t);
void *__libc_realloc(void *, size_t);
void *__libc_memalign(size_t, size_t);

static _Thread_local long due, seen, failed;
static _Thread_local size_t least;
static _Thread_local int lasting;

struct span { const char *first, *last; };
static struct span python, numpy;

static int find(struct dl_phdr_info *info, size_t size, void *data) {
    (void)size, (void)data;
    struct span *to = strstr(info->dlpi_name, "libpython")            ? &python
                      : strstr(info->dlpi_name, "_multiarray_umath.") ? &numpy
                                                                      : NULL;
    for (int i = 0; to && i < info->dlpi_phnum; i++)
        if (info->dlpi_phdr[i].p_type == PT_LOAD && info->dlpi_phdr[i].p_flags & PF_X) {
            to->first = (const char *)info->dlpi_addr + info->dlpi_phdr[i].p_vaddr;
            to->last = to->first + info->dlpi_phdr[i].p_memsz;
        }
    return 0;
}

static int in(const struct span *span, const void *p) {
    return (const char *)p >= span->first && (const char *)p < span->last;
}

/* From now on the n-th allocation of at least `size` bytes fails (lasting: and all after it); 0: none. */
void arm(long n, size_t size, int all_after) {
    dl_iterate_phdr(find, NULL);
    due = n, least = size, lasting = all_after, seen = failed = 0;
}

/* How many have failed. */
long disarm(void) {
    due = 0;
    return failed;
}

/* What fails: what cconv's modules ask for, themselves or by the interpreter and NumPy, and the memory of arrays. Not what
 * others need for themselves, which no caller could help: NumPy 2.4 forgets
 * exceptions or crashes; CPython 3.11 loses the arguments of a function without a cell for its frame, and crashes without a
 * dictionary's iterator. */
static int spared(size_t size, const void *caller) {
    void *frames[12];
    Dl_info info;
    int spare = 1, n;
    long kept = due;
    if (!in(&python, caller) && !in(&numpy, caller)) return 0;
    if (in(&numpy, caller) && size >= 1024) return 0;
    due = 0;
    n = backtrace(frames, 12);
    for (int i = 1; i < n; i++) {
        if (!dladdr(frames[i], &info) || !info.dli_fname || strstr(info.dli_fname, "failing_malloc")) continue;
        if (info.dli_sname && !strcmp(info.dli_sname, "_PyEval_EvalFrameDefault")) break;
        if (in(&python, frames[i]) || (in(&numpy, caller) && in(&numpy, frames[i]))) continue;
        spare = !strstr(info.dli_fname, "/cconv/_run/") && !strstr(info.dli_fname, "/cconv/_convert.") &&
                !strstr(info.dli_fname, "/cconv/capi.") && !strstr(info.dli_fname, "/cconv/kernels/");
        break;
    }
    due = kept;
    return spare;
}

static int fails(size_t size, const void *caller) {
    if (!due || size < least || spared(size, caller)) return 0;
    seen++;
    if (lasting ? seen < due : seen != due) return 0;
    failed++;
    errno = ENOMEM;
    return 1;
}

#define FAILS(size) fails(size, __builtin_return_address(0))
void *malloc(size_t size) { return FAILS(size) ? NULL : __libc_malloc(size); }
void *calloc(size_t n, size_t size) { return FAILS(n * size) ? NULL : __libc_calloc(n, size); }
void *realloc(void *p, size_t size) { return FAILS(size) ? NULL : __libc_realloc(p, size); }
void *memalign(size_t align, size_t size) { return FAILS(size) ? NULL : __libc_memalign(align, size); }
void *aligned_alloc(size_t align, size_t size) { return FAILS(size) ? NULL : __libc_memalign(align, size); }
int posix_memalign(void **p, size_t align, size_t size) {
    void *found;
    if (FAILS(size)) return ENOMEM;
    found = __libc_memalign(align, size);
    if (!found) return ENOMEM;
    *p = found;
    return 0;
}

/* One vector type `vec` of `real` lanes, its width set by the build (CCONV_VBYTES), its element by CCONV_DTYPE.
 *
 * GCC and Clang give + and * on vector types and lower them to whatever the target has. Any other compiler,
 * or -DCCONV_SCALAR, gets vec == real: the same kernels with one lane. */
#ifndef CCONV_SIMD_H
#define CCONV_SIMD_H
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#ifndef CCONV_DTYPE
#define CCONV_DTYPE 0
#endif
#ifndef CCONV_VBYTES
#define CCONV_VBYTES 16
#endif

#if CCONV_DTYPE == 0
typedef float real;
typedef int32_t ireal;
#elif CCONV_DTYPE == 1
typedef double real;
typedef int64_t ireal;
#elif CCONV_DTYPE == 2
typedef int32_t real;
typedef int32_t ireal;
#else
typedef int64_t real;
typedef int64_t ireal;
#endif
#define CCONV_IS_FLOAT (CCONV_DTYPE < 2)
#if defined(__GNUC__) || defined(__clang__)
#define CCONV_OUTLINE static __attribute__((noinline, unused))
#else
#define CCONV_OUTLINE static
#endif

#if !defined(CCONV_SCALAR) && (defined(__GNUC__) || defined(__clang__))
#define CCONV_VECTORS 1
typedef real vec __attribute__((vector_size(CCONV_VBYTES)));
typedef real vecu __attribute__((vector_size(CCONV_VBYTES), aligned(sizeof(real)), may_alias));
typedef ireal ivec __attribute__((vector_size(CCONV_VBYTES)));
enum { VL = CCONV_VBYTES / sizeof(real) };
#define CCONV_INLINE static inline __attribute__((always_inline))
CCONV_INLINE vec load(const real *p) { return *(const vecu *)p; }
CCONV_INLINE void store(real *p, vec v) { *(vecu *)p = v; }
/* x - 0 and not x + 0: keeps the sign of -0.0. */
CCONV_INLINE vec set1(real x) { return x - (vec){0}; }
CCONV_INLINE vec select_(ivec m, vec a, vec b) { return (vec)(((ivec)a & m) | ((ivec)b & ~m)); }
/* a below the lane of a mask of lanes_from(), b from there on. */
CCONV_INLINE vec blend(vec mask, vec a, vec b) { return select_((ivec)mask, b, a); }
CCONV_INLINE vec lanes_from(ptrdiff_t lane) {
    ivec m;
    for (int i = 0; i < VL; i++) m[i] = i >= lane ? -1 : 0;
    return (vec)m;
}
#define CCONV_PREFETCH(p) __builtin_prefetch(p)
#else
typedef real vec;
enum { VL = 1 };
#define CCONV_INLINE static inline
CCONV_INLINE vec load(const real *p) { return *p; }
CCONV_INLINE void store(real *p, vec v) { *p = v; }
CCONV_INLINE vec set1(real x) { return x; }
CCONV_INLINE vec blend(vec mask, vec a, vec b) { return mask != 0 ? b : a; }
CCONV_INLINE vec lanes_from(ptrdiff_t lane) { return lane <= 0 ? (vec)1 : (vec)0; }
#define CCONV_PREFETCH(p) (void)(p)
#endif

/* to[i] = x[i] for i < n, without a loop where there are few: the last eight (four, two) may overlap those before. */
CCONV_INLINE void copy_line(real *to, const real *x, ptrdiff_t n) {
    if (n >= 8) {
        for (ptrdiff_t i = 0; i + 8 < n; i += 8) memcpy(to + i, x + i, 8 * sizeof(real));
        memcpy(to + n - 8, x + n - 8, 8 * sizeof(real));
    } else if (n >= 4) {
        memcpy(to, x, 4 * sizeof(real));
        memcpy(to + n - 4, x + n - 4, 4 * sizeof(real));
    } else if (n >= 2) {
        memcpy(to, x, 2 * sizeof(real));
        memcpy(to + n - 2, x + n - 2, 2 * sizeof(real));
    } else if (n == 1)
        *to = *x;
}
/* to[r * to_row + i * step] = x[r * x_row + i]: the edges of tiles, out of line, for they are many. */
CCONV_OUTLINE void put_lines(real *to, ptrdiff_t to_row, ptrdiff_t step, const real *x, ptrdiff_t x_row, ptrdiff_t rows,
                             ptrdiff_t n) {
    for (ptrdiff_t r = 0; r < rows; r++, to += to_row, x += x_row)
        if (step == 1)
            copy_line(to, x, n);
        else
            for (ptrdiff_t i = 0; i < n; i++) to[i * step] = x[i];
}
/* The way back: to[r * to_row + i] = x[r * x_row + i * step]. */
CCONV_OUTLINE void get_lines(real *to, ptrdiff_t to_row, const real *x, ptrdiff_t x_row, ptrdiff_t step, ptrdiff_t rows,
                             ptrdiff_t n) {
    for (ptrdiff_t r = 0; r < rows; r++, to += to_row, x += x_row)
        if (step == 1)
            copy_line(to, x, n);
        else
            for (ptrdiff_t i = 0; i < n; i++) to[i] = x[i * step];
}
CCONV_INLINE real sum_lanes(vec v) {
    real t[VL], s = 0;
    store(t, v);
    for (int i = 0; i < VL; i++) s += t[i];
    return s;
}

/* Rows of the register tile: MR x 2 vectors of accumulators must fit the register file. */
#if CCONV_VBYTES == 64
enum { MR = 14 };
#else
enum { MR = 6 };
#endif
enum { NR = 2 * VL };

#endif

/* One vector type `vec` of `real` lanes, its width set by the build (CCONV_VBYTES), its element by CCONV_DTYPE.
 *
 * GCC and Clang give + and * on vector types and lower them to whatever the target has. Any other compiler,
 * or -DCCONV_SCALAR, gets vec == real: the same kernels with one lane. */
#ifndef CCONV_SIMD_H
#define CCONV_SIMD_H
#include <math.h>
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
#define CCONV_LOWEST (-HUGE_VALF)
#elif CCONV_DTYPE == 1
typedef double real;
typedef int64_t ireal;
#define CCONV_LOWEST (-HUGE_VAL)
#elif CCONV_DTYPE == 2
typedef int32_t real;
typedef int32_t ireal;
#define CCONV_LOWEST INT32_MIN
#else
typedef int64_t real;
typedef int64_t ireal;
#define CCONV_LOWEST INT64_MIN
#endif
#define CCONV_IS_FLOAT (CCONV_DTYPE < 2)

#if !defined(CCONV_SCALAR) && (defined(__GNUC__) || defined(__clang__))
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
/* The later operand wins if it is larger or NaN: NaN stays, of equals the earlier is kept. */
CCONV_INLINE vec max_nan(vec acc, vec v) {
#if CCONV_IS_FLOAT
    return select_((ivec)(v > acc) | (ivec)(v != v), v, acc);
#else
    return select_((ivec)(v > acc), v, acc);
#endif
}
/* even[i] = p[2i], odd[i] = p[2i + 1] */
#if defined(__has_builtin)
#if __has_builtin(__builtin_shufflevector)
#define CCONV_SHUFFLE(a, b, ...) __builtin_shufflevector(a, b, __VA_ARGS__)
#endif
#endif
#ifdef CCONV_SHUFFLE
CCONV_INLINE void load2(const real *p, vec *even, vec *odd) {
    vec a = load(p), b = load(p + VL);
#define CCONV_LANES (CCONV_VBYTES / (CCONV_DTYPE % 2 ? 8 : 4))
#if CCONV_LANES == 2
    *even = CCONV_SHUFFLE(a, b, 0, 2);
    *odd = CCONV_SHUFFLE(a, b, 1, 3);
#elif CCONV_LANES == 4
    *even = CCONV_SHUFFLE(a, b, 0, 2, 4, 6);
    *odd = CCONV_SHUFFLE(a, b, 1, 3, 5, 7);
#elif CCONV_LANES == 8
    *even = CCONV_SHUFFLE(a, b, 0, 2, 4, 6, 8, 10, 12, 14);
    *odd = CCONV_SHUFFLE(a, b, 1, 3, 5, 7, 9, 11, 13, 15);
#else
    *even = CCONV_SHUFFLE(a, b, 0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30);
    *odd = CCONV_SHUFFLE(a, b, 1, 3, 5, 7, 9, 11, 13, 15, 17, 19, 21, 23, 25, 27, 29, 31);
#endif
}
#else
CCONV_INLINE void load2(const real *p, vec *even, vec *odd) {
    real e[VL], o[VL];
    for (int i = 0; i < VL; i++) { e[i] = p[2 * i]; o[i] = p[2 * i + 1]; }
    *even = load(e);
    *odd = load(o);
}
#endif
#else
typedef real vec;
enum { VL = 1 };
#define CCONV_INLINE static inline
CCONV_INLINE vec load(const real *p) { return *p; }
CCONV_INLINE void store(real *p, vec v) { *p = v; }
CCONV_INLINE vec set1(real x) { return x; }
CCONV_INLINE vec max_nan(vec acc, vec v) { return (v > acc || v != v) ? v : acc; }
CCONV_INLINE void load2(const real *p, vec *even, vec *odd) { *even = p[0]; *odd = p[1]; }
#endif

/* Rows of the register tile: MR x 2 vectors of accumulators must fit the register file. */
#if CCONV_VBYTES == 64
enum { MR = 14 };
#else
enum { MR = 6 };
#endif
enum { NR = 2 * VL };
#ifdef _OPENMP
enum { HAS_OPENMP = 1 };
#else
enum { HAS_OPENMP = 0 };
#endif

#if CCONV_IS_FLOAT
#define CCONV_ISNAN(x) ((x) != (x))
#else
#define CCONV_ISNAN(x) 0
#endif
#endif

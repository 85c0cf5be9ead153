/* One vector type `vec` of `real` lanes, its width set by the build (CCONV_VBYTES), its element by CCONV_DTYPE.
 *
 * GCC and Clang give + and * on vector types and lower them to whatever the target has. Any other compiler,
 * or -DCCONV_SCALAR, gets vec == real: the same kernels with one lane. */
#ifndef CCONV_SIMD_H
#define CCONV_SIMD_H
#include <math.h>
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
/* Where the instruction set has them, max(v, acc) = v > acc ? v : acc and one blend for NaN: three instructions. */
#if defined(__AVX512F__) && CCONV_VBYTES == 64 && CCONV_DTYPE == 0
#include <immintrin.h>
#define CCONV_MAX(acc, v) _mm512_mask_mov_ps(_mm512_max_ps(v, acc), _mm512_cmp_ps_mask(v, v, _CMP_UNORD_Q), v)
#elif defined(__AVX512F__) && CCONV_VBYTES == 64 && CCONV_DTYPE == 1
#include <immintrin.h>
#define CCONV_MAX(acc, v) _mm512_mask_mov_pd(_mm512_max_pd(v, acc), _mm512_cmp_pd_mask(v, v, _CMP_UNORD_Q), v)
#elif defined(__AVX__) && CCONV_VBYTES == 32 && CCONV_DTYPE == 0
#include <immintrin.h>
#define CCONV_MAX(acc, v) _mm256_blendv_ps(_mm256_max_ps(v, acc), v, _mm256_cmp_ps(v, v, _CMP_UNORD_Q))
#elif defined(__AVX__) && CCONV_VBYTES == 32 && CCONV_DTYPE == 1
#include <immintrin.h>
#define CCONV_MAX(acc, v) _mm256_blendv_pd(_mm256_max_pd(v, acc), v, _mm256_cmp_pd(v, v, _CMP_UNORD_Q))
#endif
/* The later operand wins if it is larger or NaN: NaN stays, of equals the earlier is kept. */
CCONV_INLINE vec max_nan(vec acc, vec v) {
#ifdef CCONV_MAX
    return (vec)CCONV_MAX(acc, v);
#elif CCONV_IS_FLOAT
    return select_((ivec)(v > acc) | (ivec)(v != v), v, acc);
#else
    return select_((ivec)(v > acc), v, acc);
#endif
}
#define CCONV_PREFETCH(p) __builtin_prefetch(p)
/* One step of an indexed maximum: v is taken where it is larger or NaN, and then its tap with it. */
CCONV_INLINE void max_tap(vec *best, vec *at, vec v, ireal tap) {
#if CCONV_IS_FLOAT
    ivec m = (ivec)(v > *best) | (ivec)(v != v);
#else
    ivec m = (ivec)(v > *best);
#endif
    *best = select_(m, v, *best);
    *at = (vec)((m & (tap - (ivec){0})) | ((ivec)*at & ~m));
}
CCONV_INLINE vec set_tap(ireal tap) { return (vec)(tap - (ivec){0}); }
/* The same step for another's maximum v with its tap number t, which counts from `tap`. */
CCONV_INLINE void max_pair(vec *best, vec *at, vec v, vec t, ireal tap) {
#if CCONV_IS_FLOAT
    ivec m = (ivec)(v > *best) | (ivec)(v != v);
#else
    ivec m = (ivec)(v > *best);
#endif
    *best = select_(m, v, *best);
    *at = select_(m, (vec)((ivec)t + tap), *at);
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
/* low, high: a[0] b[0] a[1] b[1] ... */
CCONV_INLINE void zip2(vec a, vec b, vec *low, vec *high) {
#if CCONV_LANES == 2
    *low = CCONV_SHUFFLE(a, b, 0, 2);
    *high = CCONV_SHUFFLE(a, b, 1, 3);
#elif CCONV_LANES == 4
    *low = CCONV_SHUFFLE(a, b, 0, 4, 1, 5);
    *high = CCONV_SHUFFLE(a, b, 2, 6, 3, 7);
#elif CCONV_LANES == 8
    *low = CCONV_SHUFFLE(a, b, 0, 8, 1, 9, 2, 10, 3, 11);
    *high = CCONV_SHUFFLE(a, b, 4, 12, 5, 13, 6, 14, 7, 15);
#else
    *low = CCONV_SHUFFLE(a, b, 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23);
    *high = CCONV_SHUFFLE(a, b, 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31);
#endif
}
CCONV_INLINE vec even_of(vec a, vec b) {
#if CCONV_LANES == 2
    return CCONV_SHUFFLE(a, b, 0, 2);
#elif CCONV_LANES == 4
    return CCONV_SHUFFLE(a, b, 0, 2, 4, 6);
#elif CCONV_LANES == 8
    return CCONV_SHUFFLE(a, b, 0, 2, 4, 6, 8, 10, 12, 14);
#else
    return CCONV_SHUFFLE(a, b, 0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30);
#endif
}
CCONV_INLINE vec odd_of(vec a, vec b) {
#if CCONV_LANES == 2
    return CCONV_SHUFFLE(a, b, 1, 3);
#elif CCONV_LANES == 4
    return CCONV_SHUFFLE(a, b, 1, 3, 5, 7);
#elif CCONV_LANES == 8
    return CCONV_SHUFFLE(a, b, 1, 3, 5, 7, 9, 11, 13, 15);
#else
    return CCONV_SHUFFLE(a, b, 1, 3, 5, 7, 9, 11, 13, 15, 17, 19, 21, 23, 25, 27, 29, 31);
#endif
}
/* a[i] = p[4i], b[i] = p[4i + 1], c[i] = p[4i + 2], d[i] = p[4i + 3] */
CCONV_INLINE void load4(const real *p, vec *a, vec *b, vec *c, vec *d) {
    vec e0, e1, o0, o1;
    load2(p, &e0, &o0);
    load2(p + 2 * VL, &e1, &o1);
    *a = even_of(e0, e1);
    *c = odd_of(e0, e1);
    *b = even_of(o0, o1);
    *d = odd_of(o0, o1);
}
/* p[2i] = a[i], p[2i + 1] = b[i] */
CCONV_INLINE void store2(real *p, vec a, vec b) {
    vec low, high;
    zip2(a, b, &low, &high);
    store(p, low);
    store(p + VL, high);
}
/* p[4i] = a[i], p[4i + 1] = b[i], p[4i + 2] = c[i], p[4i + 3] = d[i] */
CCONV_INLINE void store4(real *p, vec a, vec b, vec c, vec d) {
    vec ac0, ac1, bd0, bd1, r0, r1;
    zip2(a, c, &ac0, &ac1);
    zip2(b, d, &bd0, &bd1);
    zip2(ac0, bd0, &r0, &r1);
    store(p, r0);
    store(p + VL, r1);
    zip2(ac1, bd1, &r0, &r1);
    store(p + 2 * VL, r0);
    store(p + 3 * VL, r1);
}
#else
CCONV_INLINE void load4(const real *p, vec *a, vec *b, vec *c, vec *d) {
    real t[4][VL];
    for (int i = 0; i < VL; i++)
        for (int j = 0; j < 4; j++) t[j][i] = p[4 * i + j];
    *a = load(t[0]); *b = load(t[1]); *c = load(t[2]); *d = load(t[3]);
}
CCONV_INLINE void store4(real *p, vec a, vec b, vec c, vec d) {
    real t[4][VL];
    store(t[0], a); store(t[1], b); store(t[2], c); store(t[3], d);
    for (int i = 0; i < VL; i++)
        for (int j = 0; j < 4; j++) p[4 * i + j] = t[j][i];
}
CCONV_INLINE void store2(real *p, vec a, vec b) {
    real t[2][VL];
    store(t[0], a); store(t[1], b);
    for (int i = 0; i < VL; i++)
        for (int j = 0; j < 2; j++) p[2 * i + j] = t[j][i];
}
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
#define CCONV_PREFETCH(p) (void)(p)
CCONV_INLINE vec set_tap(ireal tap) { vec v; memcpy(&v, &tap, sizeof v); return v; }
CCONV_INLINE void max_tap(vec *best, vec *at, vec v, ireal tap) {
    if (v > *best || v != v) { *best = v; *at = set_tap(tap); }
}
CCONV_INLINE void max_pair(vec *best, vec *at, vec v, vec t, ireal tap) {
    ireal n;
    memcpy(&n, &t, sizeof n);
    if (v > *best || v != v) { *best = v; *at = set_tap(n + tap); }
}
CCONV_INLINE void load2(const real *p, vec *even, vec *odd) { *even = p[0]; *odd = p[1]; }
CCONV_INLINE void load4(const real *p, vec *a, vec *b, vec *c, vec *d) { *a = p[0]; *b = p[1]; *c = p[2]; *d = p[3]; }
CCONV_INLINE void store2(real *p, vec a, vec b) { p[0] = a; p[1] = b; }
CCONV_INLINE void store4(real *p, vec a, vec b, vec c, vec d) { p[0] = a; p[1] = b; p[2] = c; p[3] = d; }
#endif

/* q[j][i] = p[i][j] for i < rows, 0 for the rest of VL; only the first `columns` rows of q are written. log2(VL)
 * perfect shuffles of the rows turn the bits of (row, column) once round. */
CCONV_INLINE void transpose(const real *p, ptrdiff_t ld, int rows, real *q, ptrdiff_t ldq, int columns) {
#if !defined(CCONV_SCALAR) && defined(CCONV_SHUFFLE)
    vec v[VL], w[VL];
#pragma GCC unroll 16
    for (int i = 0; i < VL; i++) v[i] = i < rows ? load(p + i * ld) : set1(0);
#pragma GCC unroll 4
    for (int s = 1; s < VL; s *= 2) {
#pragma GCC unroll 8
        for (int i = 0; i < VL / 2; i++) zip2(v[i], v[i + VL / 2], &w[2 * i], &w[2 * i + 1]);
#pragma GCC unroll 16
        for (int i = 0; i < VL; i++) v[i] = w[i];
    }
#pragma GCC unroll 16
    for (int i = 0; i < VL; i++)
        if (i < columns) store(q + i * ldq, v[i]);
#else
    for (int j = 0; j < columns; j++)
        for (int i = 0; i < VL; i++) q[j * ldq + i] = i < rows ? p[i * ld + j] : 0;
#endif
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

#if CCONV_IS_FLOAT
#define CCONV_ISNAN(x) ((x) != (x))
#else
#define CCONV_ISNAN(x) 0
#endif
#endif

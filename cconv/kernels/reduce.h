/* What reductions need of vectors beyond simd.h: parts of vectors, lanes folded in order, sums of floats in doubles. */
#ifndef CCONV_REDUCE_H
#define CCONV_REDUCE_H
#include "extrema.h"
#include "shuffle.h"

#ifdef CCONV_VECTORS
#if defined(__AVX__)
#include <immintrin.h>
#endif

enum { PART = 16 }; /* compilers look at what copy_line would do with more */

/* The first n elements (0 < n < VL) at p, `fill` behind them; none beyond is touched. */
CCONV_INLINE vec load_part(const real *p, ptrdiff_t n, vec fill) {
#if defined(__AVX512F__) && CCONV_VBYTES == 64
#if CCONV_DTYPE == 0
    return (vec)_mm512_mask_loadu_ps((__m512)fill, (__mmask16)((1u << n) - 1), p);
#elif CCONV_DTYPE == 1
    return (vec)_mm512_mask_loadu_pd((__m512d)fill, (__mmask8)((1u << n) - 1), p);
#elif CCONV_DTYPE == 2
    return (vec)_mm512_mask_loadu_epi32((__m512i)fill, (__mmask16)((1u << n) - 1), p);
#else
    return (vec)_mm512_mask_loadu_epi64((__m512i)fill, (__mmask8)((1u << n) - 1), p);
#endif
#elif defined(__AVX2__) && CCONV_VBYTES == 32
#if CCONV_DTYPE % 2 == 0
    ivec m = (ivec)_mm256_cmpgt_epi32(_mm256_set1_epi32((int)n), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
    ivec v = (ivec)_mm256_maskload_epi32((const int *)p, (__m256i)m);
#else
    ivec m = (ivec)_mm256_cmpgt_epi64(_mm256_set1_epi64x(n), _mm256_setr_epi64x(0, 1, 2, 3));
    ivec v = (ivec)_mm256_maskload_epi64((const long long *)p, (__m256i)m);
#endif
    return select_(m, (vec)v, fill);
#else
    real t[PART];
    store(t, fill);
    copy_line(t, p, n);
    return load(t);
#endif
}
/* p[i] = v[i] for i < n, 0 < n <= VL */
CCONV_INLINE void store_part(real *p, vec v, ptrdiff_t n) {
#if defined(__AVX512F__) && CCONV_VBYTES == 64
#if CCONV_DTYPE == 0
    _mm512_mask_storeu_ps(p, (__mmask16)((1u << n) - 1), (__m512)v);
#elif CCONV_DTYPE == 1
    _mm512_mask_storeu_pd(p, (__mmask8)((1u << n) - 1), (__m512d)v);
#elif CCONV_DTYPE == 2
    _mm512_mask_storeu_epi32(p, (__mmask16)((1u << n) - 1), (__m512i)v);
#else
    _mm512_mask_storeu_epi64(p, (__mmask8)((1u << n) - 1), (__m512i)v);
#endif
#else
    real t[PART];
    if (n == VL) {
        store(p, v);
        return;
    }
    store(t, v);
    copy_line(p, t, n);
#endif
}
/* Lane i of the result is the fold of w[i]'s lanes, neighbours first: of equals the earlier stays. */
CCONV_INLINE vec fold_lanes(vec *w, int maximum) {
#ifdef CCONV_SHUFFLE
#pragma GCC unroll 4
    for (int n = VL / 2; n > 0; n /= 2)
#pragma GCC unroll 8
        for (int i = 0; i < n; i++) {
            vec a = even_of(w[2 * i], w[2 * i + 1]), b = odd_of(w[2 * i], w[2 * i + 1]);
            w[i] = maximum ? max_nan(a, b) : a + b;
        }
    return w[0];
#else
    real t[VL], r[VL];
    for (int i = 0; i < VL; i++) {
        store(t, w[i]);
        for (int n = VL / 2; n > 0; n /= 2)
            for (int j = 0; j < n; j++) {
                real a = t[2 * j], b = t[2 * j + 1];
                t[j] = maximum ? (b > a || CCONV_ISNAN(b) ? b : a) : a + b;
            }
        r[i] = t[0];
    }
    return load(r);
#endif
}
#else
CCONV_INLINE vec load_part(const real *p, ptrdiff_t n, vec fill) { return n > 0 ? *p : fill; }
CCONV_INLINE void store_part(real *p, vec v, ptrdiff_t n) { if (n > 0) *p = v; }
CCONV_INLINE vec fold_lanes(vec *w, int maximum) { (void)maximum; return w[0]; }
#endif

/* Four vectors of partial sums of real numbers in float64. */
#if CCONV_DTYPE == 0 && defined(CCONV_SHUFFLE) && defined(__has_builtin)
#if __has_builtin(__builtin_convertvector)
#define CCONV_WIDENS 1
#endif
#endif
#ifdef CCONV_WIDENS
typedef double dvec __attribute__((vector_size(CCONV_VBYTES)));
typedef float hvec __attribute__((vector_size(CCONV_VBYTES / 2), aligned(4), may_alias));
typedef struct { dvec v[4]; } wide_sums;
CCONV_INLINE dvec widened(const real *p) { return __builtin_convertvector(*(const hvec *)p, dvec); }
CCONV_INLINE void wide_clear(wide_sums *s) { s->v[0] = s->v[1] = s->v[2] = s->v[3] = (dvec){0}; }
CCONV_INLINE void wide_add(wide_sums *s, const real *p, ptrdiff_t n) {
    dvec a = s->v[0], b = s->v[1], c = s->v[2], d = s->v[3];
    real t[VL];
    ptrdiff_t i = 0;
    for (; i + 2 * VL <= n; i += 2 * VL) {
        a += widened(p + i);
        b += widened(p + i + VL / 2);
        c += widened(p + i + VL);
        d += widened(p + i + VL + VL / 2);
    }
    for (; i + VL / 2 <= n; i += VL / 2) a += widened(p + i);
    if (i < n) {
        store(t, load_part(p + i, n - i, set1(0)));
        b += widened(t);
    }
    s->v[0] = a; s->v[1] = b; s->v[2] = c; s->v[3] = d;
}
CCONV_INLINE double wide_total(const wide_sums *s) {
    dvec v = (s->v[0] + s->v[1]) + (s->v[2] + s->v[3]);
    double total = 0;
    for (int i = 0; i < VL / 2; i++) total += v[i];
    return total;
}
#else
typedef struct { double v[4]; } wide_sums;
CCONV_INLINE void wide_clear(wide_sums *s) { s->v[0] = s->v[1] = s->v[2] = s->v[3] = 0; }
CCONV_INLINE void wide_add(wide_sums *s, const real *p, ptrdiff_t n) {
    ptrdiff_t i = 0;
    for (; i + 4 <= n; i += 4)
        for (int j = 0; j < 4; j++) s->v[j] += (double)p[i + j];
    for (; i < n; i++) s->v[0] += (double)p[i];
}
CCONV_INLINE double wide_total(const wide_sums *s) { return (s->v[0] + s->v[1]) + (s->v[2] + s->v[3]); }
#endif

/* Whether VL arrays of n elements lie one behind the other, and there are 1, 2 or 4: few enough to interleave. */
CCONV_INLINE int interleave(const real *const *p, ptrdiff_t n) {
    if (n > 4 || n == 3) return 0;
    for (int i = 1; i < VL; i++)
        if (p[i] != p[0] + i * n) return 0;
    return 1;
}
/* q[j * VL + i] = p[i][j] for j < n: the elements of VL arrays side by side. No element beyond the n is touched; the
 * last vectors may be read twice. */
CCONV_INLINE void gather_lanes(real *q, const real *const *p, ptrdiff_t at, ptrdiff_t n) {
#if defined(CCONV_SHUFFLE)
    if (interleave(p, n)) {
        vec a, b, c, d;
        if (n == 1) {
            store(q, load(p[0] + at));
        } else if (n == 2) {
            load2(p[0] + at, &a, &b);
            store(q, a);
            store(q + VL, b);
        } else {
            load4(p[0] + at, &a, &b, &c, &d);
            store(q, a);
            store(q + VL, b);
            store(q + 2 * VL, c);
            store(q + 3 * VL, d);
        }
        return;
    }
    for (ptrdiff_t j = 0; j < n; j += VL) {
        vec v[VL], w[VL];
        ptrdiff_t part = VL;
        if (j + VL > n) {
            if (n >= VL) j = n - VL;
            else part = n;
        }
        if (part == VL)
#pragma GCC unroll 16
            for (int i = 0; i < VL; i++) v[i] = load(p[i] + at + j);
        else
            for (int i = 0; i < VL; i++) v[i] = load_part(p[i] + at + j, part, set1(0));
#pragma GCC unroll 4
        for (int s = 1; s < VL; s *= 2) {
#pragma GCC unroll 8
            for (int i = 0; i < VL / 2; i++) zip2(v[i], v[i + VL / 2], &w[2 * i], &w[2 * i + 1]);
#pragma GCC unroll 16
            for (int i = 0; i < VL; i++) v[i] = w[i];
        }
        /* what lies behind n is slack */
#pragma GCC unroll 16
        for (int i = 0; i < VL; i++) store(q + (j + i) * VL, v[i]);
    }
#else
    for (ptrdiff_t j = 0; j < n; j++)
        for (int i = 0; i < VL; i++) q[j * VL + i] = p[i][at + j];
#endif
}
/* The way back, of `lanes` arrays: p[i][at + j] = q[j * VL + i] for j < n. */
CCONV_INLINE void scatter_lanes(real *const *p, ptrdiff_t at, const real *q, ptrdiff_t n, int lanes) {
#if defined(CCONV_SHUFFLE)
    if (lanes == VL && interleave((const real *const *)p, n)) {
        if (n == 1) store(p[0] + at, load(q));
        else if (n == 2) store2(p[0] + at, load(q), load(q + VL));
        else store4(p[0] + at, load(q), load(q + VL), load(q + 2 * VL), load(q + 3 * VL));
        return;
    }
    for (ptrdiff_t j = 0; j < n; j += VL) {
        vec v[VL], w[VL];
        ptrdiff_t part = n - j < VL ? n - j : VL;
#pragma GCC unroll 16
        for (int i = 0; i < VL; i++) v[i] = load(q + (j + i) * VL);
#pragma GCC unroll 4
        for (int s = 1; s < VL; s *= 2) {
#pragma GCC unroll 8
            for (int i = 0; i < VL / 2; i++) zip2(v[i], v[i + VL / 2], &w[2 * i], &w[2 * i + 1]);
#pragma GCC unroll 16
            for (int i = 0; i < VL; i++) v[i] = w[i];
        }
        for (int i = 0; i < lanes; i++) store_part(p[i] + at + j, v[i], part);
    }
#else
    for (ptrdiff_t j = 0; j < n; j++)
        for (int i = 0; i < lanes; i++) p[i][at + j] = q[j * VL + i];
#endif
}
#endif

/* Rearrangements of vectors: shuffles where the compiler has them, else through memory. */
#ifndef CCONV_SHUFFLE_H
#define CCONV_SHUFFLE_H
#include "simd.h"

#ifdef CCONV_VECTORS
/* even[i] = p[2i], odd[i] = p[2i + 1] */
#if defined(__has_builtin)
#if __has_builtin(__builtin_shufflevector)
#define CCONV_SHUFFLE(a, b, ...) __builtin_shufflevector(a, b, __VA_ARGS__)
#endif
#endif
#ifdef CCONV_SHUFFLE
CCONV_INLINE void load2(const real *p, vec *even, vec *odd) {
    vec a = load(p), b = load(p + VL);
#define CCONV_LANES (CCONV_VBYTES / (CCONV_DTYPE == 1 || CCONV_DTYPE == 3 ? 8 : 4))
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
/* a[i] = p[3i], b[i] = p[3i + 1], c[i] = p[3i + 2] */
CCONV_INLINE void load3(const real *p, vec *a, vec *b, vec *c) {
    vec u = load(p), v = load(p + VL), w = load(p + 2 * VL);
#if CCONV_LANES == 2
    *a = CCONV_SHUFFLE(CCONV_SHUFFLE(u, v, 0, 3), w,
                       0, 1);
    *b = CCONV_SHUFFLE(CCONV_SHUFFLE(u, v, 1, 0), w,
                       0, 2);
    *c = CCONV_SHUFFLE(CCONV_SHUFFLE(u, v, 2, 0), w,
                       0, 3);
#elif CCONV_LANES == 4
    *a = CCONV_SHUFFLE(CCONV_SHUFFLE(u, v, 0, 3, 6, 0), w,
                       0, 1, 2, 5);
    *b = CCONV_SHUFFLE(CCONV_SHUFFLE(u, v, 1, 4, 7, 0), w,
                       0, 1, 2, 6);
    *c = CCONV_SHUFFLE(CCONV_SHUFFLE(u, v, 2, 5, 0, 0), w,
                       0, 1, 4, 7);
#elif CCONV_LANES == 8
    *a = CCONV_SHUFFLE(CCONV_SHUFFLE(u, v, 0, 3, 6, 9, 12, 15, 0, 0), w,
                       0, 1, 2, 3, 4, 5, 10, 13);
    *b = CCONV_SHUFFLE(CCONV_SHUFFLE(u, v, 1, 4, 7, 10, 13, 0, 0, 0), w,
                       0, 1, 2, 3, 4, 8, 11, 14);
    *c = CCONV_SHUFFLE(CCONV_SHUFFLE(u, v, 2, 5, 8, 11, 14, 0, 0, 0), w,
                       0, 1, 2, 3, 4, 9, 12, 15);
#else
    *a = CCONV_SHUFFLE(CCONV_SHUFFLE(u, v, 0, 3, 6, 9, 12, 15, 18, 21, 24, 27, 30, 0, 0, 0, 0, 0), w,
                       0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 17, 20, 23, 26, 29);
    *b = CCONV_SHUFFLE(CCONV_SHUFFLE(u, v, 1, 4, 7, 10, 13, 16, 19, 22, 25, 28, 31, 0, 0, 0, 0, 0), w,
                       0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 18, 21, 24, 27, 30);
    *c = CCONV_SHUFFLE(CCONV_SHUFFLE(u, v, 2, 5, 8, 11, 14, 17, 20, 23, 26, 29, 0, 0, 0, 0, 0, 0), w,
                       0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 16, 19, 22, 25, 28, 31);
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
/* p[3i] = a[i], p[3i + 1] = b[i], p[3i + 2] = c[i] */
CCONV_INLINE void store3(real *p, vec a, vec b, vec c) {
#if CCONV_LANES == 2
    store(p, CCONV_SHUFFLE(CCONV_SHUFFLE(a, b, 0, 2), c,
        0, 1));
    store(p + VL, CCONV_SHUFFLE(CCONV_SHUFFLE(a, b, 0, 1), c,
        2, 1));
    store(p + 2 * VL, CCONV_SHUFFLE(CCONV_SHUFFLE(a, b, 3, 0), c,
        0, 3));
#elif CCONV_LANES == 4
    store(p, CCONV_SHUFFLE(CCONV_SHUFFLE(a, b, 0, 4, 0, 1), c,
        0, 1, 4, 3));
    store(p + VL, CCONV_SHUFFLE(CCONV_SHUFFLE(a, b, 5, 0, 2, 6), c,
        0, 5, 2, 3));
    store(p + 2 * VL, CCONV_SHUFFLE(CCONV_SHUFFLE(a, b, 0, 3, 7, 0), c,
        6, 1, 2, 7));
#elif CCONV_LANES == 8
    store(p, CCONV_SHUFFLE(CCONV_SHUFFLE(a, b, 0, 8, 0, 1, 9, 0, 2, 10), c,
        0, 1, 8, 3, 4, 9, 6, 7));
    store(p + VL, CCONV_SHUFFLE(CCONV_SHUFFLE(a, b, 0, 3, 11, 0, 4, 12, 0, 5), c,
        10, 1, 2, 11, 4, 5, 12, 7));
    store(p + 2 * VL, CCONV_SHUFFLE(CCONV_SHUFFLE(a, b, 13, 0, 6, 14, 0, 7, 15, 0), c,
        0, 13, 2, 3, 14, 5, 6, 15));
#else
    store(p, CCONV_SHUFFLE(CCONV_SHUFFLE(a, b, 0, 16, 0, 1, 17, 0, 2, 18, 0, 3, 19, 0, 4, 20, 0, 5), c,
        0, 1, 16, 3, 4, 17, 6, 7, 18, 9, 10, 19, 12, 13, 20, 15));
    store(p + VL, CCONV_SHUFFLE(CCONV_SHUFFLE(a, b, 21, 0, 6, 22, 0, 7, 23, 0, 8, 24, 0, 9, 25, 0, 10, 26), c,
        0, 21, 2, 3, 22, 5, 6, 23, 8, 9, 24, 11, 12, 25, 14, 15));
    store(p + 2 * VL, CCONV_SHUFFLE(CCONV_SHUFFLE(a, b, 0, 11, 27, 0, 12, 28, 0, 13, 29, 0, 14, 30, 0, 15, 31, 0), c,
        26, 1, 2, 27, 4, 5, 28, 7, 8, 29, 10, 11, 30, 13, 14, 31));
#endif
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
CCONV_INLINE void store3(real *p, vec a, vec b, vec c) {
    real t[3][VL];
    store(t[0], a); store(t[1], b); store(t[2], c);
    for (int i = 0; i < VL; i++)
        for (int j = 0; j < 3; j++) p[3 * i + j] = t[j][i];
}
CCONV_INLINE void load3(const real *p, vec *a, vec *b, vec *c) {
    real t[3][VL];
    for (int i = 0; i < VL; i++)
        for (int j = 0; j < 3; j++) t[j][i] = p[3 * i + j];
    *a = load(t[0]); *b = load(t[1]); *c = load(t[2]);
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
CCONV_INLINE void load2(const real *p, vec *even, vec *odd) { *even = p[0]; *odd = p[1]; }
CCONV_INLINE void load3(const real *p, vec *a, vec *b, vec *c) { *a = p[0]; *b = p[1]; *c = p[2]; }
CCONV_INLINE void load4(const real *p, vec *a, vec *b, vec *c, vec *d) { *a = p[0]; *b = p[1]; *c = p[2]; *d = p[3]; }
CCONV_INLINE void store2(real *p, vec a, vec b) { p[0] = a; p[1] = b; }
CCONV_INLINE void store3(real *p, vec a, vec b, vec c) { p[0] = a; p[1] = b; p[2] = c; }
CCONV_INLINE void store4(real *p, vec a, vec b, vec c, vec d) { p[0] = a; p[1] = b; p[2] = c; p[3] = d; }
#endif

#ifdef CCONV_SHUFFLE
#if CCONV_VBYTES == 64 && defined(__AVX512F__)
#include <immintrin.h>
#endif
/* Quarters of 16 bytes, of QL lanes each: a row of a matrix by rows that are QL apart, and what follows within it. */
enum { QL = 16 / sizeof(real) };
typedef real quarter __attribute__((vector_size(16)));
typedef real quarteru __attribute__((vector_size(16), aligned(sizeof(real)), may_alias));
CCONV_INLINE quarter quarter_at(const real *p, ptrdiff_t ld, int i, int rows) {
    return i < rows ? (quarter)*(const quarteru *)(p + i * ld) : (quarter){0};
}
#if CCONV_LANES == 16
#define CCONV_JOIN(a, b) CCONV_SHUFFLE(a, b, 0, 1, 2, 3, 4, 5, 6, 7)
#define CCONV_JOIN2(a, b) CCONV_SHUFFLE(a, b, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15)
#define CCONV_LOW(a, b) CCONV_SHUFFLE(a, b, 0, 16, 1, 17, 4, 20, 5, 21, 8, 24, 9, 25, 12, 28, 13, 29)
#define CCONV_HIGH(a, b) CCONV_SHUFFLE(a, b, 2, 18, 3, 19, 6, 22, 7, 23, 10, 26, 11, 27, 14, 30, 15, 31)
#define CCONV_LOW2(a, b) CCONV_SHUFFLE(a, b, 0, 1, 16, 17, 4, 5, 20, 21, 8, 9, 24, 25, 12, 13, 28, 29)
#define CCONV_HIGH2(a, b) CCONV_SHUFFLE(a, b, 2, 3, 18, 19, 6, 7, 22, 23, 10, 11, 26, 27, 14, 15, 30, 31)
#elif CCONV_LANES == 8 && CCONV_VBYTES == 64
#define CCONV_JOIN(a, b) CCONV_SHUFFLE(a, b, 0, 1, 2, 3)
#define CCONV_JOIN2(a, b) CCONV_SHUFFLE(a, b, 0, 1, 2, 3, 4, 5, 6, 7)
#define CCONV_LOW(a, b) CCONV_SHUFFLE(a, b, 0, 8, 2, 10, 4, 12, 6, 14)
#define CCONV_HIGH(a, b) CCONV_SHUFFLE(a, b, 1, 9, 3, 11, 5, 13, 7, 15)
#elif CCONV_LANES == 8
#define CCONV_JOIN(a, b) CCONV_SHUFFLE(a, b, 0, 1, 2, 3, 4, 5, 6, 7)
#define CCONV_LOW(a, b) CCONV_SHUFFLE(a, b, 0, 8, 1, 9, 4, 12, 5, 13)
#define CCONV_HIGH(a, b) CCONV_SHUFFLE(a, b, 2, 10, 3, 11, 6, 14, 7, 15)
#define CCONV_LOW2(a, b) CCONV_SHUFFLE(a, b, 0, 1, 8, 9, 4, 5, 12, 13)
#define CCONV_HIGH2(a, b) CCONV_SHUFFLE(a, b, 2, 3, 10, 11, 6, 7, 14, 15)
#elif CCONV_LANES == 4 && CCONV_VBYTES == 32
#define CCONV_JOIN(a, b) CCONV_SHUFFLE(a, b, 0, 1, 2, 3)
#define CCONV_LOW(a, b) CCONV_SHUFFLE(a, b, 0, 4, 2, 6)
#define CCONV_HIGH(a, b) CCONV_SHUFFLE(a, b, 1, 5, 3, 7)
#elif CCONV_LANES == 4
#define CCONV_LOW(a, b) CCONV_SHUFFLE(a, b, 0, 4, 1, 5)
#define CCONV_HIGH(a, b) CCONV_SHUFFLE(a, b, 2, 6, 3, 7)
#define CCONV_LOW2(a, b) CCONV_SHUFFLE(a, b, 0, 1, 4, 5)
#define CCONV_HIGH2(a, b) CCONV_SHUFFLE(a, b, 2, 3, 6, 7)
#else
#define CCONV_LOW(a, b) CCONV_SHUFFLE(a, b, 0, 2)
#define CCONV_HIGH(a, b) CCONV_SHUFFLE(a, b, 1, 3)
#endif
CCONV_INLINE vec quarters_at(const real *p, ptrdiff_t ld, int i, int rows) {
    quarter a = quarter_at(p, ld, i, rows);
#if CCONV_VBYTES == 16
    return a;
#elif CCONV_VBYTES == 64 && defined(__AVX512F__)
    /* inserted from memory, which the compiler does not see by itself */
    __m512 v = _mm512_castps128_ps512((__m128)a);
    v = _mm512_insertf32x4(v, (__m128)quarter_at(p, ld, i + QL, rows), 1);
    v = _mm512_insertf32x4(v, (__m128)quarter_at(p, ld, i + 2 * QL, rows), 2);
    return (vec)_mm512_insertf32x4(v, (__m128)quarter_at(p, ld, i + 3 * QL, rows), 3);
#else
    quarter b = quarter_at(p, ld, i + QL, rows);
#if CCONV_VBYTES == 32
    return CCONV_JOIN(a, b);
#else
    quarter c = quarter_at(p, ld, i + 2 * QL, rows), d = quarter_at(p, ld, i + 3 * QL, rows);
    return CCONV_JOIN2(CCONV_JOIN(a, b), CCONV_JOIN(c, d));
#endif
#endif
}
#endif
/* q[j][i] = p[i][j] for i < rows, 0 for the rest of VL; only the first `columns` rows of q are written. Quarters are
 * loaded to where they belong, so that every shuffle stays within its quarter. */
CCONV_INLINE void transpose(const real *p, ptrdiff_t ld, int rows, real *q, ptrdiff_t ldq, int columns) {
#if defined(CCONV_SHUFFLE)
#pragma GCC unroll 4
    for (int j = 0; j < VL; j += QL) {
        vec v[QL], w[QL];
#pragma GCC unroll 4
        for (int i = 0; i < QL; i++) v[i] = quarters_at(p + j, ld, i, rows);
#ifdef CCONV_LOW2
        vec low0 = CCONV_LOW(v[0], v[1]), high0 = CCONV_HIGH(v[0], v[1]);
        vec low1 = CCONV_LOW(v[2], v[3]), high1 = CCONV_HIGH(v[2], v[3]);
        w[0] = CCONV_LOW2(low0, low1);
        w[1] = CCONV_HIGH2(low0, low1);
        w[2] = CCONV_LOW2(high0, high1);
        w[3] = CCONV_HIGH2(high0, high1);
#else
        w[0] = CCONV_LOW(v[0], v[1]);
        w[1] = CCONV_HIGH(v[0], v[1]);
#endif
#pragma GCC unroll 4
        for (int i = 0; i < QL; i++)
            if (j + i < columns) store(q + (j + i) * ldq, w[i]);
    }
#else
    for (int j = 0; j < columns; j++)
        for (int i = 0; i < VL; i++) q[j * ldq + i] = i < rows ? p[i * ld + j] : 0;
#endif
}
/* The vector at p: its last n lanes, 0 < n < VL, zeros before them. */
CCONV_INLINE vec load_last(const real *p, ptrdiff_t n) {
#ifdef CCONV_VECTORS
    static const ireal kept[2 * 64 / sizeof(ireal)] = {[VL ... 2 * VL - 1] = -1};
    ivec mask;
    memcpy(&mask, kept + n, sizeof(mask));
    return (vec)((ivec)load(p) & mask);
#else
    return *p;
#endif
}
/* to[i] = the lanes of v[i] added up, i < n, by a tree that is the same for every vector; `to` has room for whole
 * groups of VL sums. */
CCONV_INLINE void sum_vectors(const vec *v, int n, real *to) {
#ifdef CCONV_SHUFFLE
#pragma GCC unroll 24
    for (int g = 0; g < n; g += VL) {
        vec w[VL], low, high;
#pragma GCC unroll 16
        for (int i = 0; i < VL; i++) w[i] = g + i < n ? v[g + i] : set1(0);
#pragma GCC unroll 4
        for (int half = VL / 2; half; half /= 2) {
#pragma GCC unroll 8
            for (int i = 0; i < half; i++) {
                zip2(w[i], w[i + half], &low, &high);
                w[i] = low + high;
            }
        }
        store(to + g, w[0]);
    }
#else
    for (int i = 0; i < n; i++) to[i] = sum_lanes(v[i]);
#endif
}
#endif

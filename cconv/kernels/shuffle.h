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
CCONV_INLINE void store4(real *p, vec a, vec b, vec c, vec d) { p[0] = a; p[1] = b; p[2] = c; p[3] = d; }
#endif

/* q[j][i] = p[i][j] for i < rows, 0 for the rest of VL; only the first `columns` rows of q are written. log2(VL)
 * perfect shuffles of the rows turn the bits of (row, column) once round. */
CCONV_INLINE void transpose(const real *p, ptrdiff_t ld, int rows, real *q, ptrdiff_t ldq, int columns) {
#if defined(CCONV_SHUFFLE)
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
#endif

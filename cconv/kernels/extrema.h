/* Maxima, with the number of the tap that holds them where it is asked for. */
#ifndef CCONV_EXTREMA_H
#define CCONV_EXTREMA_H
#include <math.h>
#include "simd.h"

#if CCONV_DTYPE == 0
#define CCONV_LOWEST (-HUGE_VALF)
#elif CCONV_DTYPE == 1
#define CCONV_LOWEST (-HUGE_VAL)
#elif CCONV_DTYPE == 2
#define CCONV_LOWEST INT32_MIN
#else
#define CCONV_LOWEST INT64_MIN
#endif
#if CCONV_IS_FLOAT
#define CCONV_ISNAN(x) ((x) != (x))
#else
#define CCONV_ISNAN(x) 0
#endif

#ifdef CCONV_VECTORS
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
/* v where the number is `tap`, else 0 */
CCONV_INLINE vec where_tap(vec at, ireal tap, vec v) { return (vec)((ivec)v & (ivec)((ivec)at == (tap - (ivec){0}))); }
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
#else
CCONV_INLINE vec max_nan(vec acc, vec v) { return (v > acc || v != v) ? v : acc; }
CCONV_INLINE vec set_tap(ireal tap) { vec v; memcpy(&v, &tap, sizeof v); return v; }
CCONV_INLINE vec where_tap(vec at, ireal tap, vec v) {
    ireal n;
    memcpy(&n, &at, sizeof n);
    return n == tap ? v : 0;
}
CCONV_INLINE void max_tap(vec *best, vec *at, vec v, ireal tap) {
    if (v > *best || v != v) { *best = v; *at = set_tap(tap); }
}
CCONV_INLINE void max_pair(vec *best, vec *at, vec v, vec t, ireal tap) {
    ireal n;
    memcpy(&n, &t, sizeof n);
    if (v > *best || v != v) { *best = v; *at = set_tap(n + tap); }
}
#endif
#endif

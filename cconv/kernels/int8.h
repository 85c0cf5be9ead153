/* Units: 32 bits that hold TERMS neighbouring terms of a sum of products of bytes. simd.h includes this where `real` is
 * a unit, and a sum.
 *
 * TERMS == 4, where the processor multiplies bytes (VNNI), by vpdpbusd, which does not saturate: unsigned ones of the
 * input times signed ones of the weights, or signed ones times unsigned ones (CCONV_DTYPE 5). Input of the other kind
 * is turned by 128, which int8.pyx takes back.
 * TERMS == 2, everywhere else: halves of 16 bits, in which every byte is exact, by pmaddwd. pmaddubsw, of bytes, adds
 * two products in 16 bits and saturates there. Sums wrap at 32 bits in both. */
#ifndef CCONV_INT8_H
#define CCONV_INT8_H
#if defined(__SSE2__) && defined(CCONV_VECTORS)
#include <immintrin.h>
#endif

#if defined(__AVX512VNNI__) && CCONV_VBYTES == 64 && defined(CCONV_VECTORS)
enum { TERMS = 4 };
CCONV_INLINE vec mul_add(vec c, vec a, vec b) {
#if CCONV_DTYPE == 5
    return (vec)_mm512_dpbusd_epi32((__m512i)c, (__m512i)a, (__m512i)b);
#else
    return (vec)_mm512_dpbusd_epi32((__m512i)c, (__m512i)b, (__m512i)a);
#endif
}
#else
enum { TERMS = 2 };
CCONV_INLINE vec mul_add(vec c, vec a, vec b) {
#if defined(__AVX512BW__) && CCONV_VBYTES == 64 && defined(CCONV_VECTORS)
    return c + (vec)_mm512_madd_epi16((__m512i)a, (__m512i)b);
#elif defined(__AVX2__) && CCONV_VBYTES == 32 && defined(CCONV_VECTORS)
    return c + (vec)_mm256_madd_epi16((__m256i)a, (__m256i)b);
#elif defined(__SSE2__) && CCONV_VBYTES == 16 && defined(CCONV_VECTORS)
    return c + (vec)_mm_madd_epi16((__m128i)a, (__m128i)b);
#else
    /* sign-extended by shifts, to the left as unsigned numbers would be (-fwrapv) */
    return c + ((a << 16) >> 16) * ((b << 16) >> 16) + (a >> 16) * (b >> 16);
#endif
}
#endif

/* What is added to sums of turned input, a weight; 0: input of this sign is not turned. */
CCONV_INLINE int turn_of(int is_signed) {
    if (TERMS == 2 || (CCONV_DTYPE == 5) == is_signed) return 0;
    return is_signed ? -128 : 128;
}
/* The unit of `some` bytes of weights, `step` apart; the other terms are 0. */
CCONV_INLINE real weight_unit(const unsigned char *x, ptrdiff_t step, int some, int is_signed) {
    uint32_t u = 0;
    for (int q = 0; q < some; q++, x += step) {
        uint32_t v = TERMS == 2 && is_signed ? (uint32_t)(signed char)*x & 0xffff : *x;
        u |= v << (32 / TERMS * q);
    }
    return (real)u;
}
CCONV_INLINE int sum_bytes(const unsigned char *x, ptrdiff_t n, int is_signed) {
    int sum = 0;
    for (ptrdiff_t i = 0; i < n; i++) sum += x[i];
    for (ptrdiff_t i = 0; i < n && is_signed; i++) sum -= x[i] & 128 ? 256 : 0;
    return sum;
}

enum { JOINED = 16 }; /* units that join_bytes writes at once */

/* to[j] = the unit of rows[0][j], rows[1][j], ... Whole blocks of JOINED are read and written. */
CCONV_INLINE void join_bytes(real *to, const unsigned char *const *rows, ptrdiff_t n, int is_signed) {
    for (ptrdiff_t j = 0; j < n; j += JOINED, to += JOINED) {
#if defined(__SSE2__) && defined(CCONV_VECTORS)
        __m128i a = _mm_loadu_si128((const __m128i *)(rows[0] + j)), c, d;
        __m128i b = _mm_loadu_si128((const __m128i *)(rows[1] + j));
        __m128i low, high, low2, high2, *p = (__m128i *)to;
        if (TERMS == 4) {
            __m128i turn = _mm_set1_epi8(turn_of(is_signed) ? -128 : 0);
            c = _mm_loadu_si128((const __m128i *)(rows[TERMS - 2] + j));
            d = _mm_loadu_si128((const __m128i *)(rows[TERMS - 1] + j));
            low = _mm_xor_si128(_mm_unpacklo_epi8(a, b), turn), high = _mm_xor_si128(_mm_unpackhi_epi8(a, b), turn);
            low2 = _mm_xor_si128(_mm_unpacklo_epi8(c, d), turn), high2 = _mm_xor_si128(_mm_unpackhi_epi8(c, d), turn);
        } else {
            /* the upper byte of a half is the sign's */
            __m128i zero = _mm_setzero_si128(), mask = _mm_set1_epi8(is_signed ? -1 : 0);
            c = _mm_and_si128(_mm_cmpgt_epi8(zero, a), mask);
            d = _mm_and_si128(_mm_cmpgt_epi8(zero, b), mask);
            low = _mm_unpacklo_epi8(a, c), high = _mm_unpackhi_epi8(a, c);
            low2 = _mm_unpacklo_epi8(b, d), high2 = _mm_unpackhi_epi8(b, d);
        }
        _mm_storeu_si128(p, _mm_unpacklo_epi16(low, low2));
        _mm_storeu_si128(p + 1, _mm_unpackhi_epi16(low, low2));
        _mm_storeu_si128(p + 2, _mm_unpacklo_epi16(high, high2));
        _mm_storeu_si128(p + 3, _mm_unpackhi_epi16(high, high2));
#else
        for (int i = 0; i < JOINED; i++) {
            uint32_t u = 0;
            for (int q = 0; q < TERMS; q++) {
                uint32_t v = rows[q][j + i];
                if (TERMS == 4 && turn_of(is_signed)) v ^= 128;
                if (TERMS == 2 && is_signed) v = (uint32_t)(signed char)v & 0xffff;
                u |= v << (32 / TERMS * q);
            }
            to[i] = (real)u;
        }
#endif
    }
}

/* to[j] = 0 for j < n, in whole blocks, which run past it */
CCONV_INLINE void zero_bytes(unsigned char *to, ptrdiff_t n) {
    for (ptrdiff_t j = 0; j < n; j += JOINED) memset(to + j, 0, JOINED);
}
#if defined(__SSE2__) && defined(CCONV_VECTORS)
/* The first bytes of 8 pairs, or the second ones. */
CCONV_INLINE __m128i first_bytes(const unsigned char *x) {
    return _mm_and_si128(_mm_loadu_si128((const __m128i *)x), _mm_set1_epi16(255));
}
CCONV_INLINE __m128i second_bytes(const unsigned char *x) {
    return _mm_srli_epi16(_mm_loadu_si128((const __m128i *)x), 8);
}
/* to[j] = x[2j]; the last block ends with the last byte, and may overlap the one before */
CCONV_INLINE void copy_pairs(unsigned char *to, const unsigned char *x, ptrdiff_t n) {
    ptrdiff_t j = 0;
    if (n > 16) {
        for (; j + 16 < n; j += 16)
            _mm_storeu_si128((__m128i *)(to + j), _mm_packus_epi16(first_bytes(x + 2 * j), first_bytes(x + 2 * j + 16)));
        x += 2 * (n - 16) - 1;
        _mm_storeu_si128((__m128i *)(to + n - 16), _mm_packus_epi16(second_bytes(x), second_bytes(x + 16)));
    } else if (n > 8) {
        _mm_storel_epi64((__m128i *)to, _mm_packus_epi16(first_bytes(x), _mm_setzero_si128()));
        x += 2 * (n - 8) - 1;
        _mm_storel_epi64((__m128i *)(to + n - 8), _mm_packus_epi16(second_bytes(x), _mm_setzero_si128()));
    } else
        for (; j < n; j++) to[j] = x[2 * j];
}
#else
CCONV_INLINE void copy_pairs(unsigned char *to, const unsigned char *x, ptrdiff_t n) {
    for (ptrdiff_t j = 0; j < n; j++) to[j] = x[2 * j];
}
#endif
/* to[j] = x[j * step], nothing beyond the last is touched */
CCONV_INLINE void copy_bytes(unsigned char *to, const unsigned char *x, ptrdiff_t step, ptrdiff_t n) {
    ptrdiff_t j = 0;
    if (step == 2) {
        copy_pairs(to, x, n);
    } else if (step != 1) {
        for (; j < n; j++) to[j] = x[j * step];
    } else if (n >= 16) {
        for (; j + 16 < n; j += 16) memcpy(to + j, x + j, 16);
        memcpy(to + n - 16, x + n - 16, 16);
    } else if (n >= 8) {
        memcpy(to, x, 8);
        memcpy(to + n - 8, x + n - 8, 8);
    } else if (n >= 4) {
        memcpy(to, x, 4);
        memcpy(to + n - 4, x + n - 4, 4);
    } else
        for (; j < n; j++) to[j] = x[j];
}
#endif

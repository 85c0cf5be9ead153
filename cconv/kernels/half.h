/* Sixteen-bit floats <-> float32. */
#ifndef CCONV_HALF_H
#define CCONV_HALF_H
#include <stddef.h>
#include <stdint.h>
#include <string.h>

/* float16: eight at a time where the instruction set has it; elsewhere NumPy converts. */
#if defined(__F16C__)
#include <immintrin.h>
enum { HAS_HALF = 1 };
static void load_halves(const uint16_t *h, float *x, ptrdiff_t n) {
    ptrdiff_t i = 0;
    for (; i + 8 <= n; i += 8) _mm256_storeu_ps(x + i, _mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)(h + i))));
    for (; i < n; i++) x[i] = _cvtsh_ss(h[i]);
}
static void store_halves(const float *x, uint16_t *h, ptrdiff_t n) {
    ptrdiff_t i = 0;
    for (; i + 8 <= n; i += 8) _mm_storeu_si128((__m128i *)(h + i), _mm256_cvtps_ph(_mm256_loadu_ps(x + i), 0));
    for (; i < n; i++) h[i] = _cvtss_sh(x[i], 0);
}
#else
enum { HAS_HALF = 0 };
static void load_halves(const uint16_t *h, float *x, ptrdiff_t n) { (void)h; (void)x; (void)n; }
static void store_halves(const float *x, uint16_t *h, ptrdiff_t n) { (void)h; (void)x; (void)n; }
#endif

/* bfloat16: the upper half of a float32. Loops without branches, which compilers make vectors of. */
static void load_bfloats(const uint16_t *h, float *x, ptrdiff_t n) {
    for (ptrdiff_t i = 0; i < n; i++) {
        uint32_t bits = (uint32_t)h[i] << 16;
        memcpy(x + i, &bits, 4);
    }
}
static void store_bfloats(const float *x, uint16_t *h, ptrdiff_t n) {
    for (ptrdiff_t i = 0; i < n; i++) {
        uint32_t bits, rounded, nan;
        memcpy(&bits, x + i, 4);
        rounded = (bits + 0x7fff + (bits >> 16 & 1)) >> 16;
        nan = (bits >> 16 & 0x8000) | 0x7fc0; /* quiet, with the sign; the rest of it is lost */
        h[i] = (uint16_t)((bits & 0x7fffffff) > 0x7f800000 ? nan : rounded);
    }
}
#endif

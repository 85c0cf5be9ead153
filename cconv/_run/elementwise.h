/* Rows of arrays: what is done to n elements that lie `to_step` and `step` bytes apart, compiled once for all instruction
 * sets, for memory sets the pace. Row by row a source may be the target itself, but never overlap it otherwise. */
#ifndef CCONV_ELEMENTWISE_H
#define CCONV_ELEMENTWISE_H
#include <math.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

/* `with`: a number that some of them take */
typedef void (*cconv_row)(char *to, ptrdiff_t to_step, const char *from, ptrdiff_t step, ptrdiff_t n, double with);

#if defined(_MSC_VER)
#define CCONV_APART __pragma(loop(ivdep))
#elif defined(__clang__)
#define CCONV_APART _Pragma("clang loop vectorize(assume_safety)")
#else
#define CCONV_APART _Pragma("GCC ivdep")
#endif

/* `y` is the element that is written, `a` the one that is read */
#define CCONV_ROW(name, T, F, what)                                                                                    \
    static void name(char *to, ptrdiff_t to_step, const char *from, ptrdiff_t step, ptrdiff_t n, double with) {        \
        ptrdiff_t i;                                                                                                   \
        (void)with;                                                                                                    \
        if (to_step == (ptrdiff_t)sizeof(T) && step == (ptrdiff_t)sizeof(F)) {                                         \
            T *ys = (T *)to;                                                                                           \
            const F *as = (const F *)from;                                                                             \
            CCONV_APART                                                                                                \
            for (i = 0; i < n; i++) { T y = ys[i]; const F a = as[i]; what; ys[i] = y; }                               \
            return;                                                                                                    \
        }                                                                                                              \
        for (i = 0; i < n; i++, to += to_step, from += step) {                                                         \
            T y = *(T *)to;                                                                                            \
            const F a = *(const F *)from;                                                                              \
            what;                                                                                                      \
            *(T *)to = y;                                                                                              \
        }                                                                                                              \
    }

/* ------------------------------------------------------------------------------------------ copies, by itemsize */

typedef struct { uint64_t low, high; } cconv_16;

/* memcpy and memset, which for short rows would mostly be calls */
#define CCONV_SHORT(step) if (n & step) { CCONV_STEP(step) }
static inline void cconv_copy(char *to, const char *from, size_t n) {
#define CCONV_STEP(step) memcpy(to, from, step); to += step; from += step;
    if (n > 128) { memcpy(to, from, n); return; }
    for (; n >= 16; n -= 16) { CCONV_STEP(16) }
    CCONV_SHORT(8) CCONV_SHORT(4) CCONV_SHORT(2) CCONV_SHORT(1)
#undef CCONV_STEP
}
static inline void cconv_zero(char *to, size_t n) {
#define CCONV_STEP(step) memset(to, 0, step); to += step;
    if (n > 128) { memset(to, 0, n); return; }
    for (; n >= 16; n -= 16) { CCONV_STEP(16) }
    CCONV_SHORT(8) CCONV_SHORT(4) CCONV_SHORT(2) CCONV_SHORT(1)
#undef CCONV_STEP
}

#define CCONV_COPY(size, T)                                                                                            \
    static void copy_##size(char *to, ptrdiff_t to_step, const char *from, ptrdiff_t step, ptrdiff_t n, double with) { \
        ptrdiff_t i;                                                                                                   \
        (void)with;                                                                                                    \
        if (to_step == size && step == size) {                                                                         \
            cconv_copy(to, from, (size_t)n * size);                                                                     \
            return;                                                                                                    \
        }                                                                                                              \
        if (to_step == size) {                                                                                         \
            T *ys = (T *)to;                                                                                           \
            for (i = 0; i < n; i++, from += step) ys[i] = *(const T *)from;                                            \
            return;                                                                                                    \
        }                                                                                                              \
        for (i = 0; i < n; i++, to += to_step, from += step) *(T *)to = *(const T *)from;                              \
    }                                                                                                                  \
    /* each value to its index, in order; nothing is written out of 0..plane-1 */                                      \
    static void scatter_##size(char *to, const char *from, const int64_t *at, ptrdiff_t n, ptrdiff_t plane) {          \
        ptrdiff_t i;                                                                                                   \
        for (i = 0; i < n; i++)                                                                                        \
            if ((uint64_t)at[i] < (uint64_t)plane) ((T *)to)[at[i]] = ((const T *)from)[i];                            \
    }                                                                                                                  \
    /* the values at the indices */                                                                                    \
    static void gather_##size(char *to, const char *from, const int64_t *at, ptrdiff_t n, ptrdiff_t plane) {           \
        ptrdiff_t i;                                                                                                   \
        for (i = 0; i < n; i++)                                                                                        \
            if ((uint64_t)at[i] < (uint64_t)plane) ((T *)to)[i] = ((const T *)from)[at[i]];                            \
    }
CCONV_COPY(1, uint8_t)
CCONV_COPY(2, uint16_t)
CCONV_COPY(4, uint32_t)
CCONV_COPY(8, uint64_t)
CCONV_COPY(16, cconv_16)

typedef void (*cconv_place)(char *to, const char *from, const int64_t *at, ptrdiff_t n, ptrdiff_t plane);
static inline int cconv_log2(ptrdiff_t size) { return size == 1 ? 0 : size == 2 ? 1 : size == 4 ? 2 : size == 8 ? 3 : 4; }
static inline cconv_row copy_of(ptrdiff_t size) {
    static const cconv_row rows[5] = {copy_1, copy_2, copy_4, copy_8, copy_16};
    return rows[cconv_log2(size)];
}
static inline cconv_place scatter_of(ptrdiff_t size) {
    static const cconv_place rows[5] = {scatter_1, scatter_2, scatter_4, scatter_8, scatter_16};
    return rows[cconv_log2(size)];
}
static inline cconv_place gather_of(ptrdiff_t size) {
    static const cconv_place rows[5] = {gather_1, gather_2, gather_4, gather_8, gather_16};
    return rows[cconv_log2(size)];
}
/* a flag that several threads may set */
static inline void cconv_raise_flag(int *flag) {
#if defined(_MSC_VER)
    *(volatile int *)flag = 1;
#else
    __atomic_store_n(flag, 1, __ATOMIC_RELAXED);
#endif
}
/* whether indices lie in 0..plane-1; as unsigned numbers, negative ones are too large */
static inline int cconv_in_plane(const int64_t *at, ptrdiff_t n, ptrdiff_t plane) {
    ptrdiff_t i;
    int64_t outside = 0;
    for (i = 0; i < n; i++) outside |= at[i] | (plane - 1 - at[i]);
    return outside >= 0;
}

/* ----------------------------------------------------------------------------------------------------------- sums */

typedef struct { float re, im; } cconv_c64;
typedef struct { double re, im; } cconv_c128;

CCONV_ROW(add_f32, float, float, y += a)
CCONV_ROW(add_f64, double, double, y += a)
CCONV_ROW(add_c64, cconv_c64, cconv_c64, y.re += a.re; y.im += a.im)
CCONV_ROW(add_c128, cconv_c128, cconv_c128, y.re += a.re; y.im += a.im)
CCONV_ROW(add_8, uint8_t, uint8_t, y = (uint8_t)(y + a))
CCONV_ROW(add_16, uint16_t, uint16_t, y = (uint16_t)(y + a))
CCONV_ROW(add_32, uint32_t, uint32_t, y += a)
CCONV_ROW(add_64, uint64_t, uint64_t, y += a)
CCONV_ROW(add_bool, uint8_t, uint8_t, y = (uint8_t)((y | a) != 0))

/* the row that adds elements of such a kind ("f", "c", "b", else integers, which wrap) */
static inline cconv_row add_of(int kind, ptrdiff_t size) {
    if (kind == 'f') return size == 4 ? add_f32 : size == 8 ? add_f64 : NULL;
    if (kind == 'c') return size == 8 ? add_c64 : size == 16 ? add_c128 : NULL;
    if (kind == 'b') return add_bool;
    return size == 1 ? add_8 : size == 2 ? add_16 : size == 4 ? add_32 : add_64;
}

/* ---------------------------------------------------------------------------------------------------- conversions */

#define CCONV_CAST(to, T, from, F) CCONV_ROW(cast_##from##_##to, T, F, y = (T)a)
#define CCONV_WIDEN(from, F)                                                                                           \
    CCONV_CAST(i32, int32_t, from, F)                                                                                  \
    CCONV_CAST(i64, int64_t, from, F)                                                                                  \
    CCONV_CAST(f32, float, from, F)                                                                                    \
    CCONV_CAST(f64, double, from, F)
CCONV_WIDEN(i8, int8_t)
CCONV_WIDEN(u8, uint8_t)
CCONV_WIDEN(i16, int16_t)
CCONV_WIDEN(u16, uint16_t)
CCONV_CAST(i64, int64_t, i32, int32_t)
CCONV_CAST(i64, int64_t, u32, uint32_t)
CCONV_CAST(f32, float, i32, int32_t)
CCONV_CAST(f64, double, i32, int32_t)
CCONV_CAST(f32, float, u32, uint32_t)
CCONV_CAST(f64, double, u32, uint32_t)
CCONV_CAST(f32, float, i64, int64_t)
CCONV_CAST(f64, double, i64, int64_t)
CCONV_CAST(f32, float, u64, uint64_t)
CCONV_CAST(f64, double, u64, uint64_t)
/* unsigned: the lower bits, as integers wrap */
CCONV_CAST(8, uint8_t, 32, uint32_t)
CCONV_CAST(16, uint16_t, 32, uint32_t)
CCONV_CAST(8, uint8_t, 64, uint64_t)
CCONV_CAST(16, uint16_t, 64, uint64_t)
CCONV_CAST(32, uint32_t, 64, uint64_t)
CCONV_CAST(f64, double, f32, float)
CCONV_CAST(f32, float, f64, double) /* too large: infinite */
CCONV_CAST(i32, int32_t, f32, float)
CCONV_CAST(i64, int64_t, f64, double)

enum { E_I8, E_U8, E_I16, E_U16, E_I32, E_U32, E_I64, E_U64, E_F32, E_F64, E_COUNT };

#define CCONV_WIDE(from) cast_##from##_i32, cast_##from##_i32, cast_##from##_i64, cast_##from##_i64, \
                         cast_##from##_f32, cast_##from##_f64
/* from a row's dtype to a column's; NULL: NumPy converts */
static const cconv_row cconv_casts[E_COUNT][E_COUNT] = {
    {copy_1, copy_1, NULL, NULL, CCONV_WIDE(i8)},
    {copy_1, copy_1, NULL, NULL, CCONV_WIDE(u8)},
    {NULL, NULL, copy_2, copy_2, CCONV_WIDE(i16)},
    {NULL, NULL, copy_2, copy_2, CCONV_WIDE(u16)},
    {cast_32_8, cast_32_8, cast_32_16, cast_32_16, copy_4, copy_4, cast_i32_i64, cast_i32_i64, cast_i32_f32, cast_i32_f64},
    {cast_32_8, cast_32_8, cast_32_16, cast_32_16, copy_4, copy_4, cast_u32_i64, cast_u32_i64, cast_u32_f32, cast_u32_f64},
    {cast_64_8, cast_64_8, cast_64_16, cast_64_16, cast_64_32, cast_64_32, copy_8, copy_8, cast_i64_f32, cast_i64_f64},
    {cast_64_8, cast_64_8, cast_64_16, cast_64_16, cast_64_32, cast_64_32, copy_8, copy_8, cast_u64_f32, cast_u64_f64},
    {NULL, NULL, NULL, NULL, cast_f32_i32, NULL, NULL, NULL, copy_4, cast_f32_f64},
    {NULL, NULL, NULL, NULL, NULL, NULL, cast_f64_i64, NULL, cast_f64_f32, copy_8},
};
static inline cconv_row cast_of(int from, int to) { return from < 0 || to < 0 ? NULL : cconv_casts[from][to]; }

/* --------------------------------------------------------------------------------------------------------- powers */

/* Of powers |a| and a*a; of their sums y times `with`, and its root; a maximum of nothing, -inf, is an empty sum.
 * Of gradients: y times a, times the sign of a, divided by, with the sign of a, and zeros where a is zero. */
#define CCONV_SIGN(T, a) ((a) > 0 ? (T)1 : (a) < 0 ? (T)-1 : (a) == 0 ? (T)0 : (a))
#define CCONV_POWERS(name, T, absolute, root, signed_as)                                                               \
    CCONV_ROW(abs_##name, T, T, y = absolute(a))                                                                       \
    CCONV_ROW(square_##name, T, T, y = a * a)                                                                          \
    CCONV_ROW(scale_##name, T, T, y = a * (T)with)                                                                     \
    CCONV_ROW(root_##name, T, T, y = root(a * (T)with))                                                                \
    CCONV_ROW(positive_##name, T, T, y = a < 0 ? 0 : a)                                                                \
    CCONV_ROW(by_sign_##name, T, T, y *= CCONV_SIGN(T, a) * (T)with)                                                   \
    CCONV_ROW(by_value_##name, T, T, y = a != 0 ? y * (a * (T)with) : 0)                                               \
    CCONV_ROW(divide_##name, T, T, y = y != 0 ? a * ((T)1 / y) : 0)                                                    \
    CCONV_ROW(sign_as_##name, T, T, y = signed_as(y, a) * (T)with)                                                     \
    CCONV_ROW(times_##name, T, T, y *= a)                                                                              \
    CCONV_ROW(blank_##name, T, T, y = a != 0 ? y : 0)
CCONV_POWERS(f32, float, fabsf, sqrtf, copysignf)
CCONV_POWERS(f64, double, fabs, sqrt, copysign)

#define CCONV_POWER_ROWS(name)                                                                                         \
    {abs_##name, square_##name, scale_##name, root_##name, positive_##name, by_sign_##name, by_value_##name,           \
     divide_##name, sign_as_##name, times_##name, blank_##name}
/* in the order of Power in elementwise.pyx */
static inline cconv_row power_of(int which, ptrdiff_t size) {
    static const cconv_row rows[2][11] = {CCONV_POWER_ROWS(f32), CCONV_POWER_ROWS(f64)};
    return rows[size == 8][which];
}
#endif

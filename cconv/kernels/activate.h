/* Activations of rows, vector by vector: y[i] = f(x[i] + add[i]).
 *
 * e^x - 1 = 2^k (e^r - 1) + (2^k - 1), with k = round(x / ln 2), r = x - k ln 2 (in two parts, after Cody and Waite, 1980)
 * and Taylor's series of e^r - 1 on |r| <= ln 2 / 2. Sigmoid and tanh are written in e^-|x|, so neither overflows nor
 * cancels. The normal distribution's tail is e^(-z^2) erfcx(z), z = |x| / sqrt 2, erfcx by Chebyshev's series in
 * (z - 3.75) / (z + 3.75) of (1 + 2 z) erfcx(z) (Shepherd and Laframboise, 1981), and z^2 in two parts.
 *
 * A NaN stays one; every comparison is written so that it falls through. */
#ifndef CCONV_ACTIVATE_H
#define CCONV_ACTIVATE_H
#include "simd.h"

enum {
    ACT_NONE, ACT_RELU, ACT_CLIP, ACT_LEAKY_RELU, ACT_ELU, ACT_SIGMOID, ACT_SILU, ACT_HARD_SIGMOID, ACT_HARD_SWISH,
    ACT_TANH, ACT_GELU, ACT_GELU_TANH
};

#if CCONV_IS_FLOAT
#ifdef CCONV_VECTORS
#define PICK(m, a, b) select_(m, a, b)
#define BITS(v) ((ivec)(v))
#define REAL(i) ((vec)(i))
typedef ivec act_bits;
#else
typedef ireal act_bits;
#define PICK(m, a, b) ((m) ? (a) : (b))
CCONV_INLINE ireal BITS(real v) { ireal i; memcpy(&i, &v, sizeof i); return i; }
CCONV_INLINE real REAL(ireal i) { real v; memcpy(&v, &i, sizeof v); return v; }
#endif

#if CCONV_DTYPE == 0
#define ACT_MAGIC 12582912.0f /* 1.5 * 2^23: what is added to it is rounded to an integer, in the lowest bits */
#define ACT_LN2_HIGH 0.693145751953125f
#define ACT_LN2_LOW 1.42860682030941723212e-6f
#define ACT_LEAST -104.0f
#define ACT_MOST 89.0f
#define ACT_SIGN ((ireal)1 << 31)
#define ACT_HALF (-(ireal)4096) /* keeps the upper half of the digits */
enum { ACT_BIAS = 127, ACT_DIGITS = 23, ACT_TAYLOR = 7, ACT_ERFCX = 12, ACT_NORMAL = 9 };
#else
#define ACT_MAGIC 6755399441055744.0
#define ACT_LN2_HIGH 0.693147180369123816490
#define ACT_LN2_LOW 1.90821492927058770002e-10
#define ACT_LEAST -746.0
#define ACT_MOST 710.0
#define ACT_SIGN ((ireal)((uint64_t)1 << 63))
#define ACT_HALF (-((ireal)1 << 27))
enum { ACT_BIAS = 1023, ACT_DIGITS = 52, ACT_TAYLOR = 13, ACT_ERFCX = 23, ACT_NORMAL = 15 };
#endif

static const real act_taylor[14] = {
    0, 1, (real)(1.0 / 2), (real)(1.0 / 6), (real)(1.0 / 24), (real)(1.0 / 120), (real)(1.0 / 720), (real)(1.0 / 5040),
    (real)(1.0 / 40320), (real)(1.0 / 362880), (real)(1.0 / 3628800), (real)(1.0 / 39916800), (real)(1.0 / 479001600),
    (real)(1.0 / 6227020800.0)};
static const real act_erfcx[24] = {
    (real)1.1775789345674017543, (real)-0.0045900545806464776789, (real)-0.084249133366517915062,
    (real)0.059209939998191889559, (real)-0.026658668435305750866, (real)0.0090749976707052630809,
    (real)-0.0024131635404176054901, (real)0.00049077583652580650292, (real)-0.000069169733025009514059,
    (real)4.1390279860708395863e-6, (real)7.7403830662140198532e-7, (real)-2.1886401049349893272e-7,
    (real)1.0764999466878729779e-8, (real)4.5219598101922972446e-9, (real)-7.754400194941056756e-10,
    (real)-6.3180885224884248575e-11, (real)2.8687952392188362521e-11, (real)1.945560627976674759e-13,
    (real)-9.6546617166594083878e-13, (real)3.252233177407265039e-14, (real)3.3481592075736372909e-14,
    (real)-1.8673839448266166171e-15, (real)-1.2479952383057962932e-15, (real)7.1265377320223130374e-17};

/* of (Phi(x) - 1/2) / x in x^2, Taylor's series of the normal distribution */
static const real act_normal[16] = {
    (real)0.39894228040143267794, (real)-0.066490380066905446323, (real)0.0099735570100358169485,
    (real)-0.0011873282154804543986, (real)0.00011543468761615528876, (real)-9.4446562595036145346e-6,
    (real)6.6596935163166512744e-7, (real)-4.1226674148626888841e-8, (real)2.2735298243728063699e-9,
    (real)-1.130117164161921295e-10, (real)5.1124347902563106202e-12, (real)-2.1217614742170459096e-13,
    (real)8.1334189844986759867e-15, (real)-2.8965167323713233571e-16, (real)9.6312748490179471233e-18,
    (real)-3.0033007593711878126e-19};

CCONV_INLINE vec act_abs(vec x) { return REAL(BITS(x) & ~ACT_SIGN); }
CCONV_INLINE vec act_max(vec x, vec low) { return PICK(x <= low, low, x); }
CCONV_INLINE vec act_min(vec x, vec high) { return PICK(x >= high, high, x); }

/* 2^n of a whole number, in two factors: neither overflows where their product does not. */
CCONV_INLINE void act_power(vec n, vec *a, vec *b) {
    const vec magic = set1(ACT_MAGIC);
    vec half = n * set1(0.5f) + magic;
    act_bits h = BITS(half) - BITS(magic);
    act_bits whole = BITS(n + magic) - BITS(magic);
    *a = REAL((h + ACT_BIAS) << ACT_DIGITS);
    *b = REAL((whole - h + ACT_BIAS) << ACT_DIGITS);
}
/* e^x = a b (1 + p), and the factors. */
CCONV_INLINE vec act_parts(vec x, vec *a, vec *b) {
    const vec magic = set1(ACT_MAGIC);
    x = act_min(act_max(x, set1(ACT_LEAST)), set1(ACT_MOST));
    vec n = (x * set1((real)1.4426950408889634074) + magic) - magic;
    vec r = (x - n * set1(ACT_LN2_HIGH)) - n * set1(ACT_LN2_LOW);
    vec p = set1(act_taylor[ACT_TAYLOR]);
    for (int i = ACT_TAYLOR - 1; i >= 2; i--) p = p * r + set1(act_taylor[i]);
    act_power(n, a, b);
    return p * r * r + r;
}
CCONV_INLINE vec act_exp(vec x) {
    vec a, b, p = act_parts(x, &a, &b);
    return (a + a * p) * b;
}
CCONV_INLINE vec act_expm1(vec x) {
    vec a, b, p = act_parts(x, &a, &b);
    vec s = a * b;
    return s * p + (s - set1(1));
}
/* y * e^x, with y among the factors: no denormal number between. */
CCONV_INLINE vec act_times_exp(vec y, vec x) {
    vec a, b, p = act_parts(x, &a, &b);
    return y * (a + a * p) * b;
}
/* y * sigmoid(x). What was rounded off 1 + e is made good. */
CCONV_INLINE vec act_times_sigmoid(vec y, vec x) {
    vec a, b, away = -act_abs(x), p = act_parts(away, &a, &b), f = PICK(away < set1(ACT_LEAST), set1(0), a + a * p);
    vec e = f * b;
    vec d = set1(1) + e, off = e - (d - set1(1));
    vec s = PICK(x >= set1(0), y, y * f * b) / d;
    vec more = s * (off * (set1(1) - set1(0.5f) * e));
    return s - PICK(more == more, more, set1(0)); /* s may be infinite */
}
CCONV_INLINE vec act_sigmoid(vec x) { return act_times_sigmoid(set1(1), x); }
CCONV_INLINE vec act_tanh(vec x) {
    /* near 0 by Lambert's continued fraction, eight levels of it */
    vec z = act_abs(x), y = x * x, e = act_exp(z * set1(-2));
    vec over = ((set1(44) * y + set1(12870)) * y + set1(810810)) * y + set1(11486475);
    vec under = (((set1(45) * y + set1(13860)) * y + set1(945945)) * y + set1(16216200)) * y + set1(34459425);
    vec large = set1(1) - set1(2) * e / (set1(1) + e);
    return PICK(z > set1(0.55f), REAL(BITS(large) | (BITS(x) & ACT_SIGN)), x - x * (y * over / under));
}
/* y times the normal distribution's probability beyond |x|. */
CCONV_INLINE vec act_tail(vec y, vec x) {
    vec z = act_abs(x), zh = REAL(BITS(z) & ACT_HALF), zl = z - zh;
    vec q = z * set1((real)0.70710678118654752440);
    vec t = (q - set1(3.75f)) / (q + set1(3.75f)), twice = t + t, last = set1(0), here = set1(act_erfcx[ACT_ERFCX]);
    for (int i = ACT_ERFCX - 1; i >= 1; i--) {
        vec next = twice * here - last + set1(act_erfcx[i]);
        last = here;
        here = next;
    }
    vec series = (t * here - last + set1(act_erfcx[0])) / (set1(1) + q + q);
    vec low = (z + zh) * zl * set1(0.5f); /* z^2 / 2 without the square of its upper half */
    return act_times_exp(y * set1(0.5f) * series * act_exp(-low), zh * zh * set1(-0.5f));
}
CCONV_INLINE vec act_gelu(vec x) {
    vec near0 = act_min(act_max(x, set1(-40)), set1(40)), tail = act_tail(near0, near0), y = x * x;
    vec p = set1(act_normal[ACT_NORMAL]);
    for (int i = ACT_NORMAL - 1; i >= 0; i--) p = p * y + set1(act_normal[i]);
    vec middle = x * (set1(0.5f) + x * p), outer = PICK(x >= set1(0), x - tail, tail);
    return PICK(y <= set1(1), middle, outer);
}
CCONV_INLINE vec act_gelu_tanh(vec x) {
    /* (1 + tanh u) / 2 = sigmoid(2 u) */
    vec u = x * (set1(1) + set1((real)0.044715) * x * x) * set1((real)1.5957691216057307117);
    return act_times_sigmoid(x, u);
}
CCONV_INLINE vec act_hard(vec x, vec a, vec b) { return act_min(act_max(x * a + b, set1(0)), set1(1)); }

#define ACT_ROWS(CODE, EXPRESSION)                                                                                     \
    case CODE:                                                                                                         \
        for (i = 0; i + VL <= n; i += VL) {                                                                            \
            vec v = load(x + i);                                                                                       \
            if (add) v += load(add + i);                                                                               \
            store(y + i, EXPRESSION);                                                                                  \
        }                                                                                                              \
        break

/* y may be x. What is left of a row is done in a vector of its own. */
static void activate_row(const real *x, const real *add, real *y, ptrdiff_t n, int op, real p, real q) {
    const vec a = set1(p), b = set1(q);
    ptrdiff_t i = 0;
    switch (op) {
        ACT_ROWS(ACT_NONE, v);
        ACT_ROWS(ACT_RELU, act_max(v, set1(0)));
        ACT_ROWS(ACT_CLIP, act_min(act_max(v, a), b));
        ACT_ROWS(ACT_LEAKY_RELU, PICK(v < set1(0), v * a, v));
        ACT_ROWS(ACT_ELU, PICK(v < set1(0), act_expm1(v) * a, v));
        ACT_ROWS(ACT_SIGMOID, act_sigmoid(v));
        ACT_ROWS(ACT_SILU, act_times_sigmoid(v, v * a));
        ACT_ROWS(ACT_HARD_SIGMOID, act_hard(v, a, b));
        ACT_ROWS(ACT_HARD_SWISH, v * act_hard(v, set1((real)(1.0 / 6)), set1(0.5f)));
        ACT_ROWS(ACT_TANH, act_tanh(v));
        ACT_ROWS(ACT_GELU, act_gelu(v));
        ACT_ROWS(ACT_GELU_TANH, act_gelu_tanh(v));
    }
    if (i < n) {
        real rest[VL] = {0}, more[VL] = {0};
        memcpy(rest, x + i, (size_t)(n - i) * sizeof(real));
        if (add) memcpy(more, add + i, (size_t)(n - i) * sizeof(real));
        activate_row(rest, add ? more : 0, rest, VL, op, p, q);
        memcpy(y + i, rest, (size_t)(n - i) * sizeof(real));
    }
}
#else
static void activate_row(const real *x, const real *add, real *y, ptrdiff_t n, int op, real p, real q) {
    (void)x, (void)add, (void)y, (void)n, (void)op, (void)p, (void)q;
}
#endif
#endif

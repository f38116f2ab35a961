/* RMSNorm and SwiGLU, forward and backward, each in as few passes over memory as it needs, on a CPU.

   What torch does in five to ten passes, with copies to fp32 and back between them, is done row by row in registers.
   Arithmetic is in fp32; tensors are fp32, or bf16 that is rounded when it is stored.

   Threads share out rows (RMSNorm's weight gradient: blocks of rows, summed in their order), so that their number
   changes no bit, nor do a row's neighbours. */

#include <math.h>
#include <stdint.h>
#include <string.h>
#if defined(__AVX512F__)
#include <immintrin.h>
#endif

/* W numbers a vector. */
#if defined(__AVX512F__)
enum { W = 16 };
#elif defined(__AVX__)
enum { W = 8 };
#else
enum { W = 4 };
#endif
enum { BLOCK = 32 }; /* rows whose share of the weight's gradient is summed by one thread; in_c.py knows it */

typedef float vf __attribute__((vector_size(4 * W), aligned(4), may_alias));
typedef int32_t vi __attribute__((vector_size(4 * W), aligned(4), may_alias));
typedef uint32_t vu __attribute__((vector_size(4 * W), aligned(4), may_alias));
typedef uint16_t vh __attribute__((vector_size(2 * W), aligned(2), may_alias));

#define INLINE static inline __attribute__((always_inline))

INLINE int64_t least(int64_t a, int64_t b) { return a < b ? a : b; }
INLINE int64_t bytes(const int half, int64_t numbers) { return numbers * (half ? 2 : 4); }

/* ---- bf16 ---- */

INLINE vf widened(vh x) {
#if defined(__AVX512F__)
    return (vf)((vu)_mm512_cvtepu16_epi32((__m256i)x) << 16);
#else
    return (vf)(__builtin_convertvector(x, vu) << 16);
#endif
}

INLINE vh rounded(vf y) { /* to the nearest, ties to even */
#if defined(__AVX512BF16__)
    return (vh)_mm512_cvtneps_pbh((__m512)y); /* what is below 1e-38 becomes 0 */
#else
    vu bits = (vu)y;
    vu to = (bits + 0x7fff + ((bits >> 16) & 1)) >> 16;
    vu nan = (vu)(y != y);
    return __builtin_convertvector((to & ~nan) | (nan & 0x7fc0), vh);
#endif
}

/* ---- numbers: n of them from `at` on, W at most; what is missing of a vector is 0 ---- */

INLINE vf load(const int half, const void *x, int64_t at, int64_t n) {
    const char *from = (const char *)x + bytes(half, at);
    float room[W];
    if (n < W) {
        memset(room, 0, sizeof room);
        memcpy(room, from, bytes(half, n));
        from = (const char *)room;
    }
    if (half) return widened(*(const vh *)from);
    return *(const vf *)from;
}

INLINE void store(const int half, void *x, int64_t at, int64_t n, vf y) {
    char *to = (char *)x + bytes(half, at);
    float room[W];
    char *where = n < W ? (char *)room : to;
    if (half)
        *(vh *)where = rounded(y);
    else
        *(vf *)where = y;
    if (n < W) memcpy(to, room, bytes(half, n));
}

INLINE float total(vf x) {
    float sum = 0;
    for (int i = 0; i < W; i++) sum += x[i];
    return sum;
}

INLINE vf chosen(vi where, vf a, vf b) { return (vf)(((vi)a & where) | ((vi)b & ~where)); }

/* e^x to about one unit in the last place (Moshier's Cephes, expf); infinite from 88.4 on, 1e-38 below -87, NaN of NaN. */
INLINE vf exp_of(vf x) {
    x = chosen(x < -87.0f, (vf){0} - 87.0f, x);
    x = chosen(x > 89.0f, (vf){0} + 89.0f, x);
    vf shifted = x * 1.4426950408889634f + 12582912.0f; /* 1.5 x 2^23: the whole part lands in the last bits */
    vf whole = shifted - 12582912.0f;
    vf f = x - whole * 0.693359375f - whole * -2.12194440e-4f; /* less whole ln(2), whose first part is exact */
    vf y = f * 1.9875691500e-4f + 1.3981999507e-3f;
    y = y * f + 8.3334519073e-3f;
    y = y * f + 4.1665795894e-2f;
    y = y * f + 1.6666665459e-1f;
    y = y * f + 5.0000001201e-1f;
    y = y * f * f + f + 1.0f;
    return y * (vf)(((vi)shifted - 0x4b400000 + 127) << 23); /* of 128: infinity's bits */
}

INLINE vf sigmoid(vf x) { return 1.0f / (1.0f + exp_of(-x)); }

/* ---- RMSNorm ---- */

INLINE float inverse_of(const int half, int64_t width, const void *x, int64_t at, float epsilon) {
    vf squares = {0};
    for (int64_t j = 0; j < width; j += W) {
        vf v = load(half, x, at + j, least(W, width - j));
        squares += v * v;
    }
    return 1.0f / sqrtf(total(squares) / (float)width + epsilon);
}

/* Products only, each rounded as torch rounds it: the same bits as its own from the same numbers. */
INLINE void norm_row(const int half, int64_t width, const void *x, int64_t at, const void *weight, float inverse,
                     void *out) {
    for (int64_t j = 0; j < width; j += W) {
        const int64_t n = least(W, width - j);
        vf normal = load(half, x, at + j, n) * inverse;
        if (half) normal = widened(rounded(normal));
        store(half, out, at + j, n, normal * load(half, weight, j, n));
    }
}

/* out = x inverse weight, of rows x width; `inverse` (rows) is written, or if it is `known`, read. */
void honed_norm(int32_t half, int64_t rows, int64_t width, const void *x, const void *weight, float epsilon,
                int32_t known, float *inverse, void *out) {
#pragma omp parallel for schedule(static)
    for (int64_t r = 0; r < rows; r++) {
        const int64_t at = r * width;
        if (half) {
            if (!known) inverse[r] = inverse_of(1, width, x, at, epsilon);
            norm_row(1, width, x, at, weight, inverse[r], out);
        } else {
            if (!known) inverse[r] = inverse_of(0, width, x, at, epsilon);
            norm_row(0, width, x, at, weight, inverse[r], out);
        }
    }
}

INLINE void norm_row_back(const int half, int64_t width, const void *x, int64_t at, const void *weight, float inverse,
                          const void *above, void *dx, float *sums) {
    vf dot = {0};
    for (int64_t j = 0; j < width; j += W) {
        const int64_t n = least(W, width - j);
        vf product = load(half, x, at + j, n) * inverse * load(half, above, at + j, n);
        if (sums) store(0, sums, j, n, load(0, sums, j, n) + product);
        dot += product * load(half, weight, j, n);
    }
    const float mean = total(dot) / (float)width;
    for (int64_t j = 0; j < width; j += W) {
        const int64_t n = least(W, width - j);
        vf normal = load(half, x, at + j, n) * inverse;
        vf straight = load(half, above, at + j, n) * load(half, weight, j, n);
        store(half, dx, at + j, n, (straight - normal * mean) * inverse);
    }
}

/* The gradients of x and, where `sums` (blocks of BLOCK rows x width) is given, of the weight. */
void honed_norm_back(int32_t half, int64_t rows, int64_t width, const void *x, const void *weight, const float *inverse,
                     const void *above, void *dx, float *sums, void *dweight) {
    const int64_t blocks = (rows + BLOCK - 1) / BLOCK;
#pragma omp parallel for schedule(static)
    for (int64_t b = 0; b < blocks; b++) {
        float *mine = sums ? sums + b * width : 0;
        if (mine) memset(mine, 0, width * sizeof(float));
        for (int64_t r = b * BLOCK; r < least(rows, (b + 1) * BLOCK); r++)
            if (half)
                norm_row_back(1, width, x, r * width, weight, inverse[r], above, dx, mine);
            else
                norm_row_back(0, width, x, r * width, weight, inverse[r], above, dx, mine);
    }
    if (!sums) return;
    for (int64_t j = 0; j < width; j += W) {
        const int64_t n = least(W, width - j);
        vf sum = {0};
        for (int64_t b = 0; b < blocks; b++) sum += load(0, sums, b * width + j, n);
        store(half, dweight, j, n, sum);
    }
}

/* ---- SwiGLU ---- */

INLINE void swiglu_row(const int half, int64_t width, int64_t at, const void *gate, const void *up, void *out) {
    for (int64_t j = 0; j < width; j += W) {
        const int64_t n = least(W, width - j);
        vf g = load(half, gate, at + j, n);
        store(half, out, at + j, n, g * sigmoid(g) * load(half, up, at + j, n));
    }
}

void honed_swiglu(int32_t half, int64_t rows, int64_t width, const void *gate, const void *up, void *out) {
#pragma omp parallel for schedule(static)
    for (int64_t r = 0; r < rows; r++)
        if (half)
            swiglu_row(1, width, r * width, gate, up, out);
        else
            swiglu_row(0, width, r * width, gate, up, out);
}

INLINE void swiglu_row_back(const int half, int64_t width, int64_t at, const void *gate, const void *up,
                            const void *above, void *dgate, void *dup, void *product) {
    for (int64_t j = 0; j < width; j += W) {
        const int64_t n = least(W, width - j);
        vf g = load(half, gate, at + j, n), u = load(half, up, at + j, n), a = load(half, above, at + j, n);
        vf s = sigmoid(g), silu = g * s;
        store(half, dgate, at + j, n, a * u * s * (1.0f + g * (1.0f - s)));
        store(half, dup, at + j, n, a * silu);
        if (product) store(half, product, at + j, n, silu * u);
    }
}

/* The gradients of gate and up, and where it is wanted the product again. `dup` may be where `above` is. */
void honed_swiglu_back(int32_t half, int64_t rows, int64_t width, const void *gate, const void *up, const void *above,
                       void *dgate, void *dup, void *product) {
#pragma omp parallel for schedule(static)
    for (int64_t r = 0; r < rows; r++)
        if (half)
            swiglu_row_back(1, width, r * width, gate, up, above, dgate, dup, product);
        else
            swiglu_row_back(0, width, r * width, gate, up, above, dgate, dup, product);
}

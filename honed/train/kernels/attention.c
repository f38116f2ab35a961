/* Causal attention over packed rows that share prefixes, and its gradients, on a CPU.

   A pack is a forest of segments, laid out depth first (attention.py). A block of queries goes through the keys of its
   own segment and of its ancestors block by block, with a running maximum and sum (Milakov & Gimelshein 2018), so that
   no scores outlive a block; the backward pass computes them again from the log-sum-exp (Dao et al. 2022). Sums are in
   fp32. Factors are too, but where inputs are bf16 and the processor multiplies pairs of bf16 (AVX512-BF16): there
   probabilities and their gradients are rounded to bf16, as flash attention on a GPU does.

   Threads share out heads and queries (forward) or heads and whole trees (backward): each writes where no other does,
   so that their number changes no bit, nor do a row's neighbours. */

#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#if defined(__AVX512BF16__)
#include <immintrin.h>
#endif

/* W numbers a vector; the sums of a tile of MR rows and NV vectors fit in the registers. */
#if defined(__AVX512F__)
enum { W = 16, NV = 4, MR = 6 };
#elif defined(__AVX__)
enum { W = 8, NV = 2, MR = 6 };
#elif defined(__aarch64__)
enum { W = 4, NV = 4, MR = 6 };
#else
enum { W = 4, NV = 2, MR = 6 };
#endif
enum { KEYS = 64, QUERIES = 48, WIDEST = 256 }; /* of a block, and the widest head; native.py knows KEYS and WIDEST */

typedef float vf __attribute__((vector_size(4 * W), aligned(4), may_alias));
typedef int32_t vi __attribute__((vector_size(4 * W), aligned(4), may_alias));
typedef uint32_t vu __attribute__((vector_size(4 * W), aligned(4), may_alias));
typedef float word __attribute__((may_alias)); /* 32 bits: a number in fp32, or a pair of bf16 (the first one low) */

#define INLINE static inline __attribute__((always_inline))
#define LOG2E 1.4426950408889634f

typedef struct {
    void *data; /* heads x tokens x width, the last contiguous */
    int64_t head, token; /* strides in numbers */
} Heads;

typedef struct {
    int64_t segments, tokens, heads, groups, width; /* groups: heads of keys and values */
    const int64_t *starts, *ends, *parents;
    float scale;
    int32_t half; /* whether the tensors are bf16; else fp32 */
} Pack;

#if defined(__AVX512BF16__)
INLINE int paired(const Pack *p) { return p->half; }
#else
INLINE int paired(const Pack *p) { (void)p; return 0; }
#endif

INLINE int64_t least(int64_t a, int64_t b) { return a < b ? a : b; }
INLINE int64_t most_of(int64_t a, int64_t b) { return a > b ? a : b; }
INLINE int64_t up(int64_t n) { return (n + W - 1) / W * W; }
INLINE int64_t words(int pairs, int64_t n) { return pairs ? (n + 1) / 2 : n; }

/* ---- numbers ---- */

static void load(const Pack *p, Heads from, int64_t head, int64_t token, float *to) {
    int64_t at = head * from.head + token * from.token;
    if (p->half) {
        const uint16_t *x = (const uint16_t *)from.data + at;
        for (int64_t d = 0; d < p->width; d++) {
            uint32_t bits = (uint32_t)x[d] << 16;
            memcpy(to + d, &bits, 4);
        }
    } else {
        memcpy(to, (const float *)from.data + at, p->width * 4);
    }
}

static void load_words(const Pack *p, Heads from, int64_t head, int64_t token, word *to) {
    if (paired(p))
        memcpy(to, (const uint16_t *)from.data + head * from.head + token * from.token, p->width * 2);
    else
        load(p, from, head, token, to);
}

static void store(const Pack *p, Heads to, int64_t head, int64_t token, const float *from, float times) {
    int64_t at = head * to.head + token * to.token;
    if (p->half) {
        uint16_t *x = (uint16_t *)to.data + at;
        for (int64_t d = 0; d < p->width; d++) { /* to the nearest, ties to even */
            float y = from[d] * times;
            uint32_t bits;
            memcpy(&bits, &y, 4);
            uint32_t rounded = (bits + 0x7fff + ((bits >> 16) & 1)) >> 16;
            x[d] = (bits & 0x7fffffff) > 0x7f800000 ? 0x7fc0 : rounded;
        }
    } else {
        float *x = (float *)to.data + at;
        for (int64_t d = 0; d < p->width; d++) x[d] = from[d] * times;
    }
}

INLINE vf exp2_of(vf x) { /* 2^x for x <= 127, relative error 2e-7; below -126 it is 2^-126; NaN stays NaN */
    vi low = x < -126.0f;
    x = (vf)(((vi)x & ~low) | ((vi)((vf){0} - 126.0f) & low));
    vf shifted = x + 12582912.0f; /* 1.5 x 2^23: the whole part lands in the last bits */
    vf f = x - (shifted - 12582912.0f);
    vi whole = (vi)shifted - 0x4b400000;
    vf y = f * 1.5403530e-4f + 1.3333558e-3f; /* ln(2)^n / n! */
    y = y * f + 9.6181291e-3f;
    y = y * f + 5.5504109e-2f;
    y = y * f + 2.4022651e-1f;
    y = y * f + 6.9314718e-1f;
    y = y * f + 1.0f;
    return y * (vf)((whole + 127) << 23);
}

INLINE float largest(const float *x, int64_t n) {
    vf m = *(const vf *)x;
    for (int64_t j = W; j < n; j += W) {
        vf y = *(const vf *)(x + j);
        vi more = y > m;
        m = (vf)(((vi)y & more) | ((vi)m & ~more));
    }
    float best = m[0];
    for (int i = 1; i < W; i++) best = m[i] > best ? m[i] : best;
    return best;
}

INLINE float total(vf x) {
    float sum = 0;
    for (int i = 0; i < W; i++) sum += x[i];
    return sum;
}

/* n fp32 numbers (a multiple of W) as words: themselves where there are no pairs. */
static const word *as_words(int pairs, const float *x, word *to, int64_t n) {
#if defined(__AVX512BF16__)
    if (pairs) {
        for (int64_t j = 0; j < n; j += W)
            _mm256_storeu_si256((__m256i *)(to + j / 2), (__m256i)_mm512_cvtneps_pbh((__m512) * (const vf *)(x + j)));
        return to;
    }
#endif
    (void)pairs, (void)to, (void)n;
    return x;
}

/* Rows of n fp32 numbers each `ld` apart, as words of two rows: word j of row i has number j of rows 2i and 2i + 1. */
static void two_rows(const float *x, int64_t ld, int64_t rows, int64_t n, word *to) {
    for (int64_t i = 0; i < rows; i += 2)
        for (int64_t j = 0; j < n; j += W) {
            vu a = *(const vu *)(x + i * ld + j), b = *(const vu *)(x + (i + 1) * ld + j);
            a += 0x7fff + ((a >> 16) & 1);
            b += 0x7fff + ((b >> 16) & 1);
            *(vu *)(to + i / 2 * ld + j) = (b & 0xffff0000u) | (a >> 16);
        }
}

/* The same of two rows that are in bf16 already, `width` numbers of them; either may be missing. */
static void interleave(const uint16_t *a, const uint16_t *b, int64_t width, word *to) {
    uint32_t *out = (uint32_t *)to;
    if (b)
        for (int64_t d = 0; d < width; d++) out[d] = (uint32_t)a[d] | (uint32_t)b[d] << 16;
    else
        for (int64_t d = 0; d < width; d++) out[d] = a[d];
}

/* ---- products: c (rows x n) = or += a (rows x k words, any strides) b (k x n, rows of ldb), n a multiple of W ---- */

INLINE vf more(const int pairs, vf sum, const word *a, vf b) {
#if defined(__AVX512BF16__)
    if (pairs) {
        __m512i both = _mm512_set1_epi32(*(const int32_t __attribute__((may_alias)) *)a);
        return (vf)_mm512_dpbf16_ps((__m512)sum, (__m512bh)both, (__m512bh)b);
    }
#endif
    (void)pairs;
    return sum + *a * b;
}

INLINE void tile(const int pairs, const int rows, const int vectors, const word *a, int64_t ar, int64_t ac, const word *b,
                 int64_t ldb, float *c, int64_t ldc, int64_t k, int add) {
    vf sum[MR][NV];
#pragma GCC unroll 8
    for (int r = 0; r < rows; r++)
#pragma GCC unroll 8
        for (int v = 0; v < vectors; v++) sum[r][v] = add ? *(vf *)(c + r * ldc + v * W) : (vf){0};
    for (int64_t i = 0; i < k; i++) {
        vf across[NV];
#pragma GCC unroll 8
        for (int v = 0; v < vectors; v++) across[v] = *(const vf *)(b + i * ldb + v * W);
#pragma GCC unroll 8
        for (int r = 0; r < rows; r++)
#pragma GCC unroll 8
            for (int v = 0; v < vectors; v++) sum[r][v] = more(pairs, sum[r][v], a + r * ar + i * ac, across[v]);
    }
#pragma GCC unroll 8
    for (int r = 0; r < rows; r++)
#pragma GCC unroll 8
        for (int v = 0; v < vectors; v++) *(vf *)(c + r * ldc + v * W) = sum[r][v];
}

#define ROWS(N) case N: tile(pairs, N, vectors, a, ar, ac, b, ldb, c, ldc, k, add); break;
INLINE void rows_of(const int pairs, const int vectors, int rows, const word *a, int64_t ar, int64_t ac, const word *b,
                    int64_t ldb, float *c, int64_t ldc, int64_t k, int add) {
    switch (rows) { ROWS(1) ROWS(2) ROWS(3) ROWS(4) ROWS(5) ROWS(6) }
}

#define VECTORS(N) case N: rows_of(pairs, N, rows, a, ar, ac, b + j, ldb, c + j, ldc, k, add); break;
INLINE void columns(const int pairs, int rows, const word *a, int64_t ar, int64_t ac, const word *b, int64_t ldb, float *c,
                    int64_t ldc, int64_t n, int64_t k, int add) {
    for (int64_t j = 0; j < n; j += NV * W)
        switch (least(NV, (n - j) / W)) {
            VECTORS(1) VECTORS(2)
#if defined(__AVX512F__) || defined(__aarch64__)
            VECTORS(3) VECTORS(4)
#endif
        }
}

static void strip(int pairs, int rows, const word *a, int64_t ar, int64_t ac, const word *b, int64_t ldb, float *c,
                  int64_t ldc, int64_t n, int64_t k, int add) {
    if (pairs)
        columns(1, rows, a, ar, ac, b, ldb, c, ldc, n, k, add);
    else
        columns(0, rows, a, ar, ac, b, ldb, c, ldc, n, k, add);
}

/* ---- keys and values, laid out by blocks of KEYS for the products ---- */

typedef struct {
    int64_t count, *first; /* blocks; the first of each segment */
} Blocks;

static Blocks blocks_of(const Pack *p) {
    Blocks b = {0, malloc(p->segments * sizeof(int64_t))};
    for (int64_t s = 0; s < p->segments; s++) {
        b.first[s] = b.count;
        b.count += (p->ends[s] - p->starts[s] + KEYS - 1) / KEYS;
    }
    return b;
}

/* Where the block of segment s that holds token t begins, in words: every block has room for KEYS x width. */
INLINE int64_t block_at(const Pack *p, const Blocks *b, int64_t group, int64_t s, int64_t t) {
    return (group * b->count + b->first[s] + (t - p->starts[s]) / KEYS) * KEYS * p->width;
}

/* One segment of a head of keys or values. `along`: a block's tokens one below the other, two a row where there are
   pairs; `across`: one beside the other, KEYS a row. What a block has no token for is 0. */
static void lay_out(const Pack *p, const Blocks *b, Heads from, int64_t group, int64_t s, word *along, word *across) {
    const int pairs = paired(p);
    const int64_t width = p->width;
    for (int64_t t = p->starts[s]; t < p->ends[s]; t += KEYS) {
        const int64_t at = block_at(p, b, group, s, t), n = least(KEYS, p->ends[s] - t);
        if (across) {
            word row[WIDEST];
            for (int64_t j = 0; j < n; j++) {
                load_words(p, from, group, t + j, row);
                for (int64_t d = 0; d < words(pairs, width); d++) across[at + d * KEYS + j] = row[d];
            }
            for (int64_t d = 0; d < words(pairs, width); d++)
                for (int64_t j = n; j < up(n); j++) across[at + d * KEYS + j] = 0;
        }
        if (along && pairs)
            for (int64_t j = 0; j < n; j += 2) {
                const uint16_t *x = (const uint16_t *)from.data + group * from.head + (t + j) * from.token;
                interleave(x, j + 1 < n ? x + from.token : 0, width, along + at + j / 2 * width);
            }
        else if (along)
            for (int64_t j = 0; j < n; j++) load(p, from, group, t + j, along + at + j * width);
    }
}

/* How many of the n keys from k on, of segment t, the queries of segment s before `end` may see. */
INLINE int64_t seen(int64_t s, int64_t t, int64_t k, int64_t n, int64_t end) {
    return s == t ? most_of(0, least(n, end - k)) : n;
}

/* ---- forward ---- */

static void forward_block(const Pack *p, const Blocks *b, Heads query, Heads out, float *lse, const word *keys,
                          const word *values, int64_t head, int64_t s, int64_t q) {
    const int pairs = paired(p);
    const int64_t width = p->width, m = least(QUERIES, p->ends[s] - q), group = head / (p->heads / p->groups);
    const int64_t deep = words(pairs, width);
    const float times = p->scale * LOG2E;
    float sums[QUERIES * width], scores[MR * KEYS], top[QUERIES], mass[QUERIES];
    word rows[QUERIES * width], shares[MR * KEYS];
    for (int64_t i = 0; i < m; i++) {
        load_words(p, query, head, q + i, rows + i * deep);
        top[i] = -INFINITY;
        mass[i] = 0;
    }
    memset(sums, 0, m * width * sizeof(float));
    for (int64_t t = s; t >= 0; t = p->parents[t])
        for (int64_t k = p->starts[t]; k < p->ends[t] && (t != s || k < q + m); k += KEYS) {
            const int64_t n = least(KEYS, p->ends[t] - k), at = block_at(p, b, group, t, k);
            for (int64_t i = 0; i < m; i += MR) {
                const int64_t here = least(MR, m - i), some = seen(s, t, k, n, q + i + here), to = up(some);
                if (!some) continue;
                strip(pairs, here, rows + i * deep, deep, 1, keys + at, KEYS, scores, KEYS, to, deep, 0);
                for (int64_t r = 0; r < here; r++) {
                    float *x = scores + r * KEYS, *highest = top + i + r;
                    const int64_t mine = seen(s, t, k, n, q + i + r + 1);
                    if (!mine) { /* the first rows of a strip may see nothing of this block */
                        memset(x, 0, to * sizeof(float));
                        continue;
                    }
                    for (int64_t j = mine; j < to; j++) x[j] = -1e30f;
                    float best = largest(x, to) * times;
                    if (best < *highest) best = *highest;
                    vf sum = {0};
                    for (int64_t j = 0; j < to; j += W) {
                        vf e = exp2_of(*(vf *)(x + j) * times - best);
                        *(vf *)(x + j) = e;
                        sum += e;
                    }
                    if (best > *highest) {
                        float less = exp2f(*highest - best), *row = sums + (i + r) * width;
                        mass[i + r] *= less;
                        for (int64_t d = 0; d < width; d++) row[d] *= less;
                        *highest = best;
                    }
                    mass[i + r] += total(sum);
                }
                const word *factors = as_words(pairs, scores, shares, here * KEYS);
                strip(pairs, here, factors, words(pairs, KEYS), 1, values + at, width, sums + i * width, width, width,
                      words(pairs, some), 1);
            }
        }
    for (int64_t i = 0; i < m; i++) {
        store(p, out, head, q + i, sums + i * width, 1.0f / mass[i]);
        lse[head * p->tokens + q + i] = top[i] + log2f(mass[i]); /* in powers of two */
    }
}

/* `scratch` holds 2 x groups x blocks x KEYS x width words. */
void honed_forward(const Pack *p, Heads query, Heads key, Heads value, Heads out, float *lse, float *scratch) {
    Blocks b = blocks_of(p);
    word *keys = scratch, *values = scratch + p->groups * b.count * KEYS * p->width;
    int64_t count = 0, *where = malloc((p->tokens / QUERIES + p->segments) * 2 * sizeof(int64_t));
    for (int64_t s = p->segments - 1; s >= 0; s--)
        for (int64_t q = p->starts[s]; q < p->ends[s]; q += QUERIES) {
            where[2 * count] = s;
            where[2 * count++ + 1] = q;
        }
#pragma omp parallel
    {
#pragma omp for collapse(2) schedule(dynamic, 4)
        for (int64_t g = 0; g < p->groups; g++)
            for (int64_t s = 0; s < p->segments; s++) {
                lay_out(p, &b, key, g, s, 0, keys);
                lay_out(p, &b, value, g, s, values, 0);
            }
#pragma omp for collapse(2) schedule(dynamic, 2)
        for (int64_t h = 0; h < p->heads; h++)
            for (int64_t i = 0; i < count; i++)
                forward_block(p, &b, query, out, lse, keys, values, h, where[2 * i], where[2 * i + 1]);
    }
    free(where);
    free(b.first);
}

/* ---- backward ---- */

typedef struct {
    word *keys_along, *keys_across, *values_across; /* by groups */
    float *dk, *dv; /* by heads, summed over groups at the end */
} Room;

static void backward_block(const Pack *p, const Blocks *b, Heads query, Heads out, Heads grad, Heads dq, const float *lse,
                           Room room, int64_t head, int64_t s, int64_t q) {
    const int pairs = paired(p);
    const int64_t width = p->width, m = least(QUERIES, p->ends[s] - q), group = head / (p->heads / p->groups);
    const int64_t deep = words(pairs, width), even = words(pairs, m) * (pairs ? 2 : 1);
    const float times = p->scale * LOG2E;
    word rows[QUERIES * width], above[QUERIES * width], rows_along[QUERIES * width], above_along[QUERIES * width];
    word turned[QUERIES * KEYS], turned_d[QUERIES * KEYS], part[MR * KEYS];
    float sums[QUERIES * width], delta[QUERIES], shares[QUERIES * KEYS], slopes[QUERIES * KEYS];
    for (int64_t i = 0; i < m; i++) {
        float one[WIDEST], other[WIDEST], sum = 0;
        load(p, out, head, q + i, one);
        load(p, grad, head, q + i, other);
        for (int64_t d = 0; d < width; d++) sum += one[d] * other[d];
        delta[i] = sum;
        load_words(p, query, head, q + i, rows + i * deep);
        load_words(p, grad, head, q + i, above + i * deep);
    }
    if (pairs)
        for (int64_t i = 0; i < m; i += 2) {
            const uint16_t *x = (const uint16_t *)rows + i * width, *y = (const uint16_t *)above + i * width;
            interleave(x, i + 1 < m ? x + width : 0, width, rows_along + i / 2 * width);
            interleave(y, i + 1 < m ? y + width : 0, width, above_along + i / 2 * width);
        }
    const word *q_along = pairs ? rows_along : rows, *g_along = pairs ? above_along : above;
    memset(sums, 0, m * width * sizeof(float));
    for (int64_t t = s; t >= 0; t = p->parents[t])
        for (int64_t k = p->starts[t]; k < p->ends[t] && (t != s || k < q + m); k += KEYS) {
            const int64_t n = least(KEYS, p->ends[t] - k), all = up(n), at = block_at(p, b, group, t, k);
            for (int64_t i = 0; i < m; i += MR) {
                const int64_t here = least(MR, m - i), some = seen(s, t, k, n, q + i + here), to = up(some);
                float *x = shares + i * KEYS, *y = slopes + i * KEYS;
                if (some) {
                    strip(pairs, here, rows + i * deep, deep, 1, room.keys_across + at, KEYS, x, KEYS, to, deep, 0);
                    strip(pairs, here, above + i * deep, deep, 1, room.values_across + at, KEYS, y, KEYS, to, deep, 0);
                }
                for (int64_t r = 0; r < here; r++) {
                    float *u = x + r * KEYS, *v = y + r * KEYS, down = lse[head * p->tokens + q + i + r];
                    for (int64_t j = 0; j < to; j += W) {
                        vf e = exp2_of(*(vf *)(u + j) * times - down);
                        *(vf *)(u + j) = e;
                        *(vf *)(v + j) = e * (*(vf *)(v + j) - delta[i + r]);
                    }
                    for (int64_t j = seen(s, t, k, n, q + i + r + 1); j < all; j++) u[j] = v[j] = 0;
                }
                if (some) {
                    const word *factors = as_words(pairs, y, part, here * KEYS);
                    strip(pairs, here, factors, words(pairs, KEYS), 1, room.keys_along + at, width, sums + i * width,
                          width, width, words(pairs, some), 1);
                }
            }
            if (even > m) {
                memset(shares + m * KEYS, 0, all * sizeof(float));
                memset(slopes + m * KEYS, 0, all * sizeof(float));
            }
            const word *p_turned = shares, *d_turned = slopes;
            if (pairs) {
                two_rows(shares, KEYS, m, all, turned);
                two_rows(slopes, KEYS, m, all, turned_d);
                p_turned = turned;
                d_turned = turned_d;
            }
            float *dv = room.dv + (head * p->tokens + k) * width, *dk = room.dk + (head * p->tokens + k) * width;
            for (int64_t j = 0; j < n; j += MR) {
                const int64_t here = least(MR, n - j);
                int64_t from = s == t ? most_of(0, k + j - q) : 0; /* the first query that sees key j */
                if (from >= m) break;
                if (pairs) from /= 2;
                const int64_t left = words(pairs, m) - from;
                strip(pairs, here, p_turned + from * KEYS + j, 1, KEYS, g_along + from * width, width, dv + j * width,
                      width, width, left, 1);
                strip(pairs, here, d_turned + from * KEYS + j, 1, KEYS, q_along + from * width, width, dk + j * width,
                      width, width, left, 1);
            }
        }
    for (int64_t i = 0; i < m; i++) store(p, dq, head, q + i, sums + i * width, p->scale);
}

/* `scratch` holds 3 x groups x blocks x KEYS x width words, and 2 x heads x tokens x width numbers. */
void honed_backward(const Pack *p, Heads query, Heads key, Heads value, Heads out, const float *lse, Heads grad, Heads dq,
                    Heads dk, Heads dv, float *scratch) {
    Blocks b = blocks_of(p);
    const int64_t laid = p->groups * b.count * KEYS * p->width, each = p->tokens * p->width, shared = p->heads / p->groups;
    Room room = {scratch, scratch + laid, scratch + 2 * laid, scratch + 3 * laid, scratch + 3 * laid + p->heads * each};
    int64_t *roots = malloc((p->segments + 1) * sizeof(int64_t)), trees = 0;
    for (int64_t s = 0; s < p->segments; s++)
        if (p->parents[s] < 0) roots[trees++] = s;
    roots[trees] = p->segments;
#pragma omp parallel
    {
#pragma omp for collapse(2) schedule(dynamic, 4)
        for (int64_t g = 0; g < p->groups; g++)
            for (int64_t s = 0; s < p->segments; s++) {
                lay_out(p, &b, key, g, s, room.keys_along, room.keys_across);
                lay_out(p, &b, value, g, s, 0, room.values_across);
            }
#pragma omp for collapse(2) schedule(dynamic, 1)
        for (int64_t r = 0; r < trees; r++)
            for (int64_t h = 0; h < p->heads; h++) {
                const int64_t from = p->starts[roots[r]], size = p->ends[roots[r + 1] - 1] - from;
                memset(room.dk + (h * p->tokens + from) * p->width, 0, size * p->width * sizeof(float));
                memset(room.dv + (h * p->tokens + from) * p->width, 0, size * p->width * sizeof(float));
                for (int64_t s = roots[r]; s < roots[r + 1]; s++)
                    for (int64_t q = p->starts[s]; q < p->ends[s]; q += QUERIES)
                        backward_block(p, &b, query, out, grad, dq, lse, room, h, s, q);
            }
#pragma omp for collapse(2) schedule(static)
        for (int64_t g = 0; g < p->groups; g++)
            for (int64_t t = 0; t < p->tokens; t++) {
                float *k = room.dk + (g * shared * p->tokens + t) * p->width;
                float *v = room.dv + (g * shared * p->tokens + t) * p->width;
                for (int64_t h = 1; h < shared; h++)
                    for (int64_t d = 0; d < p->width; d++) {
                        k[d] += k[h * each + d];
                        v[d] += v[h * each + d];
                    }
                store(p, dk, g, t, k, p->scale);
                store(p, dv, g, t, v, 1.0f);
            }
    }
    free(roots);
    free(b.first);
}

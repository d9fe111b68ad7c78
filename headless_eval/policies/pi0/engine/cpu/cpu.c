// A whole inference of π0 or π0.5 on one CPU thread: prefix, then all flow steps, outputs of modules rounded on
// the way. engine.py compiles it with the machine's C compiler; interface.h, which it writes for that from
// interface.py, says what the arguments hold and numbers the types and modules.
//
// Matrices are rows of floats. A linear layer's weight is kept as (in, out), so that a product walks along it.
// Compiled without contraction: what rounds has to do so as PyTorch does, operation by operation.

#include <math.h>
#include <stdint.h>
#include <string.h>

#include "interface.h"

#define EPSILON 1e-6f

#if defined(__AVX512F__)
#include <immintrin.h>
typedef __m512 vec;
#define LANES 16
#define TILE_ROWS 6
#define TILE_VECS 4
#define LOAD(p) _mm512_loadu_ps(p)
#define STORE(p, v) _mm512_storeu_ps(p, v)
#define SPREAD(x) _mm512_set1_ps(x)
#define FMA(a, b, c) _mm512_fmadd_ps(a, b, c)
#elif defined(__AVX2__) && defined(__FMA__)
#include <immintrin.h>
typedef __m256 vec;
#define LANES 8
#define TILE_ROWS 6
#define TILE_VECS 2
#define LOAD(p) _mm256_loadu_ps(p)
#define STORE(p, v) _mm256_storeu_ps(p, v)
#define SPREAD(x) _mm256_set1_ps(x)
#define FMA(a, b, c) _mm256_fmadd_ps(a, b, c)
#elif defined(__ARM_NEON)
#include <arm_neon.h>
typedef float32x4_t vec;
#define LANES 4
#define TILE_ROWS 6
#define TILE_VECS 4
#define LOAD(p) vld1q_f32(p)
#define STORE(p, v) vst1q_f32(p, v)
#define SPREAD(x) vdupq_n_f32(x)
#define FMA(a, b, c) vfmaq_f32(c, a, b)
#else
typedef float vec __attribute__((vector_size(16), aligned(4)));
#define LANES 4
#define TILE_ROWS 4
#define TILE_VECS 2
#define LOAD(p) (*(const vec *)(p))
#define STORE(p, v) (*(vec *)(p) = (v))
#define SPREAD(x) ((vec){(x), (x), (x), (x)})
#define FMA(a, b, c) ((a) * (b) + (c))
#endif

#define INLINE static inline __attribute__((always_inline))

// Matrix products

// y += x w, or y = bias + x w at the beginning of the sum.
INLINE void tile(const int rows, const int vecs, const float *x, long x_row, const float *w, long w_row, int in,
                 int begin, const float *bias, float *y, long y_row) {
    vec sum[TILE_ROWS][TILE_VECS];
    for (int r = 0; r < rows; r++)
        for (int c = 0; c < vecs; c++) {
            const float *from = begin ? bias : y + r * y_row;
            sum[r][c] = from ? LOAD(from + c * LANES) : SPREAD(0.0f);
        }
    for (int k = 0; k < in; k++) {
        vec along[TILE_VECS];
        for (int c = 0; c < vecs; c++) along[c] = LOAD(w + k * w_row + c * LANES);
        for (int r = 0; r < rows; r++) {
            vec one = SPREAD(x[r * x_row + k]);
            for (int c = 0; c < vecs; c++) sum[r][c] = FMA(one, along[c], sum[r][c]);
        }
    }
    for (int r = 0; r < rows; r++)
        for (int c = 0; c < vecs; c++) STORE(y + r * y_row + c * LANES, sum[r][c]);
}

#define TILE(rows, vecs) tile(rows, vecs, x + r * x_row, x_row, w, w_row, in, begin, bias, y + r * y_row, y_row)
#define TILES(vecs)                                     \
    for (; r + TILE_ROWS <= rows; r += TILE_ROWS)       \
        TILE(TILE_ROWS, vecs);                          \
    switch (rows - r) {                                 \
    case 5: TILE((5 < TILE_ROWS ? 5 : 1), vecs); break; \
    case 4: TILE((4 < TILE_ROWS ? 4 : 1), vecs); break; \
    case 3: TILE(3, vecs); break;                       \
    case 2: TILE(2, vecs); break;                       \
    case 1: TILE(1, vecs); break;                       \
    }

// All rows of as many outputs as a tile has (wide), or as a vector.
static void column(int wide, const float *x, long x_row, int rows, const float *w, long w_row, int in, int begin,
                   const float *bias, float *y, long y_row) {
    int r = 0;
    if (wide) {
        TILES(TILE_VECS)
    } else {
        TILES(1)
    }
}

#define WIDE (TILE_VECS * LANES)
#define DEEP 256   // inputs at a time of a weight that no cache holds,
#define COLUMNS 512 // and outputs

// y (rows, out) = x (rows, in) w (in, out) + bias; how a row is computed does not depend on the others.
static void product(const float *x, long x_row, int rows, const float *w, long w_row, int in, int out,
                    const float *bias, float *y, long y_row) {
    int c = 0;
    if ((long)in * out > 1 << 18) {
        // A part of the weight after another, copied together: its rows are pages apart.
        float part[DEEP * COLUMNS];
        int end = out / WIDE * WIDE;
        for (; c < end; c += COLUMNS) {
            int here = end - c < COLUMNS ? end - c : COLUMNS;
            for (int k = 0; k < in; k += DEEP) {
                int deep = in - k < DEEP ? in - k : DEEP;
                for (int i = 0; i < deep; i++)
                    for (int j = 0; j < here; j += WIDE)
                        memcpy(part + (long)j * deep + i * WIDE, w + (long)(k + i) * w_row + c + j,
                               WIDE * sizeof(float));
                for (int j = 0; j < here; j += WIDE)
                    column(1, x + k, x_row, rows, part + (long)j * deep, WIDE, deep, k == 0, bias ? bias + c + j : 0,
                           y + c + j, y_row);
            }
        }
        c = end;
    }
    for (; c + WIDE <= out; c += WIDE)
        column(1, x, x_row, rows, w + c, w_row, in, 1, bias ? bias + c : 0, y + c, y_row);
    for (; c + LANES <= out; c += LANES)
        column(0, x, x_row, rows, w + c, w_row, in, 1, bias ? bias + c : 0, y + c, y_row);
    for (; c < out; c++)
        for (int r = 0; r < rows; r++) {
            float sum = bias ? bias[c] : 0.0f;
            for (int k = 0; k < in; k++) sum = fmaf(x[r * x_row + k], w[k * w_row + c], sum);
            y[r * y_row + c] = sum;
        }
}

static void linear(const float *x, int rows, const Linear *of, float *y) {
    product(x, of->inputs, rows, of->weight, of->outputs, (int)of->inputs, (int)of->outputs, of->bias, y,
            of->outputs);
}

// Functions of single numbers, in the form that compilers turn into vector operations

INLINE float from_bits(uint32_t bits) {
    float x;
    memcpy(&x, &bits, 4);
    return x;
}

INLINE uint32_t to_bits(float x) {
    uint32_t bits;
    memcpy(&bits, &x, 4);
    return bits;
}

INLINE float exponential(float x) {
    x = x < -87.0f ? -87.0f : x > 88.0f ? 88.0f : x;
    float n = rintf(x * 1.44269504f);
    float r = fmaf(n, -0.693359375f, x);
    r = fmaf(n, 2.12194440e-4f, r);
    float p = 1.9875691500e-4f;
    p = fmaf(p, r, 1.3981999507e-3f);
    p = fmaf(p, r, 8.3334519073e-3f);
    p = fmaf(p, r, 4.1665795894e-2f);
    p = fmaf(p, r, 1.6666665459e-1f);
    p = fmaf(p, r, 5.0000001201e-1f);
    p = fmaf(p, r * r, r + 1.0f);
    return p * from_bits((uint32_t)((int32_t)n + 127) << 23);
}

// x times the logistic function of some u; tanh(u / 2) = 2 logistic(u) - 1. A NaN stays one: it is multiplied in.
INLINE float gelu(float x) {
    float u = 1.59576912f * fmaf(0.044715f * x * x, x, x);
    return x / (1.0f + exponential(-u));
}

INLINE float silu(float x) { return x / (1.0f + exponential(-x)); }

// Rounding; see quant/casts.py for what and engine/compiled/rounding.py for how

INLINE float sign_of(float x, float sign) {
    return from_bits((to_bits(x) & 0x7FFFFFFFu) | (to_bits(sign) & 0x80000000u));
}

INLINE float mantissa(float x, float shift, float smallest) {
    float power = from_bits(to_bits(x) & 0x7F800000u);
    float by = (power < smallest ? smallest : power) * shift;
    return sign_of((x + by) - by, x);
}

INLINE float within(float x, float largest) { return x < -largest ? -largest : x > largest ? largest : x; }

INLINE float to_float16(float x) {
    float near = mantissa(x, 12288.0f, 6.103515625e-05f); // 1.5 * 2^13, 2^-14
    return fabsf(x) >= 65520.0f ? sign_of(INFINITY, x) : near;
}

INLINE float to_bfloat16(float x) {
    uint32_t bits = to_bits(x);
    float near = from_bits((bits + 0x7FFFu + ((bits >> 16) & 1u)) & 0xFFFF0000u);
    return x != x ? x : near;
}

INLINE float to_e4m3(float x) { return mantissa(within(x, 448.0f), 1572864.0f, 0.015625f); }

INLINE float to_e5m2(float x) { return mantissa(within(x, 57344.0f), 3145728.0f, 6.103515625e-05f); }

typedef struct {
    float low, high, most; // most: the largest magnitude
    int broken;            // there is a NaN
} Range;

static Range range_of(const float *x, long row, int rows, int cols) {
    float low = INFINITY, high = -INFINITY;
    int broken = 0;
    for (int r = 0; r < rows; r++) {
        const float *at = x + r * row;
#pragma omp simd reduction(min : low) reduction(max : high) reduction(| : broken)
        for (int c = 0; c < cols; c++) {
            low = at[c] < low ? at[c] : low;
            high = at[c] > high ? at[c] : high;
            broken |= at[c] != at[c];
        }
    }
    if (broken) low = high = NAN;
    return (Range){low, high, broken ? NAN : (-low > high ? -low : high), broken};
}

INLINE uint32_t ordered(float x) {
    uint32_t bits = to_bits(x);
    return bits ^ ((uint32_t)((int32_t)bits >> 31) | 0x80000000u);
}

INLINE float from_ordered(uint32_t key) {
    return from_bits(key & 0x80000000u ? key & 0x7FFFFFFFu : ~key);
}

// The lower median of numbers between low and high: the bits of a float, as an integer in the same order, are
// searched by halves, with all numbers counted that lie below. Vector operations count faster than a sort moves.
static float lower_median(const float *x, long row, int rows, int cols, float low, float high) {
    long rank = ((long)rows * cols - 1) / 2;
    uint32_t least = ordered(low), most = ordered(high);
    while (least < most) {
        uint32_t middle = least + (most - least) / 2 + 1;
        float bound = from_ordered(middle);
        long below = 0;
        for (int r = 0; r < rows; r++) {
            const float *at = x + r * row;
            int count = 0;
#pragma omp simd reduction(+ : count)
            for (int c = 0; c < cols; c++) count += at[c] < bound;
            below += count;
        }
        if (below == rank) { // the least of the others is it
            float next = high;
            for (int r = 0; r < rows; r++) {
                const float *at = x + r * row;
#pragma omp simd reduction(min : next)
                for (int c = 0; c < cols; c++) {
                    float v = at[c] < bound ? high : at[c];
                    next = v < next ? v : next;
                }
            }
            return next;
        }
        if (below < rank)
            least = middle;
        else
            most = middle - 1;
    }
    return from_ordered(least);
}

#define EACH(value)                                    \
    for (int r = 0; r < rows; r++) {                   \
        float *at = x + r * row;                       \
        for (int c = 0; c < cols; c++) {               \
            float v = at[c];                           \
            at[c] = (value);                           \
        }                                              \
    }

// Round all numbers of a matrix (rows, cols) that share a scale, if their kind of rounding has one.
static void round_group(int kind, float *x, long row, int rows, int cols) {
    if (kind == FLOAT16) {
        EACH(to_float16(v))
    } else if (kind == BFLOAT16) {
        EACH(to_bfloat16(v))
    } else if (kind == FLOAT8_E4M3) {
        EACH(to_e4m3(v))
    } else if (kind == FLOAT8_E5M2) {
        EACH(to_e5m2(v))
    } else if (kind == INT8 || kind == INT4) {
        float scale = range_of(x, row, rows, cols).most / (kind == INT8 ? 127.0f : 7.0f);
        scale = scale < 1e-38f ? 1e-38f : scale;
        EACH(rintf(v / scale) * scale)
    } else if (kind == UINT32) {
        Range of = range_of(x, row, rows, cols);
        float low = of.low, scale = (of.high - of.low) / 4294967296.0f;
        scale = scale < 1e-38f ? 1e-38f : scale;
        for (int r = 0; r < rows; r++) {
            float *at = x + r * row;
            for (int c = 0; c < cols; c++) {
                float steps = rintf((at[c] - low) / scale);
                steps = steps < 0.0f ? 0.0f : steps > 4294967296.0f ? 4294967296.0f : steps;
                at[c] = steps * scale + low;
            }
        }
    } else if (kind == INT32) {
        Range of = range_of(x, row, rows, cols);
        float scale = (of.high - of.low) / -4294967296.0f;
        if (scale == 0.0f) return;
        float zero = of.low / scale - 2147483648.0f;
        for (int r = 0; r < rows; r++) {
            float *at = x + r * row;
            for (int c = 0; c < cols; c++) {
                float steps = rintf(at[c] / scale) + zero;
                steps = steps > 2147483648.0f ? 2147483648.0f : steps;
                steps = steps <= -2147483648.0f ? 2147483648.0f : steps;
                at[c] = (steps - zero) * scale;
            }
        }
    } else if (kind == BOOLEAN) {
        Range of = range_of(x, row, rows, cols);
        float low = of.low, high = of.high;
        float median = of.broken ? NAN : lower_median(x, row, rows, cols, low, high);
        for (int r = 0; r < rows; r++) {
            float *at = x + r * row;
            for (int c = 0; c < cols; c++) {
                float above = at[c] > median ? 1.0f : 0.0f;
                at[c] = (above - 1.0f) * -low + above * high;
            }
        }
    }
}

void headless_eval_round(int kind, float *x, int64_t row, int rows, int cols) {
    round_group(kind, x, (long)row, rows, cols);
}

// Round the output of a module if it is one of those that are rounded.
static void round_leaf(const Model *m, int64_t leaf, float *x, long row, int samples, int tokens, int cols) {
    if (m->rounding == NONE || !m->rounds[leaf]) return;
    int groups = m->by_token ? samples * tokens : samples, rows = m->by_token ? 1 : tokens;
    for (int group = 0; group < groups; group++)
        round_group(m->rounding, x + (long)group * rows * row, row, rows, cols);
    if (!m->fired[leaf]) m->fired[leaf] = 1;
}

// Pieces of layers

static void layer_norm(const float *x, int rows, int width, const float *weight, const float *shift, float *y) {
    for (int r = 0; r < rows; r++, x += width, y += width) {
        float sum = 0.0f, squares = 0.0f;
#pragma omp simd reduction(+ : sum)
        for (int i = 0; i < width; i++) sum += x[i];
        float mean = sum / width;
#pragma omp simd reduction(+ : squares)
        for (int i = 0; i < width; i++) squares += (x[i] - mean) * (x[i] - mean);
        float scale = 1.0f / sqrtf(squares / width + EPSILON);
        for (int i = 0; i < width; i++) y[i] = (x[i] - mean) * scale * weight[i] + shift[i];
    }
}

// With a shift, weight is the whole scale; without one its distance from one.
static void rms_norm(const float *x, int rows, int width, const float *weight, const float *shift, float *y) {
    for (int r = 0; r < rows; r++, x += width, y += width) {
        float squares = 0.0f;
#pragma omp simd reduction(+ : squares)
        for (int i = 0; i < width; i++) squares += x[i] * x[i];
        float scale = 1.0f / sqrtf(squares / width + EPSILON);
        if (shift)
            for (int i = 0; i < width; i++) y[i] = x[i] * scale * weight[i] + shift[i];
        else
            for (int i = 0; i < width; i++) y[i] = x[i] * scale + x[i] * scale * weight[i];
    }
}

static void add(float *x, const float *change, int rows, int width, const float *gate) {
    for (int r = 0; r < rows; r++, x += width, change += width)
        if (gate)
            for (int i = 0; i < width; i++) x[i] += change[i] * gate[i];
        else
            for (int i = 0; i < width; i++) x[i] += change[i];
}

// Turn scores into weights that sum to one; where mask is zero, a key does not count.
static void softmax(float *scores, int keys, float scale, const uint8_t *mask, int masked) {
    float most = -INFINITY, sum = 0.0f;
    for (int i = 0; i < masked; i++) scores[i] = mask[i] ? scores[i] : -INFINITY;
#pragma omp simd reduction(max : most)
    for (int i = 0; i < keys; i++) most = scores[i] > most ? scores[i] : most;
#pragma omp simd reduction(+ : sum)
    for (int i = 0; i < keys; i++) {
        float x = (scores[i] - most) * scale;
        float weight = x < -87.0f ? 0.0f : exponential(x) + (x - x); // a NaN stays one
        scores[i] = weight;
        sum += weight;
    }
    float share = 1.0f / sum;
    for (int i = 0; i < keys; i++) scores[i] *= share;
}

static void rotate(float *x, const float *table, int size) {
    int half = size / 2;
    const float *cos = table, *sin = table + size;
    for (int i = 0; i < half; i++) {
        float a = x[i], b = x[i + half];
        x[i] = a * cos[i] + b * sin[i];
        x[i + half] = b * cos[i + half] + a * sin[i + half];
    }
}

// Places for keys and values of one layer; samples and heads follow each other.
typedef struct {
    float *keys, *values;
    int places; // for each sample: prefix and suffix
} Stored;

// Rotate queries and keys of tokens (batch * tokens, qkv), and store keys and values from place start on.
static void rotate_and_store(const Model *m, const Gemma *of, int64_t leaf, float *qkv, int width, int asked,
                             int batch, int tokens, int start, const float *tables, Stored to) {
    int size = (int)of->size, stored = (int)of->kv_heads * size;
    if (asked) round_leaf(m, leaf + GEMMA_QUERY, qkv, width, batch, tokens, asked);
    round_leaf(m, leaf + GEMMA_KEY, qkv + asked, width, batch, tokens, stored);
    round_leaf(m, leaf + GEMMA_VALUE, qkv + asked + stored, width, batch, tokens, stored);
    for (int b = 0; b < batch; b++)
        for (int t = 0; t < tokens; t++) {
            float *row = qkv + ((long)b * tokens + t) * width;
            const float *table = tables + ((long)b * to.places + start + t) * 2 * size;
            for (int h = 0; h < (asked + stored) / size; h++) rotate(row + h * size, table, size);
            for (int h = 0; h < of->kv_heads; h++) {
                long at = ((long)b * of->kv_heads + h) * to.places * size;
                const float *key = row + asked + h * size, *value = row + asked + stored + h * size;
                for (int i = 0; i < size; i++) to.keys[at + (long)i * to.places + start + t] = key[i];
                memcpy(to.values + at + (long)(start + t) * size, value, size * sizeof(float));
            }
        }
}

// Attend to the first so many places; y is (batch * tokens, heads * size). For π0's suffix, the first token sees
// no later one.
static void attend(const Gemma *of, const float *qkv, int width, int batch, int tokens, Stored from, int keys,
                   const uint8_t *mask, int masked, int first_alone, float *scores, float *y) {
    int size = (int)of->size, heads = (int)of->heads, group = heads / (int)of->kv_heads;
    float scale = 1.0f / sqrtf((float)size);
    for (int b = 0; b < batch; b++)
        for (int h = 0; h < heads; h++) {
            long at = ((long)b * of->kv_heads + h / group) * from.places * size;
            long row = (long)b * tokens;
            product(qkv + row * width + h * size, width, tokens, from.keys + at, from.places, size, keys, 0, scores,
                    keys);
            for (int t = 0; t < tokens; t++) {
                int alone = first_alone && t == 0;
                int seen = alone ? masked + 1 : keys;
                softmax(scores + (long)t * keys, seen, scale, mask + (long)b * masked, masked);
                if (alone) memset(scores + seen, 0, (keys - seen) * sizeof(float));
            }
            product(scores, keys, tokens, from.values + at, size, keys, size, 0, y + row * heads * size + h * size,
                    (long)heads * size);
        }
}

static void gated_mlp(const Model *m, const GemmaLayer *layer, const float *y, int batch, int tokens, float *both,
                      float *change) {
    int rows = batch * tokens, mlp = (int)layer->down.inputs, width = (int)layer->down.outputs;
    linear(y, rows, &layer->gate_up, both);
    round_leaf(m, layer->leaf + GEMMA_GATE, both, 2 * mlp, batch, tokens, mlp);
    round_leaf(m, layer->leaf + GEMMA_UP, both + mlp, 2 * mlp, batch, tokens, mlp);
    for (int r = 0; r < rows; r++) {
        float *gate = both + (long)r * 2 * mlp;
        for (int i = 0; i < mlp; i++) gate[i] = gelu(gate[i]);
    }
    round_leaf(m, layer->leaf + GEMMA_ACTIVATION, both, 2 * mlp, batch, tokens, mlp);
    for (int r = 0; r < rows; r++) {
        float *gate = both + (long)r * 2 * mlp;
        for (int i = 0; i < mlp; i++) gate[i] *= gate[mlp + i];
    }
    product(both, 2 * mlp, rows, layer->down.weight, width, mlp, width, layer->down.bias, change, width);
    round_leaf(m, layer->leaf + GEMMA_DOWN, change, width, batch, tokens, width);
}

// Images (samples, 3, h, w) to tokens (samples * patches, width of the language model)

static void see(const Model *m, const Inference *in, float *x, float *y, float *big, float *scores, float *seen) {
    int samples = (int)(in->batch * in->views), grid = (int)m->grid, side = (int)m->patch, count = grid * grid;
    int rows = samples * count, width = (int)m->vision_width, heads = (int)m->vision_heads, size = width / heads;
    int mlp = (int)m->vision_mlp, pixels = grid * side, depth = 3 * side * side;
    for (int r = 0; r < rows; r++) {
        int sample = r / count, i = r % count / grid, j = r % grid;
        for (int c = 0; c < 3; c++)
            for (int line = 0; line < side; line++) {
                const float *from = in->images + (((long)sample * 3 + c) * pixels + i * side + line) * pixels;
                memcpy(big + (long)r * depth + (c * side + line) * side, from + j * side, side * sizeof(float));
            }
    }
    linear(big, rows, &m->patches, x);
    round_leaf(m, m->leaves[LEAF_PATCHES], x, width, samples, count, width);
    memcpy(y, m->positions, (long)count * width * sizeof(float));
    round_leaf(m, m->leaves[LEAF_POSITIONS], y, width, 1, count, width);
    for (int sample = 0; sample < samples; sample++) add(x + (long)sample * count * width, y, count, width, 0);
    for (int index = 0; index < m->vision_depth; index++) {
        const VisionLayer *layer = m->vision + index;
        layer_norm(x, rows, width, layer->norm1, layer->shift1, y);
        round_leaf(m, layer->leaf + VISION_NORM1, y, width, samples, count, width);
        linear(y, rows, &layer->qkv, big);
        for (int part = 0; part < 3; part++)
            round_leaf(m, layer->leaf + VISION_QUERY + part, big + part * width, 3 * width, samples, count, width);
        float *turned = scores + (long)count * count;
        for (int sample = 0; sample < samples; sample++)
            for (int h = 0; h < heads; h++) {
                float *q = big + (long)sample * count * 3 * width + h * size;
                for (int t = 0; t < count; t++)
                    for (int i = 0; i < size; i++)
                        turned[(long)i * count + t] = q[width + (long)t * 3 * width + i];
                product(q, 3 * width, count, turned, count, size, count, 0, scores, count);
                float scale = 1.0f / sqrtf((float)size);
                for (int t = 0; t < count; t++) softmax(scores + (long)t * count, count, scale, 0, 0);
                product(scores, count, count, q + 2 * width, 3 * width, count, size, 0,
                        y + (long)sample * count * width + h * size, width);
            }
        linear(y, rows, &layer->out, big);
        round_leaf(m, layer->leaf + VISION_OUT, big, width, samples, count, width);
        add(x, big, rows, width, 0);
        layer_norm(x, rows, width, layer->norm2, layer->shift2, y);
        round_leaf(m, layer->leaf + VISION_NORM2, y, width, samples, count, width);
        linear(y, rows, &layer->up, big);
        round_leaf(m, layer->leaf + VISION_UP, big, mlp, samples, count, mlp);
        for (long i = 0; i < (long)rows * mlp; i++) big[i] = gelu(big[i]);
        round_leaf(m, layer->leaf + VISION_ACTIVATION, big, mlp, samples, count, mlp);
        linear(big, rows, &layer->down, y);
        round_leaf(m, layer->leaf + VISION_DOWN, y, width, samples, count, width);
        add(x, y, rows, width, 0);
    }
    layer_norm(x, rows, width, m->vision_norm, m->vision_shift, y);
    round_leaf(m, m->leaves[LEAF_VISION_NORM], y, width, samples, count, width);
    linear(y, rows, &m->projector, seen);
    round_leaf(m, m->leaves[LEAF_PROJECTOR], seen, (int)m->gemma.width, samples, count, (int)m->gemma.width);
}

static Stored stored_by(const Model *m, const Inference *in, int index, int places) {
    long step = in->batch * m->gemma.kv_heads * m->gemma.size * places;
    return (Stored){in->keys + index * step, in->values + index * step, places};
}

// Embed what is seen and said, and leave every layer's keys and values.
static void read_prefix(const Model *m, const Inference *in, const float *seen, int views_tokens, int places, float *x,
                        float *y, float *big, float *scores) {
    int batch = (int)in->batch, slots = (int)in->slots, tokens = views_tokens + slots, width = (int)m->gemma.width;
    int rows = batch * tokens;
    for (int b = 0; b < batch; b++) {
        float *row = y + (long)b * slots * width;
        for (int t = 0; t < slots; t++)
            memcpy(row + (long)t * width, m->words + in->tokens[b * slots + t] * width, width * sizeof(float));
    }
    round_leaf(m, m->leaves[LEAF_WORDS], y, width, batch, slots, width);
    for (int b = 0; b < batch; b++) {
        float *row = x + (long)b * tokens * width;
        memcpy(row, seen + (long)b * views_tokens * width, (long)views_tokens * width * sizeof(float));
        row += (long)views_tokens * width;
        for (long i = 0; i < (long)slots * width; i++) row[i] = y[(long)b * slots * width + i] * m->embed_scale;
    }
    for (int index = 0; index < m->depth; index++) {
        const GemmaLayer *layer = m->language + index;
        Stored to = stored_by(m, in, index, places);
        int last = index == m->depth - 1, out = (int)layer->qkv.outputs;
        int asked = last ? 0 : (int)(m->gemma.heads * m->gemma.size);
        rms_norm(x, rows, width, layer->norm1, 0, y);
        round_leaf(m, layer->leaf + GEMMA_NORM1, y, width, batch, tokens, width);
        linear(y, rows, &layer->qkv, big);
        rotate_and_store(m, &m->gemma, layer->leaf, big, out, asked, batch, tokens, 0, in->tables, to);
        if (last) return;
        attend(&m->gemma, big, out, batch, tokens, to, tokens, in->mask, tokens, 0, scores, y);
        linear(y, rows, &layer->out, big);
        round_leaf(m, layer->leaf + GEMMA_OUT, big, width, batch, tokens, width);
        add(x, big, rows, width, 0);
        rms_norm(x, rows, width, layer->norm2, 0, y);
        round_leaf(m, layer->leaf + GEMMA_NORM2, y, width, batch, tokens, width);
        gated_mlp(m, layer, y, batch, tokens, big, y);
        add(x, y, rows, width, 0);
    }
}

// Follow the flow for one step.
static void flow(const Model *m, const Inference *in, int step, const float *state, int before, float *x, float *y,
                 float *big, float *scores) {
    int batch = (int)in->batch, horizon = (int)m->horizon, own = m->pi05 ? horizon : horizon + 1;
    int width = (int)m->expert.width, dims = (int)m->action_dim, rows = batch * own, places = before + own;
    linear(in->actions, batch * horizon, &m->action_in, y);
    round_leaf(m, m->leaves[LEAF_ACTION_IN], y, width, batch, horizon, width);
    if (m->pi05) {
        memcpy(x, y, (long)rows * width * sizeof(float));
    } else {
        for (int r = 0; r < batch * horizon; r++) {
            memcpy(big + (long)r * 2 * width, y + (long)r * width, width * sizeof(float));
            memcpy(big + (long)r * 2 * width + width, in->times + (long)step * width, width * sizeof(float));
        }
        linear(big, batch * horizon, &m->mix_in, y);
        round_leaf(m, m->leaves[LEAF_MIX_IN], y, width, batch, horizon, width);
        for (long i = 0; i < (long)batch * horizon * width; i++) y[i] = silu(y[i]);
        linear(y, batch * horizon, &m->mix_out, big);
        round_leaf(m, m->leaves[LEAF_MIX_OUT], big, width, batch, horizon, width);
        for (int b = 0; b < batch; b++) {
            memcpy(x + (long)b * own * width, state + (long)b * width, width * sizeof(float));
            memcpy(x + ((long)b * own + 1) * width, big + (long)b * horizon * width,
                   (long)horizon * width * sizeof(float));
        }
    }
    const float *at = in->modulations;
    long next = in->steps * 3 * width; // from one norm to the next
    if (at) at += (long)step * 3 * width;
    for (int index = 0; index < m->depth; index++) {
        const GemmaLayer *layer = m->actions + index;
        Stored to = stored_by(m, in, index, places);
        int out = (int)layer->qkv.outputs;
        rms_norm(x, rows, width, at ? at : layer->norm1, at ? at + width : 0, y);
        if (!at) round_leaf(m, layer->leaf + GEMMA_NORM1, y, width, batch, own, width);
        linear(y, rows, &layer->qkv, big);
        int asked = (int)(m->expert.heads * m->expert.size);
        rotate_and_store(m, &m->expert, layer->leaf, big, out, asked, batch, own, before, in->tables, to);
        attend(&m->expert, big, out, batch, own, to, places, in->mask, before, !m->pi05, scores, y);
        linear(y, rows, &layer->out, big);
        round_leaf(m, layer->leaf + GEMMA_OUT, big, width, batch, own, width);
        add(x, big, rows, width, at ? at + 2 * width : 0);
        if (at) at += next;
        rms_norm(x, rows, width, at ? at : layer->norm2, at ? at + width : 0, y);
        if (!at) round_leaf(m, layer->leaf + GEMMA_NORM2, y, width, batch, own, width);
        gated_mlp(m, layer, y, batch, own, big, y);
        add(x, y, rows, width, at ? at + 2 * width : 0);
        if (at) at += next;
    }
    rms_norm(x, rows, width, at ? at : m->expert_norm, at ? at + width : 0, y);
    if (!at) round_leaf(m, m->leaves[LEAF_EXPERT_NORM], y, width, batch, own, width);
    for (int b = 0; b < batch; b++)
        product(y + ((long)b * own + own - horizon) * width, width, horizon, m->action_out.weight, dims, width, dims,
                m->action_out.bias, big + (long)b * horizon * dims, dims);
    round_leaf(m, m->leaves[LEAF_ACTION_OUT], big, dims, batch, horizon, dims);
    for (long i = 0; i < (long)batch * horizon * dims; i++) in->actions[i] -= big[i] / (float)in->steps;
}

// Scratch: x and y of `widest` numbers a token, big of `biggest`, and scores; see engine.py.
void headless_eval_infer(const Model *m, const Inference *in, int64_t wide, int64_t big_size, int64_t scores_size) {
    float *x = in->scratch, *y = x + wide, *seen = y + wide, *big = seen + wide, *scores = big + big_size;
    float *state = scores + scores_size;
    int views_tokens = (int)(in->views * m->grid * m->grid), before = views_tokens + (int)in->slots;
    int own = (int)m->horizon + !m->pi05, batch = (int)in->batch, width = (int)m->expert.width;
    if (in->views) see(m, in, x, y, big, scores, seen);
    read_prefix(m, in, seen, views_tokens, before + own, x, y, big, scores);
    if (!m->pi05) {
        linear(in->state, batch, &m->state, state);
        round_leaf(m, m->leaves[LEAF_STATE], state, width, batch, 1, width);
    }
    for (int step = 0; step < in->steps; step++) flow(m, in, step, state, before, x, y, big, scores);
}

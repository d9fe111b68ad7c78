// A flow step at a small batch: products of a few rows with large weights, and attention between them.
//
// Such a product takes the time of reading its weights, and a step is seventy of them, one after the other. So each
// does as much as it can between one read and the next (norm, product, rotary positions, GELU, gate, residual), starts
// while the one before still runs, asks for its weights, and only then waits (programmatic dependent launch).
//
// Warps share a product along its inputs. Each lane loads 16 bytes of a weight's row at a time and hands them to the
// matrix unit as they are: the unit's order of inputs is as good as any other while rows and weights agree on it.
//
// Compiled for one model by these macros:
//   TYPE     of rows and arithmetic: 0 bfloat16, 1 float16, 2 float32 (as three TF32 products, which keep its digits)
//   WEIGHT   0 the same, 1 float8 e4m3, 2 int8; the latter with a scale per output
//   WIDTH, MLP, HEADS, SIZE (of a head), DIM (of an action), KEYS (per program of attention)

typedef unsigned int u32;
typedef unsigned long long u64;
typedef unsigned short u16;

#define INNER (HEADS * SIZE)
#define HALF (SIZE / 2)
#define WARPS 8
#define THREADS (32 * WARPS)
#define EPSILON 1e-6f

// Programs on a multiprocessor: few registers each, so that those to come find room to wait in.
#if TYPE == 2
typedef float T;
#define EACH 4  // numbers in 16 bytes
#define RESIDENT 2
#else
typedef u16 T;
#define EACH 8
#define RESIDENT 3
#endif
#define CHUNK (4 * EACH)  // inputs that a warp takes at a time

#if WEIGHT == 0
typedef T W;
typedef uint4 Raw;
#else
typedef unsigned char W;
typedef uint2 Raw;
#endif

struct Part { u32 w[4]; };  // 16 bytes of rows or weights

#define DEVICE static __device__ __forceinline__

// The next kernel starts when all of this one's programs have come here. Where, in each kernel, was found by trying:
// early, its copies overlap with this kernel's work; late, they do not take its place.
DEVICE void start_next() { asm volatile("griddepcontrol.launch_dependents;" ::: "memory"); }
DEVICE void wait_for_last() { asm volatile("griddepcontrol.wait;" ::: "memory"); }

DEVICE float low(u32 two) {
#if TYPE == 0
    return __uint_as_float(two << 16);
#else
    float x;
    asm("{ .reg .f16 a, b; mov.b32 {a, b}, %1; cvt.f32.f16 %0, a; }" : "=f"(x) : "r"(two));
    return x;
#endif
}

DEVICE float high(u32 two) {
#if TYPE == 0
    return __uint_as_float(two & 0xffff0000u);
#else
    float x;
    asm("{ .reg .f16 a, b; mov.b32 {a, b}, %1; cvt.f32.f16 %0, b; }" : "=f"(x) : "r"(two));
    return x;
#endif
}

DEVICE u32 pack(float first, float second) {
    u32 two;
#if TYPE == 0
    asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(two) : "f"(second), "f"(first));
#else
    asm("cvt.rn.f16x2.f32 %0, %1, %2;" : "=r"(two) : "f"(second), "f"(first));
#endif
    return two;
}

DEVICE float number(T x) {
#if TYPE == 2
    return x;
#else
    return low(x);
#endif
}

DEVICE T as_type(float x) {
#if TYPE == 2
    return x;
#else
    return (T)(pack(x, 0.0f) & 0xffffu);
#endif
}

// Copies into shared memory go on while their thread waits for the kernel ahead; they keep no register.
DEVICE void ask(uint4 *to, const void *at) {
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16;" :: "r"((u32)__cvta_generic_to_shared(to)), "l"(at) : "memory");
}

DEVICE void ask(uint2 *to, const void *at) {
    asm volatile("cp.async.ca.shared.global [%0], [%1], 8;" :: "r"((u32)__cvta_generic_to_shared(to)), "l"(at) : "memory");
}

DEVICE void wait_for_copies() { asm volatile("cp.async.wait_all;" ::: "memory"); }

DEVICE Part part(uint4 v) { return {{v.x, v.y, v.z, v.w}}; }

DEVICE Part row_part(const T *at, bool there) {
    return there ? part(*(const uint4 *)at) : Part{{0, 0, 0, 0}};
}

DEVICE Part expand(uint4 v) { return part(v); }
#if WEIGHT
DEVICE void expand_four(u32 four, u32 *to) {
#if WEIGHT == 1
    u32 a, b;
    asm("{ .reg .b16 l, h; mov.b32 {l, h}, %2; cvt.rn.f16x2.e4m3x2 %0, l; cvt.rn.f16x2.e4m3x2 %1, h; }"
        : "=r"(a), "=r"(b) : "r"(four));
    float x[4];
    asm("{ .reg .f16 l, h; mov.b32 {l, h}, %2; cvt.f32.f16 %0, l; cvt.f32.f16 %1, h; }"
        : "=f"(x[0]), "=f"(x[1]) : "r"(a));
    asm("{ .reg .f16 l, h; mov.b32 {l, h}, %2; cvt.f32.f16 %0, l; cvt.f32.f16 %1, h; }"
        : "=f"(x[2]), "=f"(x[3]) : "r"(b));
    to[0] = pack(x[0], x[1]);
    to[1] = pack(x[2], x[3]);
#else
    to[0] = pack((float)(signed char)(four), (float)(signed char)(four >> 8));
    to[1] = pack((float)(signed char)(four >> 16), (float)(signed char)(four >> 24));
#endif
}
DEVICE Part expand(uint2 v) {
    Part p;
    expand_four(v.x, p.w);
    expand_four(v.y, p.w + 2);
    return p;
}
#endif

// acc + more (16 rows, 8 outputs) += rows g and g + 8 (u, z) times weights v, over one chunk of inputs. The matrix unit
// takes its time from one result to the next: where there are two sums, they take turns.
DEVICE void multiply(float *acc, float *more, const Part &u, const Part &z, const Part &v) {
#if TYPE == 2
#define TF32(acc, a0, a1, a2, a3, b0, b1) \
    asm("mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};" \
        : "+f"(acc[0]), "+f"(acc[1]), "+f"(acc[2]), "+f"(acc[3]) \
        : "r"(a0), "r"(a1), "r"(a2), "r"(a3), "r"(b0), "r"(b1))
    u32 ub[4], zb[4], vb[4], us[4], zs[4], vs[4];  // what TF32 holds of a number, and what it leaves
#pragma unroll
    for (int i = 0; i < 4; i++) {
#define SPLIT(whole, big, small) \
        asm("cvt.rna.tf32.f32 %0, %1;" : "=r"(big) : "f"(__uint_as_float(whole))); \
        asm("cvt.rna.tf32.f32 %0, %1;" : "=r"(small) : "f"(__uint_as_float(whole) - __uint_as_float(big)))
        SPLIT(u.w[i], ub[i], us[i]);
        SPLIT(z.w[i], zb[i], zs[i]);
        SPLIT(v.w[i], vb[i], vs[i]);
    }
#pragma unroll
    for (int i = 0; i < 4; i += 2) {
        TF32(more, us[i], zs[i], us[i + 1], zs[i + 1], vb[i], vb[i + 1]);
        TF32(more, ub[i], zb[i], ub[i + 1], zb[i + 1], vs[i], vs[i + 1]);
        TF32(acc, ub[i], zb[i], ub[i + 1], zb[i + 1], vb[i], vb[i + 1]);
    }
#else
#if TYPE == 0
#define KIND "bf16.bf16"
#else
#define KIND "f16.f16"
#endif
#define MMA(acc, a0, a1, a2, a3, b0, b1) \
    asm("mma.sync.aligned.m16n8k16.row.col.f32." KIND ".f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};" \
        : "+f"((acc)[0]), "+f"((acc)[1]), "+f"((acc)[2]), "+f"((acc)[3]) \
        : "r"(a0), "r"(a1), "r"(a2), "r"(a3), "r"(b0), "r"(b1))
    MMA(acc, u.w[0], z.w[0], u.w[1], z.w[1], v.w[0], v.w[1]);
    MMA(more, u.w[2], z.w[2], u.w[3], z.w[3], v.w[2], v.w[3]);
#endif
}

// Multiply by a scale and add the squares of what was there to `squares`.
DEVICE Part scaled(const Part &u, const Part &by, float &squares) {
    Part out;
#pragma unroll
    for (int i = 0; i < 4; i++) {
#if TYPE == 2
        float x = __uint_as_float(u.w[i]);
        squares += x * x;
        out.w[i] = __float_as_uint(x * __uint_as_float(by.w[i]));
#else
        float x = low(u.w[i]), y = high(u.w[i]);
        squares += x * x + y * y;
        out.w[i] = pack(x * low(by.w[i]), y * high(by.w[i]));
#endif
    }
    return out;
}

struct Lane {
    int warp, row, quarter;  // the lane's row (and output) of eight, and which quarter of a chunk it loads
    __device__ Lane() : warp(threadIdx.x / 32), row(threadIdx.x % 32 / 4), quarter(threadIdx.x % 4) {}
};

// A warp's share of sums goes through shared memory in two halves, which are as many buffers as there is room for.
#define BUFFERS (WARPS / 2)

// The products of blocks of rows with the weights of 8 * TILES outputs, `column(tile, row)` each.
// Every thread copies to shared memory, and reads there, its own part of the weights: nobody else's.
template <int TILES, int DEPTH, bool NORM, typename Stored = Raw, typename From = W>
struct Product {
    static constexpr int CHUNKS = DEPTH / (WARPS * CHUNK);
    struct Memory {
        Stored weights[TILES * CHUNKS][THREADS];
        uint4 scale[NORM ? CHUNKS : 1][WARPS][4];
        float sums[BUFFERS * TILES * 128], squares[WARPS * 16];
    };
    Memory &memory;
    Lane lane;

    __device__ Product(Memory &memory) : memory(memory) {}

    __device__ int input(int chunk) const {
        return lane.warp * (CHUNKS * CHUNK) + chunk * CHUNK + lane.quarter * EACH;
    }

    template <typename Column>
    __device__ void ask_for(const From *w, const T *by, Column column) {
#pragma unroll
        for (int c = 0; c < CHUNKS; c++) {
#pragma unroll
            for (int t = 0; t < TILES; t++)
                ask(&memory.weights[t * CHUNKS + c][threadIdx.x], w + (u64)column(t, lane.row) * DEPTH + input(c));
            if (NORM && lane.row == 0) ask(&memory.scale[c][lane.warp][lane.quarter], by + input(c));
        }
    }

    // Leaves sums of products in memory.sums (BUFFERS, TILES, 16, 8), and of squares in memory.squares (WARPS, 16).
    __device__ void operator()(const T *x, int first, int rows) const {
        constexpr int TURNS = TILES > 2 ? 1 : 2;
        float turn[TURNS][TILES][4] = {}, square[2] = {0.0f, 0.0f};
        int one = first + lane.row, two = one + 8;
        constexpr int AT_ONCE = CHUNKS < 8 ? CHUNKS : 8;
#pragma unroll
        for (int start = 0; start < CHUNKS; start += AT_ONCE) {
            Part u[AT_ONCE], z[AT_ONCE];
#pragma unroll
            for (int c = 0; c < AT_ONCE; c++) {
                u[c] = row_part(x + (u64)one * DEPTH + input(start + c), one < rows);
                z[c] = row_part(x + (u64)two * DEPTH + input(start + c), two < rows);
            }
            if (start == 0) {
                wait_for_copies();
                __syncwarp();  // of the scale, lanes read what others copied
            }
#pragma unroll
            for (int c = 0; c < AT_ONCE; c++) {
                if (NORM) {
                    Part by = part(memory.scale[start + c][lane.warp][lane.quarter]);
                    u[c] = scaled(u[c], by, square[0]);
                    z[c] = scaled(z[c], by, square[1]);
                }
#pragma unroll
                for (int t = 0; t < TILES; t++)
                    multiply(turn[0][t], turn[TURNS - 1][t], u[c], z[c],
                             expand(memory.weights[t * CHUNKS + start + c][threadIdx.x]));
            }
        }
        float(*acc)[4] = turn[0];
        if (TURNS == 2)
#pragma unroll
            for (int i = 0; i < 4 * TILES; i++) acc[i / 4][i % 4] += turn[TURNS - 1][i / 4][i % 4];
        float *to = memory.sums + (lane.warp % BUFFERS * TILES * 16 + lane.row) * 8 + 2 * lane.quarter;
        __syncthreads();  // the block of rows before is done with
        if (lane.warp >= BUFFERS) store<false>(acc, to);
        if (NORM) {
#pragma unroll
            for (int i = 0; i < 2; i++) {
                square[i] += __shfl_xor_sync(0xffffffffu, square[i], 1);
                square[i] += __shfl_xor_sync(0xffffffffu, square[i], 2);
                if (lane.quarter == 0) memory.squares[lane.warp * 16 + lane.row + 8 * i] = square[i];
            }
        }
        __syncthreads();
        if (lane.warp < BUFFERS) store<true>(acc, to);
        __syncthreads();
    }

    template <bool ADD>
    static __device__ void store(const float (*acc)[4], float *to) {
#pragma unroll
        for (int t = 0; t < TILES; t++)
#pragma unroll
            for (int i = 0; i < 2; i++) {
                float2 *at = (float2 *)(to + t * 128 + i * 64);
                float2 before = ADD ? *at : make_float2(0.0f, 0.0f);
                *at = make_float2(before.x + acc[t][2 * i], before.y + acc[t][2 * i + 1]);
            }
    }

    __device__ float2 pair(int tile, int row, int pair) const {
        float2 sum = make_float2(0.0f, 0.0f);
#pragma unroll
        for (int i = 0; i < BUFFERS; i++) {
            float2 share = *(const float2 *)(memory.sums + ((i * TILES + tile) * 16 + row) * 8 + 2 * pair);
            sum.x += share.x;
            sum.y += share.y;
        }
        return sum;
    }

    // What makes a row's root mean square one.
    __device__ float unit(int row) const {
        float sum = 0.0f;
#pragma unroll
        for (int warp = 0; warp < WARPS; warp++) sum += memory.squares[warp * 16 + row];
        return rsqrtf(sum / DEPTH + EPSILON);
    }
};

extern __shared__ uint4 shared_memory[];

DEVICE float gelu(float x) {
    return x / (1.0f + __expf(-1.5957691216057308f * (x + 0.044715f * x * x * x)));
}

// Norm, projection, rotary positions: queries to q (rows, INNER), keys and values to their slots.
#define QKV_TILES 2
extern "C" __global__ void __launch_bounds__(THREADS, RESIDENT)
norm_qkv(const T *x, const T *scale, const float *bias, const W *w, const float *w_scales, T *q, T *keys, T *values,
         const float *table, const int *lengths, int rows, int tokens, int before, int slots) {
    typedef Product<QKV_TILES, WIDTH, true> Qkv;
    Qkv product(*(Qkv::Memory *)shared_memory);
    int begin = blockIdx.x * (4 * QKV_TILES), head = begin / HALF, start = begin % HALF;
    // Of the 8 outputs of a tile, pairs of neighbours are what the rotation mixes.
    auto column = [&](int t, int n) { return head * SIZE + (n & 1) * HALF + start + t * 4 + n / 2; };
    int t = threadIdx.x / 64 % QKV_TILES, row = threadIdx.x / 4 % 16, pair = threadIdx.x % 4;
    int i = start + t * 4 + pair, one = head * SIZE + i, two = one + HALF;
    float2 added = make_float2(bias[one], bias[two]);
#if WEIGHT
    float2 by = make_float2(w_scales[one], w_scales[two]);
#endif
    product.ask_for(w, scale, column);
    wait_for_last();
    start_next();
    for (int first = 0; first < rows; first += 16) {
        // What the result needs besides is on its way while the product is made.
        bool mine = threadIdx.x < QKV_TILES * 64 && first + row < rows;
        int sample = mine ? (first + row) / tokens : 0, token = (first + row) % tokens;
        const float *turn = table + (u64)(lengths[sample] + token) * SIZE + i;
        float cosine = mine ? turn[0] : 1.0f, sine = mine ? turn[HALF] : 0.0f;
        product(x, first, rows);
        if (!mine) continue;
        float2 y = product.pair(t, row, pair);
        float unit = product.unit(row);
#if WEIGHT
        y.x *= by.x;
        y.y *= by.y;
#endif
        y.x = y.x * unit + added.x;
        y.y = y.y * unit + added.y;
        if (head <= HEADS) y = make_float2(y.x * cosine - y.y * sine, y.y * cosine + y.x * sine);
        T *to = head < HEADS ? q + (u64)(first + row) * INNER + head * SIZE
                             : (head == HEADS ? keys : values) + ((u64)sample * slots + before + token) * SIZE;
        to[i] = as_type(y.x);
        to[i + HALF] = as_type(y.y);
    }
}

// Norm, projection to gates and ups, GELU of the gate times up: out (rows, MLP).
#if TYPE == 2
#define GATE_TILES 2
#else
#define GATE_TILES 8
#endif
#define GATES_EACH ((GATE_TILES * 64 + THREADS - 1) / THREADS)
extern "C" __global__ void __launch_bounds__(THREADS, 2)
norm_gate_up(const T *x, const T *scale, const float *bias, const W *w, const float *w_scales, T *out, int rows) {
    typedef Product<GATE_TILES, WIDTH, true> GateUp;
    GateUp product(*(GateUp::Memory *)shared_memory);
    int start = blockIdx.x * (4 * GATE_TILES);
    auto column = [&](int t, int n) { return (n & 1) * MLP + start + t * 4 + n / 2; };
    int row = threadIdx.x / 4 % 16, pair = threadIdx.x % 4, tile = threadIdx.x / 64;
    float2 added[GATES_EACH], by[GATES_EACH];
#pragma unroll
    for (int j = 0; j < GATES_EACH; j++) {
        int i = start + (tile + j * (THREADS / 64)) % GATE_TILES * 4 + pair;
        added[j] = make_float2(bias[i], bias[i + MLP]);
        by[j] = WEIGHT ? make_float2(w_scales[i], w_scales[i + MLP]) : make_float2(1.0f, 1.0f);
    }
    product.ask_for(w, scale, column);
    wait_for_last();
    start_next();
    for (int first = 0; first < rows; first += 16) {
        product(x, first, rows);
        if (first + row >= rows) continue;
        float unit = product.unit(row);
#pragma unroll
        for (int j = 0; j < GATES_EACH; j++) {
            int t = tile + j * (THREADS / 64);
            if (t >= GATE_TILES) continue;
            float2 y = product.pair(t, row, pair);
            float gate = y.x * by[j].x * unit + added[j].x, up = y.y * by[j].y * unit + added[j].y;
            out[(u64)(first + row) * MLP + start + t * 4 + pair] = as_type(gelu(gate) * up);
        }
    }
}

// x (rows, WIDTH) += gate * (a (rows, DEPTH) times w), in place.
template <int DEPTH>
DEVICE void add_gated(const T *a, const W *w, const float *w_scales, const T *gate, T *x, int rows) {
    typedef Product<1, DEPTH, false> Out;
    Out product(*(typename Out::Memory *)shared_memory);
    start_next();
    int start = blockIdx.x * 8;
    product.ask_for(w, (const T *)0, [&](int, int n) { return start + n; });
    int row = threadIdx.x / 4, n = start + threadIdx.x % 4 * 2;
    float2 by = make_float2(number(gate[n]), number(gate[n + 1]));
#if WEIGHT
    by.x *= w_scales[n];
    by.y *= w_scales[n + 1];
#endif
    wait_for_last();
    for (int first = 0; first < rows; first += 16) {
        bool mine = row < 16 && first + row < rows;
        T *to = x + (u64)(first + row) * WIDTH + n;
        float2 before = mine ? make_float2(number(to[0]), number(to[1])) : make_float2(0.0f, 0.0f);
        product(a, first, rows);
        if (!mine) continue;
        float2 y = product.pair(0, row, threadIdx.x % 4);
        to[0] = as_type(before.x + y.x * by.x);
        to[1] = as_type(before.y + y.y * by.y);
    }
}

extern "C" __global__ void __launch_bounds__(THREADS, 2)
add_attention(const T *a, const W *w, const float *w_scales, const T *gate, T *x, int rows) {
    add_gated<INNER>(a, w, w_scales, gate, x, rows);
}

extern "C" __global__ void __launch_bounds__(THREADS, 2)
add_mlp(const T *a, const W *w, const float *w_scales, const T *gate, T *x, int rows) {
    add_gated<MLP>(a, w, w_scales, gate, x, rows);
}

// The last norm, the velocity, the Euler step, and the next step's tokens: x_t (rows, DIM) and next (rows, WIDTH).
// These weights are few and stay in the type of the rows.
extern "C" __global__ void __launch_bounds__(THREADS, RESIDENT)
finish(const T *x, const T *scale, const float *bias, const T *w_out, const float *x_t, float *x_t_next,
       const T *w_in, const float *b_in, T *next, int rows, float change) {
    constexpr int TILES = DIM / 8;
    typedef Product<TILES, WIDTH, true, uint4, T> Out;
    Out product(*(Out::Memory *)shared_memory);
    __shared__ float now[16 * DIM];
    start_next();
    int start = blockIdx.x * 8;
    product.ask_for(w_out, scale, [&](int t, int n) { return 8 * t + n; });
    wait_for_last();
    for (int first = 0; first < rows; first += 16) {
        product(x, first, rows);
        for (int at = threadIdx.x; at < 64 * TILES; at += THREADS) {
            int t = at / 64, row = at / 4 % 16, pair = at % 4;
            if (first + row >= rows) continue;
            float2 y = product.pair(t, row, pair);
            float unit = product.unit(row);
            int d = 8 * t + 2 * pair;
            u64 place = (u64)(first + row) * DIM + d;
            float a = x_t[place] - (y.x * unit + bias[d]) * change;
            float b = x_t[place + 1] - (y.y * unit + bias[d + 1]) * change;
            now[row * DIM + d] = a;
            now[row * DIM + d + 1] = b;
            if (blockIdx.x == 0) {
                x_t_next[place] = a;
                x_t_next[place + 1] = b;
            }
        }
        __syncthreads();
        int row = threadIdx.x / 8, n = start + threadIdx.x % 8;
        if (row < 16 && first + row < rows) {
            float y = b_in[n];
#pragma unroll 8
            for (int d = 0; d < DIM; d++) y += number(as_type(now[row * DIM + d])) * number(w_in[n * DIM + d]);
            next[(u64)(first + row) * WIDTH + n] = as_type(y);
        }
    }
}

// Attention of a sample's suffix to the prefix's first `lengths` slots and to itself. Eight programs, a cluster, share
// a head: each has KEYS of the keys, and in the end reads of the others what it needs to finish its share of the rows.
#define SHARERS 8
#define KEY_TILES (KEYS / 8)
#define TILES_EACH ((KEY_TILES + WARPS - 1) / WARPS)
#define KEY_CHUNKS (SIZE / CHUNK)
#define LINES (SIZE / EACH)  // of 16 bytes in a value
#define ROW (SIZE + EACH)    // of values in shared memory, so that a column's numbers lie in different banks
#define KEYS_ROW (KEYS + 8)
#define COLUMNS (SIZE / 8 / WARPS)  // blocks of eight a warp

struct Shared {
    uint4 keys[KEY_TILES * KEY_CHUNKS * 32];
    T values[KEYS * ROW], queries[16 * ROW];
    float scores[16 * KEYS_ROW], sums[16 * SIZE], most[16], total[16];
};

// Read what lies at an address of shared memory in another program of the cluster.
DEVICE u32 of_sharer(const float *mine, int sharer) {
    u32 there;
    asm("mapa.shared::cluster.u32 %0, %1, %2;"
        : "=r"(there) : "r"((u32)__cvta_generic_to_shared(mine)), "r"(sharer));
    return there;
}

DEVICE float read_one(u32 there) {
    float x;
    asm volatile("ld.shared::cluster.f32 %0, [%1];" : "=f"(x) : "r"(there));
    return x;
}

DEVICE float2 read_two(u32 there) {
    float2 x;
    asm volatile("ld.shared::cluster.v2.f32 {%0, %1}, [%2];" : "=f"(x.x), "=f"(x.y) : "r"(there));
    return x;
}

DEVICE void arrive() { asm volatile("barrier.cluster.arrive.aligned;" ::: "memory"); }
DEVICE void meet() { asm volatile("barrier.cluster.wait.aligned;" ::: "memory"); }

// Copy the keys and values of a program's slots between two bounds.
DEVICE void ask_for_keys(Shared &memory, const Lane &lane, const T *k, const T *v, int start, int from, int to) {
#pragma unroll
    for (int t = 0; t < TILES_EACH; t++) {
        int tile = lane.warp + t * WARPS, slot = start + 8 * tile + lane.row;
        if (tile < KEY_TILES && slot >= from && slot < to)
#pragma unroll
            for (int c = 0; c < KEY_CHUNKS; c++)
                ask(&memory.keys[(tile * KEY_CHUNKS + c) * 32 + threadIdx.x % 32],
                    k + (u64)slot * SIZE + c * CHUNK + lane.quarter * EACH);
    }
    for (int at = threadIdx.x; at < KEYS * LINES; at += THREADS) {
        int slot = start + at / LINES;
        if (slot >= from && slot < to)
            ask((uint4 *)(memory.values + at / LINES * ROW + at % LINES * EACH),
                v + (u64)slot * SIZE + at % LINES * EACH);
    }
}

extern "C" __global__ void __launch_bounds__(THREADS, RESIDENT - 1) __cluster_dims__(SHARERS, 1, 1)
attend(const T *q, const T *keys, const T *values, T *out, const int *lengths, int tokens, int before, int slots,
       int has_state, float factor) {
    Shared &memory = *(Shared *)shared_memory;
    start_next();
    Lane lane;
    int share = blockIdx.x, head = blockIdx.y, sample = blockIdx.z, own_lane = threadIdx.x % 32;
    int start = share * KEYS, end = before + tokens;
    const T *k = keys + (u64)sample * slots * SIZE, *v = values + (u64)sample * slots * SIZE;
    // The prefix's keys and values are there already; the suffix's own are not. Slots beyond hold no number.
    ask_for_keys(memory, lane, k, v, start, 0, before);
    for (int at = threadIdx.x; at < KEYS * LINES; at += THREADS)
        if (start + at / LINES >= end)
            *(uint4 *)(memory.values + at / LINES * ROW + at % LINES * EACH) = make_uint4(0, 0, 0, 0);
    wait_for_last();
    ask_for_keys(memory, lane, k, v, start, before, end);
    int length = lengths[sample];
    for (int first = 0; first < tokens; first += 16) {
        // Scores: each warp has some of the keys, every lane those that it copied.
        float acc[2][TILES_EACH][4] = {};
        for (int at = threadIdx.x; at < 16 * LINES; at += THREADS) {
            int row = at / LINES;
            uint4 *to = (uint4 *)(memory.queries + row * ROW + at % LINES * EACH);
            if (first + row < tokens)
                ask(to, q + ((u64)sample * tokens + first + row) * INNER + head * SIZE + at % LINES * EACH);
            else
                *to = make_uint4(0, 0, 0, 0);
        }
        wait_for_copies();
        __syncthreads();
        const T *query = memory.queries + lane.row * ROW + lane.quarter * EACH;
#pragma unroll
        for (int c = 0; c < KEY_CHUNKS; c++) {
            Part u = row_part(query + c * CHUNK, true), z = row_part(query + 8 * ROW + c * CHUNK, true);
#pragma unroll
            for (int t = 0; t < TILES_EACH; t++) {
                int tile = lane.warp + t * WARPS;
                if (tile < KEY_TILES)
                    multiply(acc[0][t], acc[1][t], u, z, part(memory.keys[(tile * KEY_CHUNKS + c) * 32 + own_lane]));
            }
        }
#pragma unroll
        for (int t = 0; t < TILES_EACH; t++) {
            int tile = lane.warp + t * WARPS;
            if (tile < KEY_TILES)
#pragma unroll
                for (int i = 0; i < 4; i++) {
                    int slot = start + 8 * tile + 2 * lane.quarter + (i & 1), row = lane.row + (i & 2) * 4;
                    bool seen = slot < length || (slot >= before && slot < end);
                    // The state's token sees no actions.
                    seen = seen && !(has_state && first + row == 0 && slot > before);
                    memory.scores[row * KEYS_ROW + slot - start] = seen ? (acc[0][t][i] + acc[1][t][i]) * factor : -1e30f;
                }
        }
        __syncthreads();
        // Weights: each warp has two of the rows, half a warp one.
        {
            int row = 2 * lane.warp + own_lane / 16;
            float *of = memory.scores + row * KEYS_ROW + own_lane % 16, mine[KEYS / 16], top = -1e30f, sum = 0.0f;
#pragma unroll
            for (int i = 0; i < KEYS / 16; i++) {
                mine[i] = of[16 * i];
                top = fmaxf(top, mine[i]);
            }
#pragma unroll
            for (int step = 8; step; step /= 2) top = fmaxf(top, __shfl_xor_sync(0xffffffffu, top, step));
#pragma unroll
            for (int i = 0; i < KEYS / 16; i++) {
                float weight = mine[i] > -1e29f ? exp2f(mine[i] - top) : 0.0f;
                of[16 * i] = weight;
                sum += weight;
            }
#pragma unroll
            for (int step = 8; step; step /= 2) sum += __shfl_xor_sync(0xffffffffu, sum, step);
            if (own_lane % 16 == 0) {
                memory.most[row] = top;
                memory.total[row] = sum;
            }
        }
        __syncthreads();
        // Weighted sums of the values: each warp has some of the columns.
        float sum[COLUMNS][4] = {};
        int column = lane.warp * (8 * COLUMNS);
#pragma unroll
        for (int c = 0; c < KEYS / 16; c++) {
#if TYPE == 2
            // A lane's share of 16 keys is four that follow each other.
            const float *one_row = memory.scores + lane.row * KEYS_ROW + 16 * c + 4 * lane.quarter;
            Part a = part(*(const uint4 *)one_row), b = part(*(const uint4 *)(one_row + 8 * KEYS_ROW));
            const float *numbers = memory.values + (16 * c + 4 * lane.quarter) * ROW + column + lane.row;
#pragma unroll
            for (int n = 0; n < COLUMNS; n++, numbers += 8) {
                Part of = {{__float_as_uint(numbers[0]), __float_as_uint(numbers[ROW]),
                            __float_as_uint(numbers[2 * ROW]), __float_as_uint(numbers[3 * ROW])}};
                multiply(sum[n], sum[n], a, b, of);
            }
#else
            const float *one_row = memory.scores + lane.row * KEYS_ROW + 16 * c + 2 * lane.quarter;
            float2 w[4] = {*(const float2 *)one_row, *(const float2 *)(one_row + 8 * KEYS_ROW),
                           *(const float2 *)(one_row + 8), *(const float2 *)(one_row + 8 * KEYS_ROW + 8)};
            u32 a[4];
#pragma unroll
            for (int i = 0; i < 4; i++) a[i] = pack(w[i].x, w[i].y);
            const T *numbers = memory.values + (16 * c + own_lane % 16) * ROW + column + own_lane / 16 * 8;
#pragma unroll
            for (int n = 0; n < COLUMNS; n += 2, numbers += 16) {
                u32 b[4];
                asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
                             : "=r"(b[0]), "=r"(b[1]), "=r"(b[2]), "=r"(b[3])
                             : "r"((u32)__cvta_generic_to_shared(numbers)));
#pragma unroll
                for (int i = 0; i < 2; i++) MMA(sum[n + i], a[0], a[1], a[2], a[3], b[2 * i], b[2 * i + 1]);
            }
#endif
        }
#pragma unroll
        for (int n = 0; n < COLUMNS; n++) {
            float *to = memory.sums + lane.row * SIZE + column + 8 * n + 2 * lane.quarter;
            *(float2 *)to = make_float2(sum[n][0], sum[n][1]);
            *(float2 *)(to + 8 * SIZE) = make_float2(sum[n][2], sum[n][3]);
        }
        arrive();
        meet();
        // Each sharer finishes two of the rows.
        for (int at = 2 * threadIdx.x; at < 2 * SIZE; at += 2 * THREADS) {
            int row = 2 * share + at / SIZE, d = at % SIZE;
            if (first + row >= tokens) continue;
            float top = -1e30f, all = 0.0f, tops[SHARERS], totals[SHARERS];
            float2 y = make_float2(0.0f, 0.0f), ys[SHARERS];
#pragma unroll
            for (int i = 0; i < SHARERS; i++) {
                tops[i] = read_one(of_sharer(memory.most + row, i));
                totals[i] = read_one(of_sharer(memory.total + row, i));
                ys[i] = read_two(of_sharer(memory.sums + row * SIZE + d, i));
            }
#pragma unroll
            for (int i = 0; i < SHARERS; i++) top = fmaxf(top, tops[i]);
#pragma unroll
            for (int i = 0; i < SHARERS; i++) {
                float fade = exp2f(tops[i] - top);
                all += fade * totals[i];
                y.x += fade * ys[i].x;
                y.y += fade * ys[i].y;
            }
            T *to = out + ((u64)sample * tokens + first + row) * INNER + head * SIZE + d;
            to[0] = as_type(y.x / all);
            to[1] = as_type(y.y / all);
        }
        arrive();
        meet();  // nobody leaves, or goes on, while others read
    }
}

// The bytes of shared memory that a launch takes, for the host.
extern "C" __constant__ int shared_bytes[] = {
    sizeof(Product<QKV_TILES, WIDTH, true>::Memory), sizeof(Shared), sizeof(Product<1, INNER, false>::Memory),
    sizeof(Product<GATE_TILES, WIDTH, true>::Memory), sizeof(Product<1, MLP, false>::Memory),
    sizeof(Product<DIM / 8, WIDTH, true, uint4, T>::Memory)};

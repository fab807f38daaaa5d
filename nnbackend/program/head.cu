// What the kernels of a program use. Compiled by NVRTC, and by a C++ compiler for tests.

template <typename T> struct nnb_Limits;
template <> struct nnb_Limits<float> {
    static __device__ float infinity() { return 1.0f / 0.0f; }
};
template <> struct nnb_Limits<double> {
    static __device__ double infinity() { return 1.0 / 0.0; }
};
template <typename T> __device__ inline T nnb_infinity() { return nnb_Limits<T>::infinity(); }
template <typename T> __device__ inline T nnb_nan() { return nnb_infinity<T>() - nnb_infinity<T>(); }
template <typename T> __device__ inline T nnb_lowest() { return -nnb_infinity<T>(); }
template <> __device__ inline int nnb_lowest<int>() { return -2147483647 - 1; }
template <> __device__ inline long long nnb_lowest<long long>() { return -9223372036854775807LL - 1; }
template <typename T> __device__ inline T nnb_highest() { return nnb_infinity<T>(); }
template <> __device__ inline int nnb_highest<int>() { return 2147483647; }
template <> __device__ inline long long nnb_highest<long long>() { return 9223372036854775807LL; }

// Whole numbers wrap around, which C++ leaves undefined for signed ones.
template <typename T> __device__ inline T nnb_add(T a, T b) { return a + b; }
template <> __device__ inline int nnb_add(int a, int b) { return (int)((unsigned)a + (unsigned)b); }
template <typename T> __device__ inline T nnb_subtract(T a, T b) { return a - b; }
template <> __device__ inline int nnb_subtract(int a, int b) { return (int)((unsigned)a - (unsigned)b); }
template <typename T> __device__ inline T nnb_multiply(T a, T b) { return a * b; }
template <> __device__ inline int nnb_multiply(int a, int b) { return (int)((unsigned)a * (unsigned)b); }
template <typename T> __device__ inline T nnb_left(T a, T b) { return (T)((unsigned long long)a << b); }

template <typename T> __device__ inline T nnb_abs(T a) { return a < 0 ? -a : a == 0 ? T(0) : a; }
template <typename T> __device__ inline T nnb_sign(T a) { return a != a ? a : T((a > 0) - (a < 0)); }
template <typename T> __device__ inline bool nnb_isfinite(T a) { return a - a == 0; }
// As in NumPy, NaN is larger and smaller than all.
template <typename T> __device__ inline T nnb_maximum(T a, T b) { return a >= b || a != a ? a : b; }
template <typename T> __device__ inline T nnb_minimum(T a, T b) { return a <= b || a != a ? a : b; }

// Threefry-2x32-20 of the counter (i / 2, step): the words of nnbackend.random.bits.
__device__ inline int nnb_random_bits(unsigned k0, unsigned k1, unsigned i, int step) {
    const unsigned keys[3] = {k0, k1, k0 ^ k1 ^ 0x1BD11BDAu};
    const int rotations[2][4] = {{13, 15, 26, 6}, {17, 29, 16, 24}};
    unsigned x0 = i / 2 + keys[0], x1 = (unsigned)step + keys[1];
    for (int group = 0; group < 5; group++) {
        for (int k = 0; k < 4; k++) {
            const int rotation = rotations[group % 2][k];
            x0 += x1;
            x1 = (x1 << rotation) | (x1 >> (32 - rotation));
            x1 ^= x0;
        }
        x0 += keys[(group + 1) % 3];
        x1 += keys[(group + 2) % 3] + group + 1;
    }
    return (int)(i % 2 ? x1 : x0);
}

// The functions of reductions.
struct nnb_Add { template <typename T> static __device__ T of(T a, T b) { return a + b; } };
struct nnb_Maximum { template <typename T> static __device__ T of(T a, T b) { return nnb_maximum(a, b); } };
struct nnb_Minimum { template <typename T> static __device__ T of(T a, T b) { return nnb_minimum(a, b); } };
struct nnb_And { static __device__ bool of(bool a, bool b) { return a && b; } };
struct nnb_Or { static __device__ bool of(bool a, bool b) { return a || b; } };

// The largest number so far and where it is, the first of several.
template <typename T> struct nnb_Best { T value; int place; };
template <typename T> __device__ inline nnb_Best<T> nnb_best(T value, int place) {
    nnb_Best<T> best;
    best.value = value;
    best.place = place;
    return best;
}
template <typename T> __device__ inline nnb_Best<T> nnb_nothing() {
    return nnb_best(nnb_lowest<T>(), 2147483647);
}
struct nnb_Larger {
    template <typename T> static __device__ nnb_Best<T> of(nnb_Best<T> a, nnb_Best<T> b) {
        const bool second = b.value > a.value || (b.value != b.value && a.value == a.value)
            || ((b.value == a.value || (b.value != b.value && a.value != a.value)) && b.place < a.place);
        return second ? b : a;
    }
};

__device__ inline int nnb_first() { return blockIdx.x * blockDim.x + threadIdx.x; }
__device__ inline int nnb_stride() { return gridDim.x * blockDim.x; }

// One value from those of all threads of a block, known to all of them afterwards.
template <typename F, typename T> __device__ T nnb_over_block(T value) {
    __shared__ T values[256];
    __syncthreads();  // the values of the call before have been read
    values[threadIdx.x] = value;
    __syncthreads();
    for (int half = blockDim.x / 2; half > 0; half /= 2) {
        if (threadIdx.x < half) values[threadIdx.x] = F::of(values[threadIdx.x], values[threadIdx.x + half]);
        __syncthreads();
    }
    return values[0];
}

// One value for each column of threads, known to the first thread of the column.
template <typename F, typename T> __device__ T nnb_over_columns(T value) {
    __shared__ T values[512];
    const int place = threadIdx.y * blockDim.x + threadIdx.x;
    __syncthreads();
    values[place] = value;
    __syncthreads();
    for (int half = blockDim.y / 2; half > 0; half /= 2) {
        if (threadIdx.y < half) values[place] = F::of(values[place], values[place + half * blockDim.x]);
        __syncthreads();
    }
    return values[threadIdx.x];
}

// Vectors of 16 numbers, and products of small matrices that stay in registers.
//
// A product's factors are kept in units of 32 bits: one float, or two bfloat16 that are neighbours
// along the axis that is summed over. `Float32` and `BFloat16` say what a unit is.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>
#include <memory>
#include <new>

#if defined(__AVX512F__)
#include <immintrin.h>
#endif

constexpr int LANES = 16;
using Floats = float __attribute__((vector_size(4 * LANES)));
using Ints = int32_t __attribute__((vector_size(4 * LANES)));
using Unaligned = float __attribute__((vector_size(4 * LANES), aligned(4), may_alias));

inline int64_t blocks(int64_t count) { return (count + LANES - 1) / LANES; }

// Value in each lane, whatever its bits say.
inline Floats all(float value) {
    return Floats{value, value, value, value, value, value, value, value,
                  value, value, value, value, value, value, value, value};
}
inline Floats load(const float* from) { return *reinterpret_cast<const Unaligned*>(from); }
inline void store(float* to, Floats x) { *reinterpret_cast<Unaligned*>(to) = x; }

// The first `lanes` numbers, and zeros.
inline Floats load(const float* from, int lanes) {
    if (lanes == LANES) return load(from);
#if defined(__AVX512F__)
    return (Floats)_mm512_maskz_loadu_ps((__mmask16)((1u << lanes) - 1), from);
#else
    Floats x{};
    std::memcpy(&x, from, 4 * lanes);
    return x;
#endif
}

inline void store(float* to, Floats x, int lanes) {
    if (lanes == LANES) return store(to, x);
#if defined(__AVX512F__)
    _mm512_mask_storeu_ps(to, (__mmask16)((1u << lanes) - 1), (__m512)x);
#else
    std::memcpy(to, &x, 4 * lanes);
#endif
}

// The second where one of them is no number.
inline Floats larger(Floats a, Floats b) { return a > b ? a : b; }

// By halves, each upon the other: what `join` makes of all lanes.
template <class Join>
inline float folded(Floats x, Join join) {
    x = join(x,
             __builtin_shufflevector(x, x, 8, 9, 10, 11, 12, 13, 14, 15, 0, 1, 2, 3, 4, 5, 6, 7));
    x = join(x,
             __builtin_shufflevector(x, x, 4, 5, 6, 7, 0, 1, 2, 3, 12, 13, 14, 15, 8, 9, 10, 11));
    x = join(x,
             __builtin_shufflevector(x, x, 2, 3, 0, 1, 6, 7, 4, 5, 10, 11, 8, 9, 14, 15, 12, 13));
    x = join(x,
             __builtin_shufflevector(x, x, 1, 0, 3, 2, 5, 4, 7, 6, 9, 8, 11, 10, 13, 12, 15, 14));
    return x[0];
}

inline float sum(Floats x) {
    return folded(x, [](Floats a, Floats b) { return a + b; });
}

inline float largest(Floats x) { return folded(x, larger); }

// e^x to a few units in the last place; below 1e-38 it gives about that, above 1e38 likewise. What
// is no number stays none.
inline Floats exponential(Floats x) {
    x = larger(all(-87.0f), x);
    x = x > 88.0f ? all(88.0f) : x;
    const float shift = 12582912.0f;  // 1.5 * 2^23: adding it rounds to a whole number
    Floats whole = (x * 1.44269504f + shift) - shift;
    Floats rest =
        x - whole * 0.693359375f;  // ln 2 in two parts, the first short enough to be exact
    rest = rest + whole * 2.12194440e-4f;
    Floats series = all(1.0f / 5040);
    series = series * rest + 1.0f / 720;
    series = series * rest + 1.0f / 120;
    series = series * rest + 1.0f / 24;
    series = series * rest + 1.0f / 6;
    series = series * rest + 0.5f;
    series = series * rest + 1.0f;
    series = series * rest + 1.0f;
    Ints power = (__builtin_convertvector(whole, Ints) + 127) << 23;
    return series * (Floats)power;
}

// bfloat16 is the upper half of a float, rounded to the nearest, to even where two are as near.
using Halves = uint16_t __attribute__((vector_size(2 * LANES)));

inline Floats widened(Halves x) {
#if defined(__AVX512F__)  // where compilers convert the halves one by one
    return (Floats)((Ints)_mm512_cvtepu16_epi32((__m256i)x) << 16);
#else
    return (Floats)(__builtin_convertvector(x, Ints) << 16);
#endif
}

inline Halves rounded(Floats x) {
#if defined(__AVX512BF16__)
    return (Halves)_mm512_cvtneps_pbh((__m512)x);
#else
    Ints bits = (Ints)x;
    Ints nearest = bits + 0x7fff + ((bits >> 16) & 1);
    bits = x == x ? nearest : bits | 0x400000;  // what is no number stays none
    return __builtin_convertvector((bits >> 16) & 0xffff, Halves);
#endif
}

// Numbers as they lie in a tensor.
inline Floats read(const float* from, int lanes) { return load(from, lanes); }
inline Floats read(const uint16_t* from, int lanes) {
    Halves x{};
    std::memcpy(&x, from, lanes == LANES ? sizeof x : 2 * lanes);
    return widened(x);
}
inline void write(float* to, Floats x, int lanes) { store(to, x, lanes); }
inline void write(uint16_t* to, Floats x, int lanes) {
    const Halves halves = rounded(x);
    std::memcpy(to, &halves, lanes == LANES ? sizeof halves : 2 * lanes);
}

struct Float32 {
    static constexpr int PER_UNIT = 1;
    using Stored = float;

    static Floats as_stored(Floats x) { return x; }
    static Floats add_product(Floats sum, Floats a, Floats b) { return sum + a * b; }
    // The units of rows that are neighbours along the summed axis.
    static Floats units(const Floats* rows) { return rows[0]; }
};

#if defined(__AVX512BF16__)
struct BFloat16 {
    static constexpr int PER_UNIT = 2;
    using Stored = uint16_t;

    static Floats as_stored(Floats x) { return widened(rounded(x)); }
    static Floats add_product(Floats sum, Floats a, Floats b) {
        return (Floats)_mm512_dpbf16_ps((__m512)sum, (__m512bh)a, (__m512bh)b);
    }
    static Floats units(const Floats* rows) {
        const Ints low = (Ints)rows[0], high = (Ints)rows[1];
        return (Floats)(((low >> 16) & 0xffff) | (high & (int32_t)0xffff0000));
    }
};
#endif

// Numbers `first` and on of a row of units along the summed axis; a whole vector is written.
template <class Kind>
inline void store_along(float* units, int64_t first, Floats x) {
    write(reinterpret_cast<typename Kind::Stored*>(units) + first, x, LANES);
}

// sums[r][b] += sum over s of a[r * a_row + s * a_step] * b[s * b_step + 16 b ...], in units.
template <class Kind, int ROWS, int BLOCKS>
inline void add_products(Floats (&sums)[ROWS][BLOCKS], const float* a, int64_t a_row,
                         int64_t a_step, const float* b, int64_t b_step, int64_t steps) {
    for (int64_t s = 0; s < steps; ++s) {
        Floats right[BLOCKS];
        for (int c = 0; c < BLOCKS; ++c) right[c] = load(b + s * b_step + c * LANES);
        for (int r = 0; r < ROWS; ++r) {
            const Floats left = all(a[r * a_row + s * a_step]);
            for (int c = 0; c < BLOCKS; ++c)
                sums[r][c] = Kind::add_product(sums[r][c], left, right[c]);
        }
    }
}

// Rows of sums that fit into 32 registers beside a row of factors.
constexpr int rows_for(int blocks) { return std::max(1, std::min(8, 24 / blocks)); }

// Memory that a thread keeps from call to call, handed out in pieces.
class Scratch {
public:
    // To be called before any piece is taken; `floats` is the most that will be.
    void begin(int64_t floats) {
        taken_ = 0;
        if (floats <= size_) return;
        memory_.reset(static_cast<float*>(::operator new(4 * floats, std::align_val_t(64))));
        size_ = floats;
    }
    // A piece of so many numbers, rounded up to whole vectors.
    static int64_t padded(int64_t count) { return blocks(count) * LANES; }
    float* take(int64_t count) {
        float* piece = memory_.get() + taken_;
        taken_ += padded(count);
        return piece;
    }
    float* zeros(int64_t count) {
        float* piece = take(count);
        std::fill_n(piece, padded(count), 0.0f);
        return piece;
    }

private:
    struct Delete {
        void operator()(float* memory) const { ::operator delete(memory, std::align_val_t(64)); }
    };
    std::unique_ptr<float, Delete> memory_;
    int64_t size_ = 0, taken_ = 0;
};

// For code that is made for one to eight vectors a row.
constexpr int MOST_BLOCKS = 8;

template <template <int> class Code, class... Arguments>
inline void for_blocks(int64_t count, Arguments&&... arguments) {
    switch (count) {
        case 1:
            return Code<1>::run(arguments...);
        case 2:
            return Code<2>::run(arguments...);
        case 3:
            return Code<3>::run(arguments...);
        case 4:
            return Code<4>::run(arguments...);
        case 5:
            return Code<5>::run(arguments...);
        case 6:
            return Code<6>::run(arguments...);
        case 7:
            return Code<7>::run(arguments...);
        case MOST_BLOCKS:
            return Code<MOST_BLOCKS>::run(arguments...);
    }
}

// The attention decoder of `vrp/policy/glimpse.py`: whole tours in one call, and their gradient.
//
// An instance belongs to one thread, and its sums have one order, so that the number of threads
// changes no bit. Letters and shapes are those of glimpse.py.
#include "factors.h"
#include "learn.h"
#include "play.h"

namespace {

#if defined(__AVX512BF16__)
constexpr bool TAKES_BFLOAT16 = true;
#else
constexpr bool TAKES_BFLOAT16 = false;
using BFloat16 = Float32;  // never used
#endif

template <template <class> class Work, class Of>
int for_instances(const Tables& tables, const Of& of, int threads) {
    const int64_t row = blocks(tables.nodes);
    if (row > MOST_BLOCKS || (tables.is_bfloat16 && !TAKES_BFLOAT16)) return false;
#pragma omp parallel for schedule(dynamic) num_threads(threads)
    for (int64_t n = 0; n < tables.instances; ++n) {
        if (tables.is_bfloat16)
            for_blocks<Work<BFloat16>::template Code>(row, tables, of, n);
        else
            for_blocks<Work<Float32>::template Code>(row, tables, of, n);
    }
    return true;
}

}  // namespace

extern "C" {

int glimpse_takes_bfloat16() { return TAKES_BFLOAT16; }

// Each gives 0 where nothing is made for such sizes or such numbers.
int glimpse_factors(const Factors* factors, int threads) {
    const int64_t row = blocks(factors->nodes);
    if (row > MOST_BLOCKS) return false;
#pragma omp parallel for schedule(static) num_threads(threads)
    for (int64_t n = 0; n < factors->instances; ++n) for_blocks<Factoring>(row, *factors, n);
    return true;
}

int glimpse_play(const Tables* tables, const Play* play, int threads) {
    return for_instances<Playing>(*tables, *play, threads);
}

int glimpse_learn(const Tables* tables, const Gradients* gradients, int threads) {
    return for_instances<Learning>(*tables, *gradients, threads);
}
}

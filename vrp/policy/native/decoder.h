// One step of the decoder: the heads' weights, and the distribution of the next node.
#pragma once

#include "records.h"
#include "vectors.h"

constexpr float LIMIT = 80.0f;  // as in vrp/policy/glimpse.py, like the next
constexpr float LIFT = 0x1p110f;
constexpr float NOTHING = -std::numeric_limits<float>::infinity();

// One instance's tables, and how its rows lie in vectors.
template <class Kind, int BLOCKS>
struct Instance {
    const Tables& tables;
    int64_t n, nodes, heads, width;  // V, H, H V
    int last;                        // numbers in a row's last vector
    int64_t row;                     // units of a row of weights, padded

    Instance(const Tables& all, int64_t n)
        : tables(all),
          n(n),
          nodes(all.nodes),
          heads(all.heads),
          width(all.nodes * all.heads),
          last(int(all.nodes - (BLOCKS - 1) * LANES)),
          row(Scratch::padded((width + LANES) / Kind::PER_UNIT + 1)) {}

    int lanes(int block) const { return block + 1 == BLOCKS ? last : LANES; }

    const typename Kind::Stored* outputs(int64_t i) const {
        return static_cast<const typename Kind::Stored*>(tables.outputs) + (n * width + i) * nodes;
    }

    // Calls use(h, weights) with each head's weights, 0 beyond the nodes.
    template <class Use>
    void weights(int64_t position, int64_t load_, const Floats (&legal)[BLOCKS], Use use) const {
        const float* by_node = tables.by_node + (n * nodes + position) * width;
        const float* by_load =
            tables.by_load ? tables.by_load + (n * tables.loads + load_) * width : nullptr;
        const float* per_load = tables.per_load + n * width;
        const float scaled = load_ * tables.scale[n];
        for (int64_t h = 0; h < heads; ++h) {
            Floats found[BLOCKS], total{};
            for (int b = 0; b < BLOCKS; ++b) {
                const int64_t at = h * nodes + b * LANES;
                Floats of_load =
                    by_load
                        ? load(by_load + at, lanes(b))
                        : exponential(larger(all(-LIMIT), load(per_load + at, lanes(b)) * scaled));
                found[b] = load(by_node + at, lanes(b)) * of_load * legal[b];
                total += found[b];
            }
            const float share = 1.0f / sum(total);
            for (int b = 0; b < BLOCKS; ++b) found[b] *= share;
            use(h, found);
        }
    }
};

// The distribution of the next node: exponentials of logits less the largest legal one.
template <int BLOCKS>
struct Distribution {
    Floats relative[BLOCKS], exponentials[BLOCKS];
    float total;

    Distribution(const Floats (&logits)[BLOCKS], const Floats (&legal)[BLOCKS]) {
        Floats most = all(NOTHING);
        for (int b = 0; b < BLOCKS; ++b) most = larger(legal[b] > 0 ? logits[b] : most, most);
        const float top = largest(most);
        Floats sums{};
        for (int b = 0; b < BLOCKS; ++b) {
            relative[b] = legal[b] > 0 ? logits[b] - top : Floats{};
            exponentials[b] = exponential(relative[b]) * legal[b];
            sums += exponentials[b];
        }
        total = sum(sums);
    }

    float entropy() const {
        Floats sums{};
        for (int b = 0; b < BLOCKS; ++b) sums += exponentials[b] * relative[b];
        return std::log(total) - sum(sums) / total;
    }
};

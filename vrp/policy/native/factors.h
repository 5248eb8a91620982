// The decoder's tables as exponentials.
#pragma once

#include "decoder.h"

template <int BLOCKS>
struct Factoring {
    static void run(const Factors& of, int64_t n) {
        const int64_t nodes = of.nodes, width = of.heads * nodes;
        for (int64_t a = 0; a < nodes; ++a)
            for (int64_t h = 0; h < of.heads; ++h) {
                Floats row[BLOCKS];
                below_zero(of.scores + n * of.scores_n + a * of.scores_a + h * of.scores_h, nodes,
                           row);
                write_exponentials(row, 1, LIFT, nodes,
                                   of.by_node + (n * nodes + a) * width + h * nodes);
            }
        for (int64_t h = 0; h < of.heads; ++h) {
            Floats row[BLOCKS];
            below_zero(of.per_load + n * width + h * nodes, nodes, row);
            for (int b = 0; b < BLOCKS; ++b)
                store(of.below_zero + n * width + h * nodes + b * LANES, row[b], lanes(nodes, b));
            for (int64_t l = 0; of.by_load && l < of.loads; ++l)
                write_exponentials(row, l * of.scale[n], 1, nodes,
                                   of.by_load + (n * of.loads + l) * width + h * nodes);
        }
    }

    static int lanes(int64_t nodes, int block) {
        return block + 1 == BLOCKS ? int(nodes - block * LANES) : LANES;
    }

    // A row less its largest.
    static void below_zero(const float* from, int64_t nodes, Floats (&row)[BLOCKS]) {
        Floats most = all(NOTHING);
        for (int b = 0; b < BLOCKS; ++b) {
            row[b] = load(from + b * LANES, lanes(nodes, b));
            if (lanes(nodes, b) == LANES) most = larger(most, row[b]);
        }
        float top = largest(most);
        for (int i = 0; i < lanes(nodes, BLOCKS - 1); ++i) top = std::max(top, row[BLOCKS - 1][i]);
        for (int b = 0; b < BLOCKS; ++b) row[b] -= top;
    }

    static void write_exponentials(const Floats (&row)[BLOCKS], float times, float lift,
                                   int64_t nodes, float* to) {
        for (int b = 0; b < BLOCKS; ++b) {
            const Floats exponent = larger(all(-LIMIT), row[b] * times);
            store(to + b * LANES, exponential(exponent) * lift, lanes(nodes, b));
        }
    }
};

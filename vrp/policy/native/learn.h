// The gradient of an instance's tables by the log-probabilities and entropies on a tape.
#pragma once

#include "decoder.h"

constexpr int QUERIES = 64;  // steps of tours whose gradients are taken together

template <class Kind>
struct Learning {
    template <int BLOCKS>
    struct Code {
        static constexpr int ROWS = rows_for(BLOCKS);
        static constexpr int MOST = QUERIES + 8;  // rounded up to whole tiles
        static constexpr int ROW = BLOCKS * LANES;
        using Here = Instance<Kind, BLOCKS>;

        // Some steps of tours, and where the sums over all of them grow.
        struct Piece {
            int count = 0;
            int64_t steps[QUERIES];         // (t, k) as t K + k
            int64_t position[QUERIES];      // the node last visited
            float load[QUERIES];            // scaled
            int64_t width;                  // of a row of weights
            int64_t heads_width;            // of a row of all heads, each padded to vectors
            float* keys;                    // the outputs, in units along their last axis
            float *weights, *weight_units;  // a row for each step, and units along the steps
            float *grads, *grad_units;      // likewise, of the scores before the tanh
            float *scores, *per_load, *outputs, *bias;  // sums, rows padded to vectors

            Piece(const Here& here, Scratch& scratch, bool only_outputs)
                : width(Scratch::padded(here.width + LANES)), heads_width(here.heads * ROW) {
                const int64_t inner = (here.nodes + 1) / Kind::PER_UNIT;
                scratch.begin((inner + here.nodes + 1) * heads_width + 2 * MOST * (width + ROW) +
                              (here.width + ROWS + 1) * ROW);
                keys = only_outputs ? nullptr : scratch.zeros(inner * heads_width);
                weights = scratch.zeros(MOST * width);
                weight_units = scratch.zeros(MOST / Kind::PER_UNIT * width);
                grads = scratch.zeros(MOST * ROW);
                grad_units = scratch.zeros(MOST / Kind::PER_UNIT * ROW);
                scores = only_outputs ? nullptr : scratch.zeros(here.nodes * heads_width);
                per_load = only_outputs ? nullptr : scratch.zeros(heads_width);
                outputs = scratch.zeros((here.width + ROWS) * ROW);
                bias = scratch.zeros(ROW);
            }

            int64_t units() const { return (count + Kind::PER_UNIT - 1) / Kind::PER_UNIT; }
        };

        static void run(const Tables& tables, const Gradients& of, int64_t n) {
            thread_local Scratch scratch;
            const Here here(tables, n);
            Piece piece(here, scratch, !of.scores);
            if (of.scores) pack_keys(here, piece);
            const int64_t steps = of.steps * of.solutions;
            for (int64_t step = 0; step < steps; ++step) {
                if (of.tape.position[n * of.most * of.solutions + step] >= 0)
                    piece.steps[piece.count++] = step;
                if (piece.count == QUERIES || (piece.count && step + 1 == steps)) {
                    for (int c = 0; c < piece.count; ++c) take(here, of, c, piece);
                    make_units(piece.weights, piece.width, piece, piece.weight_units);
                    make_units(piece.grads, ROW, piece, piece.grad_units);
                    add_outputs(here, piece);
                    if (of.scores) add_scores(here, piece);
                    piece.count = 0;
                }
            }
            write(here, of, piece);
        }

        static void pack_keys(const Here& here, Piece& piece) {
            using Stored = typename Kind::Stored;
            for (int64_t h = 0; h < here.heads; ++h)
                for (int64_t i = 0; i < here.nodes; ++i) {
                    const Stored* from = here.outputs(h * here.nodes + i);
                    auto* to = reinterpret_cast<Stored*>(piece.keys + h * ROW + i);
                    for (int64_t j = 0; j < here.nodes; ++j)
                        to[j / Kind::PER_UNIT * piece.heads_width * Kind::PER_UNIT +
                           j % Kind::PER_UNIT] = from[j];
                }
        }

        // A step's weights, and the gradient of its scores.
        static void take(const Here& here, const Gradients& of, int c, Piece& piece) {
            const int64_t at = here.n * of.most * of.solutions + piece.steps[c];
            const int64_t grad_at = here.n * of.steps * of.solutions + piece.steps[c];
            piece.position[c] = of.tape.position[at];
            piece.load[c] = of.tape.load[at] * here.tables.scale[here.n];
            Floats logits[BLOCKS], legal[BLOCKS], grad[BLOCKS];
            for (int b = 0; b < BLOCKS; ++b) {
                logits[b] = load(of.tape.logits + at * here.nodes + b * LANES, here.lanes(b));
                Ints can = logits[b] > NOTHING;
                for (int i = here.lanes(b); i < LANES; ++i) can[i] = 0;
                legal[b] = can ? all(1) : Floats{};
                logits[b] = can ? logits[b] : Floats{};
            }
            float* weights = piece.weights + c * piece.width;
            here.weights(piece.position[c], of.tape.load[at], legal,
                         [&](int64_t h, const Floats(&found)[BLOCKS]) {
                             for (int b = 0; b < BLOCKS; ++b)
                                 store(weights + h * here.nodes + b * LANES,
                                       Kind::as_stored(found[b]));
                         });
            gradient(here, logits, legal, of.tape.action[at], of.of_log_prob[grad_at],
                     of.of_entropy ? of.of_entropy[grad_at] : 0.0f, grad);
            for (int b = 0; b < BLOCKS; ++b) {
                float* bias = piece.bias + b * LANES;
                store(bias, load(bias) + grad[b]);
                store(piece.grads + c * ROW + b * LANES, Kind::as_stored(grad[b]));
            }
        }

        // Of the scores before the tanh.
        static void gradient(const Here& here, const Floats (&logits)[BLOCKS],
                             const Floats (&legal)[BLOCKS], int32_t action, float of_log_prob,
                             float of_entropy, Floats (&grad)[BLOCKS]) {
            const Distribution<BLOCKS> next(logits, legal);
            const float share = 1 / next.total, log_total = std::log(next.total);
            const float entropy = of_entropy ? next.entropy() : 0;
            const float clipping = here.tables.clipping;
            for (int b = 0; b < BLOCKS; ++b) {
                Floats prob = next.exponentials[b] * share;
                grad[b] = -of_log_prob * prob;
                if (of_entropy)
                    grad[b] -= of_entropy * prob * (next.relative[b] - log_total + entropy);
            }
            grad[action / LANES][action % LANES] += of_log_prob;
            if (!clipping) return;
            for (int b = 0; b < BLOCKS; ++b) grad[b] *= clipping - logits[b] * logits[b] / clipping;
        }

        // Rows as units along the steps; a row of zeros completes the last one.
        static void make_units(float* rows, int64_t width, const Piece& piece, float* units) {
            if (piece.count % Kind::PER_UNIT) std::fill_n(rows + piece.count * width, width, 0.0f);
            for (int64_t s = 0; s < piece.units(); ++s)
                for (int64_t i = 0; i < width; i += LANES) {
                    Floats neighbours[Kind::PER_UNIT];
                    for (int r = 0; r < Kind::PER_UNIT; ++r)
                        neighbours[r] = load(rows + (s * Kind::PER_UNIT + r) * width + i);
                    store(units + s * width + i, Kind::units(neighbours));
                }
        }

        static void add_outputs(const Here& here, Piece& piece) {
            for (int64_t i = 0; i < here.width; i += ROWS) {
                Floats sums[ROWS][BLOCKS];
                float* to = piece.outputs + i * ROW;
                for (int r = 0; r < ROWS; ++r)
                    for (int b = 0; b < BLOCKS; ++b) sums[r][b] = load(to + r * ROW + b * LANES);
                add_products<Kind, ROWS, BLOCKS>(sums, piece.weight_units + i, 1, piece.width,
                                                 piece.grad_units, ROW, piece.units());
                for (int r = 0; r < ROWS; ++r)
                    for (int b = 0; b < BLOCKS; ++b) store(to + r * ROW + b * LANES, sums[r][b]);
            }
        }

        static void add_scores(const Here& here, Piece& piece) {
            const int64_t inner = (here.nodes + Kind::PER_UNIT - 1) / Kind::PER_UNIT;
            for (int c = 0; c < piece.count; c += ROWS) {
                float units[ROWS * ROW];
                for (int r = 0; r < ROWS; ++r)
                    for (int b = 0; b < BLOCKS; ++b)
                        store_along<Kind>(units + r * ROW, b * LANES,
                                          load(piece.grads + (c + r) * ROW + b * LANES));
                for (int64_t h = 0; h < here.heads; ++h) {
                    Floats rows[ROWS][BLOCKS] = {};
                    add_products<Kind, ROWS, BLOCKS>(rows, units, ROW, 1, piece.keys + h * ROW,
                                                     piece.heads_width, inner);
                    for (int r = 0; r < ROWS && c + r < piece.count; ++r)
                        through_softmax(here, h, c + r, rows[r], piece);
                }
            }
        }

        // From the gradient of a head's weights to that of its scores, which joins the sums.
        static void through_softmax(const Here& here, int64_t h, int c, Floats (&grad)[BLOCKS],
                                    Piece& piece) {
            const float* weights = piece.weights + c * piece.width + h * here.nodes;
            Floats found[BLOCKS], total{};
            for (int b = 0; b < BLOCKS; ++b) {
                found[b] = load(weights + b * LANES, here.lanes(b));
                grad[b] *= found[b];
                total += grad[b];
            }
            const float along = sum(total);
            float* scores = piece.scores + piece.position[c] * piece.heads_width + h * ROW;
            float* per_load = piece.per_load + h * ROW;
            for (int b = 0; b < BLOCKS; ++b) {
                grad[b] -= found[b] * along;
                store(scores + b * LANES, load(scores + b * LANES) + grad[b]);
                store(per_load + b * LANES, load(per_load + b * LANES) + grad[b] * piece.load[c]);
            }
        }

        static void write(const Here& here, const Gradients& of, const Piece& piece) {
            const int64_t n = here.n, nodes = here.nodes, width = here.width;
            const size_t bytes = sizeof(float) * nodes;
            std::memcpy(of.bias + n * nodes, piece.bias, bytes);
            for (int64_t i = 0; i < width; ++i)
                std::memcpy(of.outputs + (n * width + i) * nodes, piece.outputs + i * ROW, bytes);
            if (!of.scores) return;
            for (int64_t h = 0; h < here.heads; ++h) {
                const int64_t at = h * nodes;
                std::memcpy(of.per_load + n * width + at, piece.per_load + h * ROW, bytes);
                for (int64_t a = 0; a < nodes; ++a)
                    std::memcpy(of.scores + (n * nodes + a) * width + at,
                                piece.scores + a * piece.heads_width + h * ROW, bytes);
            }
        }
    };
};

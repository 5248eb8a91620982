// Plays an instance's tours side by side until all are closed, and records what was seen.
#pragma once

#include "decoder.h"

// The first node up to which the weights come to more than a share of all; -1 for none.
template <int BLOCKS>
int first_beyond(const Floats (&weights)[BLOCKS], float share) {
    Floats sums{};
    for (int b = 0; b < BLOCKS; ++b) sums += weights[b];
    const float threshold = share * sum(sums);
    float before = 0;
    for (int b = 0; b < BLOCKS; ++b) {
        const float here = sum(weights[b]);
        if (before + here > threshold || b + 1 == BLOCKS) {
            for (int i = 0; i < LANES; ++i) {
                before += weights[b][i];
                if (before > threshold) return b * LANES + i;
            }
        } else {
            before += here;
        }
    }
    return -1;
}

// The legal node of the largest value, the first of equal ones; -1 for none.
template <int BLOCKS>
int likeliest(const Floats (&values)[BLOCKS], const Floats (&legal)[BLOCKS]) {
    Floats most = all(NOTHING);
    for (int b = 0; b < BLOCKS; ++b) most = larger(legal[b] > 0 ? values[b] : most, most);
    const float top = largest(most);
    for (int b = 0; b < BLOCKS; ++b)
        for (int i = 0; i < LANES; ++i)
            if (legal[b][i] > 0 && values[b][i] == top) return b * LANES + i;
    return -1;
}

template <int BLOCKS>
struct Vehicle {
    int32_t position, load, capacity;
    int32_t left;  // customers to be served
    Ints remaining[BLOCKS];

    bool is_home() const { return position == 0 && left == 0; }

    void legal(Floats (&mask)[BLOCKS]) const {
        for (int b = 0; b < BLOCKS; ++b) {
            Ints can = (remaining[b] > 0) & (remaining[b] <= load);
            mask[b] = can ? all(1) : Floats{};
        }
        mask[0][0] = position != 0 || left == 0;
    }

    void visit(int32_t node) {
        position = node;
        if (node == 0) {
            load = capacity;
            return;
        }
        int32_t& needed = reinterpret_cast<int32_t*>(remaining)[node];
        const int32_t served = std::min(needed, load);
        left -= needed > 0 && served == needed;
        needed -= served;
        load -= served;
    }
};

template <class Kind>
struct Playing {
    template <int BLOCKS>
    struct Code {
        static constexpr int ROWS = rows_for(BLOCKS);
        using Here = Instance<Kind, BLOCKS>;

        static int64_t needed(const Here& here, const Play& play) {
            const int64_t panel = (here.width + 1) / Kind::PER_UNIT * BLOCKS * LANES;
            return panel + ROWS * here.row + BLOCKS * LANES +
                   Scratch::padded(play.solutions * sizeof(Vehicle<BLOCKS>) / 4);
        }

        static void run(const Tables& tables, const Play& play, int64_t n) {
            thread_local Scratch scratch;
            const Here here(tables, n);
            scratch.begin(needed(here, play));
            auto* vehicles = reinterpret_cast<Vehicle<BLOCKS>*>(
                scratch.take(play.solutions * sizeof(Vehicle<BLOCKS>) / 4));
            float* panel = packed_outputs(here, scratch);
            float* weights = scratch.zeros(ROWS * here.row);
            float* bias = scratch.zeros(BLOCKS * LANES);
            std::memcpy(bias, tables.bias + n * here.nodes, 4 * here.nodes);
            for (int64_t k = 0; k < play.solutions; ++k) place(vehicles[k], play, n, k, here.nodes);
            Ints bad{};
            int64_t t = 0;
            for (; t < play.most; ++t) {
                bool any = false;
                int64_t waiting[ROWS];
                int count = 0;
                for (int64_t k = 0; k < play.solutions; ++k) {
                    if (vehicles[k].is_home()) {
                        pass_over(play, n, k, t);
                        continue;
                    }
                    any = true;
                    const int64_t imposed =
                        t == 0 && play.first ? play.first[n * play.solutions + k] : -1;
                    if (imposed >= 0) {
                        pass_over(play, n, k, t);
                        go(vehicles[k], play, n, k, t, int32_t(imposed));
                        continue;
                    }
                    waiting[count++] = k;
                    if (count == ROWS) {
                        step<ROWS>(here, play, t, waiting, count, vehicles, panel, weights, bias,
                                   bad);
                        count = 0;
                    }
                }
                if (count == 1)
                    step<1>(here, play, t, waiting, count, vehicles, panel, weights, bias, bad);
                else if (count)
                    step<ROWS>(here, play, t, waiting, count, vehicles, panel, weights, bias, bad);
                if (!any) break;
            }
            for (int64_t later = t; later < play.most; ++later)
                for (int64_t k = 0; k < play.solutions; ++k) pass_over(play, n, k, later);
            bool failed = false;
            for (int i = 0; i < LANES; ++i) failed |= bad[i] != 0;
            play.steps[n] = failed ? -1 : int32_t(t);
        }

        static float* packed_outputs(const Here& here, Scratch& scratch) {
            float* panel = scratch.take((here.width + 1) / Kind::PER_UNIT * BLOCKS * LANES);
            float* to = panel;
            for (int64_t i = 0; i < here.width; i += Kind::PER_UNIT)
                for (int b = 0; b < BLOCKS; ++b, to += LANES) {
                    Floats rows[Kind::PER_UNIT] = {};
                    for (int r = 0; r < Kind::PER_UNIT && i + r < here.width; ++r)
                        rows[r] = read(here.outputs(i + r) + b * LANES, here.lanes(b));
                    store(to, Kind::units(rows));
                }
            return panel;
        }

        static void place(Vehicle<BLOCKS>& vehicle, const Play& play, int64_t n, int64_t k,
                          int64_t nodes) {
            vehicle.position = int32_t(play.position[n * play.solutions + k]);
            vehicle.load = int32_t(play.load[n * play.solutions + k]);
            vehicle.capacity = int32_t(play.capacity[n]);
            const int64_t* remaining = play.remaining + n * play.remaining_n + k * play.remaining_k;
            vehicle.left = 0;
            for (int b = 0; b < BLOCKS; ++b) vehicle.remaining[b] = Ints{};
            for (int64_t i = 0; i < nodes; ++i) {
                reinterpret_cast<int32_t*>(vehicle.remaining)[i] = int32_t(remaining[i]);
                vehicle.left += remaining[i] > 0;
            }
        }

        // A step that does not count.
        static void pass_over(const Play& play, int64_t n, int64_t k, int64_t t) {
            if (!play.tape.position) return;
            const int64_t at = (n * play.most + t) * play.solutions + k;
            play.tape.position[at] = -1;
            play.tape.log_prob[at] = play.tape.entropy[at] = 0;
        }

        static void go(Vehicle<BLOCKS>& vehicle, const Play& play, int64_t n, int64_t k, int64_t t,
                       int32_t node) {
            vehicle.visit(node);
            if (play.actions) play.actions[(n * play.solutions + k) * play.most + t] = node;
        }

        // One step of `count` tours, R rows at a time.
        template <int R>
        static void step(const Here& here, const Play& play, int64_t t, const int64_t* waiting,
                         int count, Vehicle<BLOCKS>* vehicles, const float* panel, float* weights,
                         const float* bias, Ints& bad) {
            Floats legal[R][BLOCKS], scores[R][BLOCKS];
            for (int r = 0; r < R; ++r)
                for (int b = 0; b < BLOCKS; ++b) scores[r][b] = load(bias + b * LANES);
            for (int r = 0; r < count; ++r) {
                const Vehicle<BLOCKS>& vehicle = vehicles[waiting[r]];
                vehicle.legal(legal[r]);
                float* row = weights + r * here.row;
                here.weights(vehicle.position, vehicle.load, legal[r],
                             [&](int64_t h, const Floats(&found)[BLOCKS]) {
                                 for (int b = 0; b < BLOCKS; ++b)
                                     store_along<Kind>(row, h * here.nodes + b * LANES, found[b]);
                             });
            }
            add_products<Kind, R, BLOCKS>(scores, weights, here.row, 1, panel, BLOCKS * LANES,
                                          (here.width + Kind::PER_UNIT - 1) / Kind::PER_UNIT);
            for (int r = 0; r < count; ++r) {
                for (int b = 0; b < BLOCKS; ++b) bad |= scores[r][b] != scores[r][b];
                const int64_t k = waiting[r];
                const int32_t node = choose(here, play, t, k, vehicles[k], legal[r], scores[r]);
                go(vehicles[k], play, here.n, k, t, node);
            }
        }

        // The next node by its scores before the tanh; records it on the tape.
        static int32_t choose(const Here& here, const Play& play, int64_t t, int64_t k,
                              const Vehicle<BLOCKS>& vehicle, const Floats (&legal)[BLOCKS],
                              const Floats (&scores)[BLOCKS]) {
            const bool is_greedy = !play.uniforms && !play.given;
            if (is_greedy && !play.tape.position)
                return std::max(0, likeliest<BLOCKS>(scores, legal));
            Floats logits[BLOCKS];
            const float clipping = here.tables.clipping;
            for (int b = 0; b < BLOCKS; ++b)
                logits[b] = clipping ? 2 * clipping / (1 + exponential(-2 * scores[b])) - clipping
                                     : scores[b];
            const Distribution<BLOCKS> next(logits, legal);
            int node;
            if (play.given) {
                node = int(play.given[(here.n * play.solutions + k) * play.most + t]);
            } else if (is_greedy) {
                node = likeliest<BLOCKS>(scores, legal);
            } else {
                const int64_t at = (t * here.tables.instances + here.n) * play.solutions + k;
                // A little under 1, so that rounding does not reach beyond the last node.
                const float share = play.uniforms[at] * (1 - 0x1p-22f);
                if (play.temperature == 1) {
                    node = first_beyond<BLOCKS>(next.exponentials, share);
                } else {
                    Floats weights[BLOCKS];
                    for (int b = 0; b < BLOCKS; ++b)
                        weights[b] = exponential(next.relative[b] / play.temperature) * legal[b];
                    node = first_beyond<BLOCKS>(weights, share);
                }
                if (node < 0) node = likeliest<BLOCKS>(scores, legal);
            }
            node = std::max(0, node);  // only where scores are not numbers
            if (!play.tape.position) return node;
            const int64_t at = (here.n * play.most + t) * play.solutions + k;
            play.tape.position[at] = vehicle.position;
            play.tape.load[at] = vehicle.load;
            play.tape.action[at] = node;
            play.tape.log_prob[at] =
                next.relative[node / LANES][node % LANES] - std::log(next.total);
            play.tape.entropy[at] = next.entropy();
            float* row = play.tape.logits + at * here.nodes;
            for (int b = 0; b < BLOCKS; ++b)
                store(row + b * LANES, legal[b] > 0 ? logits[b] : all(NOTHING), here.lanes(b));
            return node;
        }
    };
};

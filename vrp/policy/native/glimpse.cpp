// The attention decoder of `vrp/policy/glimpse.py`: whole tours in one call, and their gradient.
//
// An instance belongs to one thread, and its sums have one order, so that the number of threads
// changes no bit. Letters and shapes are those of glimpse.py.
#include "vectors.h"

namespace {

constexpr float LIMIT = 80.0f;  // as in glimpse.py
constexpr int QUERIES = 64;     // of a tour's steps whose gradients are taken together

}  // namespace

extern "C" {

// As `glimpse.Factors`, with its Tables' bias and scale; mirrored in decoder.py, like all here.
struct Tables {
    const float* by_node;   // (N, V, H V)
    const float* by_load;   // (N, L, H V), or null
    const float* per_load;  // (N, H V)
    const void* outputs;    // (N, H V, V)
    const float* bias;      // (N, V)
    const float* scale;     // (N)
    int64_t instances, nodes, heads, loads;
    float clipping;
    int32_t is_bfloat16;  // the outputs
};

// What was seen and chosen at each step, where a step counts; position is -1 elsewhere.
struct Tape {
    int32_t* position;  // (N, S, K)
    int32_t* load;      // (N, S, K)
    int32_t* action;    // (N, S, K)
    float* logits;      // (N, S, K, V), minus infinity where not legal
    float* log_prob;    // (N, S, K)
    float* entropy;     // (N, S, K)
};

struct Play {
    const int64_t* capacity;   // (N)
    const int64_t* position;   // (N, K)
    const int64_t* load;       // (N, K)
    const int64_t* remaining;  // (N, K, V), of any strides along N and K
    int64_t remaining_n, remaining_k;
    const int64_t* first;     // (N, K), imposed on the first step, below 0 where not; or null
    const int64_t* given;     // (N, K, S), imposed on all steps; or null
    const float* uniforms;    // (S, N, K), to sample by; or null, which takes the likeliest
    float temperature;
    int64_t solutions, most;  // K, S
    Tape tape;                // all null without
    int64_t* actions;         // (N, K, S), found zeroed
    int32_t* steps;           // (N), of the longest tour; -1 where a logit is not a number
};

struct Gradients {
    const float* of_log_prob;  // (N, T, K)
    const float* of_entropy;   // (N, T, K), or null
    int64_t steps, most;       // T, S
    int64_t solutions;         // K
    Tape tape;
    float* scores;    // (N, V, H V), or null like the next
    float* per_load;  // (N, H V)
    float* outputs;   // (N, H V, V)
    float* bias;      // (N, V)
};
}

namespace {

// One instance's tables, and how its rows lie in vectors.
template <class Kind, int BLOCKS>
struct Instance {
    const Tables& tables;
    int64_t n, nodes, heads, width;  // V, H, H V
    int last;                        // numbers in a row's last vector
    int64_t row;                     // units of a row of weights, padded

    Instance(const Tables& all, int64_t n)
        : tables(all), n(n), nodes(all.nodes), heads(all.heads), width(all.nodes * all.heads),
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
                Floats of_load = by_load ? load(by_load + at, lanes(b))
                                         : exponential(larger(load(per_load + at, lanes(b)) * scaled,
                                                              all(-LIMIT)));
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
        Floats most = all(-std::numeric_limits<float>::infinity());
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
    Floats most = all(-std::numeric_limits<float>::infinity());
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
                    const int64_t imposed = t == 0 && play.first ? play.first[n * play.solutions + k] : -1;
                    if (imposed >= 0) {
                        pass_over(play, n, k, t);
                        go(vehicles[k], play, n, k, t, int32_t(imposed));
                        continue;
                    }
                    waiting[count++] = k;
                    if (count == ROWS) {
                        step<ROWS>(here, play, t, waiting, count, vehicles, panel, weights, bias, bad);
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

        static void place(Vehicle<BLOCKS>& vehicle, const Play& play, int64_t n, int64_t k, int64_t nodes) {
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

        static void go(Vehicle<BLOCKS>& vehicle, const Play& play, int64_t n, int64_t k, int64_t t, int32_t node) {
            vehicle.visit(node);
            play.actions[(n * play.solutions + k) * play.most + t] = node;
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
                here.weights(vehicle.position, vehicle.load, legal[r], [&](int64_t h, const Floats (&found)[BLOCKS]) {
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
            if (is_greedy && !play.tape.position) return std::max(0, likeliest<BLOCKS>(scores, legal));
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
            play.tape.log_prob[at] = next.relative[node / LANES][node % LANES] - std::log(next.total);
            play.tape.entropy[at] = next.entropy();
            float* row = play.tape.logits + at * here.nodes;
            for (int b = 0; b < BLOCKS; ++b)
                store(row + b * LANES,
                      legal[b] > 0 ? logits[b] : all(-std::numeric_limits<float>::infinity()),
                      here.lanes(b));
            return node;
        }
    };
};

template <class Kind>
struct Learning {
    template <int BLOCKS>
    struct Code {
        static constexpr int ROWS = rows_for(BLOCKS);
        static constexpr int MOST = QUERIES + 8;  // rows of a piece, rounded up to whole tiles
        static constexpr int ROW = BLOCKS * LANES;
        using Here = Instance<Kind, BLOCKS>;

        // Of one thread's piece of work.
        struct Buffers {
            float *keys, *weights, *pairs, *grads, *grad_pairs;  // see `run`
            float *scores, *per_load, *outputs, *bias;           // sums, rows padded to vectors

            Buffers(const Here& here, Scratch& scratch, bool only_outputs) {
                const int64_t w = here.heads * ROW, inner = (here.nodes + 1) / Kind::PER_UNIT;
                scratch.begin((inner + 1) * w + MOST * (2 * (here.width + 2 * LANES) + 2 * ROW) +
                              (here.nodes + 1) * w + (here.width + ROWS) * ROW + ROW + 9 * LANES);
                keys = only_outputs ? nullptr : scratch.zeros(inner * w);
                weights = scratch.zeros(MOST * padded_width(here));
                pairs = scratch.zeros(MOST / Kind::PER_UNIT * padded_width(here));
                grads = scratch.zeros(MOST * ROW / Kind::PER_UNIT);
                grad_pairs = scratch.zeros(MOST / Kind::PER_UNIT * ROW);
                scores = only_outputs ? nullptr : scratch.zeros(here.nodes * w);
                per_load = only_outputs ? nullptr : scratch.zeros(w);
                outputs = scratch.zeros((here.width + ROWS) * ROW);
                bias = scratch.zeros(ROW);
            }
        };

        static int64_t padded_width(const Here& here) { return Scratch::padded(here.width + LANES); }

        static void run(const Tables& tables, const Gradients& of, int64_t n) {
            thread_local Scratch scratch;
            const Here here(tables, n);
            Buffers with(here, scratch, !of.scores);
            if (of.scores) pack_keys(here, with.keys);
            const int64_t queries = of.steps * of.solutions;
            int64_t found[QUERIES];
            int count = 0;
            for (int64_t q = 0; q < queries; ++q) {
                const int64_t t = q / of.solutions, k = q % of.solutions;
                const int64_t at = (n * of.most + t) * of.solutions + k;
                if (of.tape.position[at] >= 0) found[count++] = q;
                if (count == QUERIES || (count && q + 1 == queries)) {
                    learn(here, of, found, count, with);
                    count = 0;
                }
            }
            write(here, of, with);
        }

        // The outputs with their last axis in units, for each a row of all heads' nodes.
        static void pack_keys(const Here& here, float* keys) {
            const int64_t w = here.heads * ROW;
            for (int64_t h = 0; h < here.heads; ++h)
                for (int64_t i = 0; i < here.nodes; ++i) {
                    const typename Kind::Stored* from = here.outputs(h * here.nodes + i);
                    auto* to = reinterpret_cast<typename Kind::Stored*>(keys + h * ROW + i);
                    for (int64_t j = 0; j < here.nodes; ++j)
                        to[j / Kind::PER_UNIT * w * Kind::PER_UNIT + j % Kind::PER_UNIT] = from[j];
                }
        }

        static void learn(const Here& here, const Gradients& of, const int64_t* queries, int count,
                          Buffers& with) {
            const int64_t width = padded_width(here), n = here.n;
            int64_t position[MOST];
            float load_[MOST];
            const int rounded_up = (count + ROWS - 1) / ROWS * ROWS;
            Floats before[BLOCKS] = {};
            for (int c = 0; c < count; ++c) {
                const int64_t q = queries[c], t = q / of.solutions, k = q % of.solutions;
                const int64_t at = (n * of.most + t) * of.solutions + k;
                const int64_t grad_at = (n * of.steps + t) * of.solutions + k;
                position[c] = of.tape.position[at];
                load_[c] = of.tape.load[at] * here.tables.scale[n];
                Floats logits[BLOCKS], legal[BLOCKS], grad[BLOCKS];
                const float* row = of.tape.logits + at * here.nodes;
                for (int b = 0; b < BLOCKS; ++b) {
                    logits[b] = load(row + b * LANES, here.lanes(b));
                    Ints can = logits[b] > -std::numeric_limits<float>::infinity();
                    if (b + 1 == BLOCKS)
                        for (int i = here.last; i < LANES; ++i) can[i] = 0;
                    legal[b] = can ? all(1) : Floats{};
                    logits[b] = can ? logits[b] : Floats{};
                }
                gradient(here, logits, legal, of.tape.action[at], of.of_log_prob[grad_at],
                         of.of_entropy ? of.of_entropy[grad_at] : 0.0f, grad);
                float* weights = with.weights + c * width;
                here.weights(position[c], of.tape.load[at], legal, [&](int64_t h, const Floats (&found)[BLOCKS]) {
                    for (int b = 0; b < BLOCKS; ++b)
                        store(weights + h * here.nodes + b * LANES, Kind::as_stored(found[b]));
                });
                for (int b = 0; b < BLOCKS; ++b) {
                    float* bias = with.bias + b * LANES;
                    store(bias, load(bias) + grad[b]);
                    store_along<Kind>(with.grads + c * ROW / Kind::PER_UNIT, b * LANES, grad[b]);
                    Floats pair[2] = {Kind::as_stored(grad[b]), Floats{}};
                    float* to = with.grad_pairs + c / Kind::PER_UNIT * ROW + b * LANES;
                    if (Kind::PER_UNIT == 2 && c % 2) {
                        pair[1] = pair[0];
                        pair[0] = before[b];
                    }
                    before[b] = pair[0];
                    store(to, Kind::units(pair));
                }
            }
            const int64_t steps = (count + Kind::PER_UNIT - 1) / Kind::PER_UNIT;
            if (count % Kind::PER_UNIT)
                std::fill_n(with.weights + count * width, width, 0.0f);
            for (int64_t s = 0; s < steps; ++s)
                for (int64_t i = 0; i < width; i += LANES) {
                    Floats rows[Kind::PER_UNIT];
                    for (int r = 0; r < Kind::PER_UNIT; ++r)
                        rows[r] = load(with.weights + (s * Kind::PER_UNIT + r) * width + i);
                    store(with.pairs + s * width + i, Kind::units(rows));
                }
            for (int64_t i = 0; i < here.width; i += ROWS) {
                Floats sums[ROWS][BLOCKS];
                float* to = with.outputs + i * ROW;
                for (int r = 0; r < ROWS; ++r)
                    for (int b = 0; b < BLOCKS; ++b) sums[r][b] = load(to + r * ROW + b * LANES);
                add_products<Kind, ROWS, BLOCKS>(sums, with.pairs + i, 1, width, with.grad_pairs,
                                                 ROW, steps);
                for (int r = 0; r < ROWS; ++r)
                    for (int b = 0; b < BLOCKS; ++b) store(to + r * ROW + b * LANES, sums[r][b]);
            }
            if (!of.scores) return;
            const int64_t inner = (here.nodes + Kind::PER_UNIT - 1) / Kind::PER_UNIT;
            for (int64_t h = 0; h < here.heads; ++h)
                for (int c = 0; c < rounded_up; c += ROWS) {
                    Floats rows[ROWS][BLOCKS] = {};
                    add_products<Kind, ROWS, BLOCKS>(rows, with.grads + c * ROW / Kind::PER_UNIT,
                                                     ROW / Kind::PER_UNIT, 1, with.keys + h * ROW,
                                                     here.heads * ROW, inner);
                    for (int r = 0; r < ROWS && c + r < count; ++r)
                        through_softmax(here, h, position[c + r], load_[c + r],
                                        with.weights + (c + r) * width, rows[r], with);
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
            for (int b = 0; b < BLOCKS; ++b)
                grad[b] *= clipping - logits[b] * logits[b] / clipping;
        }

        // From the gradient of a head's weights to that of its scores, which joins the sums.
        static void through_softmax(const Here& here, int64_t h, int64_t position, float load_,
                                    const float* weights, Floats (&grad)[BLOCKS], Buffers& with) {
            Floats found[BLOCKS], total{};
            for (int b = 0; b < BLOCKS; ++b) {
                found[b] = load(weights + h * here.nodes + b * LANES, here.lanes(b));
                grad[b] *= found[b];
                total += grad[b];
            }
            const float along = sum(total);
            float* scores = with.scores + (position * here.heads + h) * ROW;
            float* per_load = with.per_load + h * ROW;
            for (int b = 0; b < BLOCKS; ++b) {
                grad[b] -= found[b] * along;
                store(scores + b * LANES, load(scores + b * LANES) + grad[b]);
                store(per_load + b * LANES, load(per_load + b * LANES) + grad[b] * load_);
            }
        }

        static void write(const Here& here, const Gradients& of, const Buffers& with) {
            const int64_t n = here.n, nodes = here.nodes, width = here.width;
            const size_t bytes = 4 * nodes;
            std::memcpy(of.bias + n * nodes, with.bias, bytes);
            for (int64_t i = 0; i < width; ++i)
                std::memcpy(of.outputs + (n * width + i) * nodes, with.outputs + i * ROW, bytes);
            if (!of.scores) return;
            for (int64_t h = 0; h < here.heads; ++h)
                std::memcpy(of.per_load + n * width + h * nodes, with.per_load + h * ROW, bytes);
            for (int64_t a = 0; a < nodes; ++a)
                for (int64_t h = 0; h < here.heads; ++h)
                    std::memcpy(of.scores + (n * nodes + a) * width + h * nodes,
                                with.scores + (a * here.heads + h) * ROW, bytes);
        }
    };
};

template <template <class> class Work, class Of>
int for_instances(const Tables& tables, const Of& of, int threads) {
    bool known = true;
#pragma omp parallel for schedule(dynamic) num_threads(threads) reduction(&& : known)
    for (int64_t n = 0; n < tables.instances; ++n) {
        if (!tables.is_bfloat16)
            known = for_blocks<Work<Float32>::template Code>(blocks(tables.nodes), tables, of, n) && known;
#if defined(__AVX512BF16__)
        else
            known = for_blocks<Work<BFloat16>::template Code>(blocks(tables.nodes), tables, of, n) && known;
#else
        else
            known = false;
#endif
    }
    return known;
}

}  // namespace

extern "C" {

int glimpse_takes_bfloat16() {
#if defined(__AVX512BF16__)
    return 1;
#else
    return 0;
#endif
}

// Each gives 0 where nothing is made for such sizes or such numbers.
int glimpse_play(const Tables* tables, const Play* play, int threads) {
    return for_instances<Playing>(*tables, *play, threads);
}

int glimpse_learn(const Tables* tables, const Gradients* gradients, int threads) {
    return for_instances<Learning>(*tables, *gradients, threads);
}
}

// The attention of the trunk's layers: what each node sees of all, and the gradient.
//
// Letters and shapes are those of trunk.py; D = M / H. All is computed in float32, whatever the
// numbers are stored as. Each head of an instance is small enough to stay in the cache.
#include <type_traits>

#include "vectors.h"

namespace {

// A head's numbers in a tensor (N, V, P, H, D): P is 3 for queries, keys and values, else 1.
template <class Stored>
struct Head {
    Stored* data;
    int64_t between;  // nodes

    Head(Stored* tensor, int64_t n, int64_t h, int part, int parts, int64_t nodes, int64_t heads,
         int64_t depth)
        : data(tensor + ((n * nodes * parts + part) * heads + h) * depth),
          between(parts * heads * depth) {}
};

// V rows of D numbers, padded with zeros to vectors and beyond a last tile of rows, and their
// transpose.
struct Rows {
    int64_t nodes, depth;
    int64_t row;     // D, padded
    int64_t column;  // V, padded

    Rows(int64_t nodes, int64_t depth)
        : nodes(nodes), depth(depth), row(Scratch::padded(depth)), column(Scratch::padded(nodes)) {}

    int64_t size() const { return (column + rows_for(1)) * row; }

    template <class Stored>
    void read_from(const Head<Stored>& head, float* rows, float scale = 1) const {
        for (int64_t i = 0; i < nodes; ++i)
            for (int64_t d = 0; d < depth; d += LANES) {
                const int lanes = int(std::min<int64_t>(LANES, depth - d));
                store(rows + i * row + d, read(head.data + i * head.between + d, lanes) * scale);
            }
    }

    void transpose(const float* rows, float* columns) const {
        for (int64_t i = 0; i < nodes; ++i)
            for (int64_t d = 0; d < depth; ++d) columns[d * column + i] = rows[i * row + d];
    }
};

template <int BLOCKS>
struct Seeing {
    static constexpr int ROWS = rows_for(BLOCKS), WIDE = rows_for(1);
    static constexpr int ROW = BLOCKS * LANES;  // of V x V numbers

    // to[i] = sum over j of a[i * a_row + j * a_step] * b[j], for V rows of D numbers.
    template <class Stored>
    static void combine(const Rows& shape, const float* a, int64_t a_row, int64_t a_step,
                        const float* b, float scale, const Head<Stored>& to) {
        for (int64_t d = 0; d < shape.depth; d += LANES) {
            const int lanes = int(std::min<int64_t>(LANES, shape.depth - d));
            for (int64_t i = 0; i < shape.nodes; i += WIDE) {
                Floats sums[WIDE][1] = {};
                add_products<Float32, WIDE, 1>(sums, a + i * a_row, a_row, a_step, b + d, shape.row,
                                               shape.nodes);
                for (int r = 0; r < WIDE && i + r < shape.nodes; ++r)
                    write(to.data + (i + r) * to.between + d, sums[r][0] * scale, lanes);
            }
        }
    }

    // Attention weights (V, V) of scaled queries and transposed keys.
    static void weigh(const Rows& shape, const float* queries, const float* keys, float* weights) {
        const int last = int(shape.nodes - (BLOCKS - 1) * LANES);
        const float nothing = -std::numeric_limits<float>::infinity();
        Floats beyond = all(0);
        for (int i = last; i < LANES; ++i) beyond[i] = nothing;
        for (int64_t i = 0; i < shape.nodes; i += ROWS) {
            Floats rows[ROWS][BLOCKS] = {};
            add_products<Float32, ROWS, BLOCKS>(rows, queries + i * shape.row, shape.row, 1, keys,
                                                shape.column, shape.depth);
            for (int r = 0; r < ROWS && i + r < shape.nodes; ++r) {
                rows[r][BLOCKS - 1] += beyond;
                Floats most = rows[r][0], total{};
                for (int b = 1; b < BLOCKS; ++b) most = larger(most, rows[r][b]);
                const float top = largest(most);
                for (int b = 0; b < BLOCKS; ++b) {
                    rows[r][b] = exponential(rows[r][b] - top);
                    if (b + 1 == BLOCKS) rows[r][b] = beyond == 0 ? rows[r][b] : Floats{};
                    total += rows[r][b];
                }
                const float share = 1 / sum(total);
                for (int b = 0; b < BLOCKS; ++b)
                    store(weights + (i + r) * ROW + b * LANES, rows[r][b] * share);
            }
        }
    }

    // In place of `weights` of `see`'s gradient by them: that of the scores, in `grads`.
    static void through_softmax(const Rows& shape, const float* weights, const float* of_seen,
                                const float* values, float* grads) {
        for (int64_t i = 0; i < shape.nodes; i += ROWS) {
            Floats rows[ROWS][BLOCKS] = {};
            add_products<Float32, ROWS, BLOCKS>(rows, of_seen + i * shape.row, shape.row, 1, values,
                                                shape.column, shape.depth);
            for (int r = 0; r < ROWS && i + r < shape.nodes; ++r) {
                Floats found[BLOCKS], total{};
                for (int b = 0; b < BLOCKS; ++b) {
                    found[b] = load(weights + (i + r) * ROW + b * LANES);
                    total += found[b] * rows[r][b];
                }
                const float along = sum(total);
                for (int b = 0; b < BLOCKS; ++b)
                    store(grads + (i + r) * ROW + b * LANES, found[b] * (rows[r][b] - along));
            }
        }
    }
};

// Sizes of a call.
struct Sizes {
    int64_t instances, nodes, heads, depth;
    float scale() const { return 1 / std::sqrt(float(depth)); }
};

template <class Stored>
struct Forward {
    const Stored* projected;
    Stored* seen;

    template <int BLOCKS>
    struct Code {
        static void run(const Sizes& sizes, const Forward& of, int64_t n) {
            thread_local Scratch scratch;
            const Rows shape(sizes.nodes, sizes.depth);
            const int64_t square = shape.column * Seeing<BLOCKS>::ROW;
            scratch.begin(4 * shape.size() + square);
            float *queries = scratch.zeros(shape.size()), *keys = scratch.zeros(shape.size()),
                  *values = scratch.zeros(shape.size()), *columns = scratch.zeros(shape.size()),
                  *weights = scratch.zeros(square);
            auto part = [&](int64_t h, int which) {
                return Head<const Stored>(of.projected, n, h, which, 3, sizes.nodes, sizes.heads,
                                          sizes.depth);
            };
            for (int64_t h = 0; h < sizes.heads; ++h) {
                shape.read_from(part(h, 0), queries, sizes.scale());
                shape.read_from(part(h, 1), keys);
                shape.read_from(part(h, 2), values);
                shape.transpose(keys, columns);
                Seeing<BLOCKS>::weigh(shape, queries, columns, weights);
                Seeing<BLOCKS>::combine(
                    shape, weights, Seeing<BLOCKS>::ROW, 1, values, 1,
                    Head<Stored>(of.seen, n, h, 0, 1, sizes.nodes, sizes.heads, sizes.depth));
            }
        }
    };
};

template <class Stored>
struct Backward {
    const Stored* projected;
    const Stored* of_seen;
    Stored* of_projected;

    template <int BLOCKS>
    struct Code {
        static void run(const Sizes& sizes, const Backward& of, int64_t n) {
            thread_local Scratch scratch;
            const Rows shape(sizes.nodes, sizes.depth);
            constexpr int64_t ROW = Seeing<BLOCKS>::ROW;
            const int64_t square = shape.column * ROW;
            scratch.begin(6 * shape.size() + 2 * square);
            float *queries = scratch.zeros(shape.size()), *keys = scratch.zeros(shape.size()),
                  *values = scratch.zeros(shape.size()), *seen = scratch.zeros(shape.size()),
                  *key_columns = scratch.zeros(shape.size()),
                  *value_columns = scratch.zeros(shape.size()), *weights = scratch.zeros(square),
                  *scores = scratch.zeros(square);
            auto part = [&](auto* tensor, int64_t h, int which, int parts) {
                return Head<std::remove_pointer_t<decltype(tensor)>>(
                    tensor, n, h, which, parts, sizes.nodes, sizes.heads, sizes.depth);
            };
            for (int64_t h = 0; h < sizes.heads; ++h) {
                shape.read_from(part(of.projected, h, 0, 3), queries, sizes.scale());
                shape.read_from(part(of.projected, h, 1, 3), keys);
                shape.read_from(part(of.projected, h, 2, 3), values);
                shape.read_from(part(of.of_seen, h, 0, 1), seen);
                shape.transpose(keys, key_columns);
                shape.transpose(values, value_columns);
                Seeing<BLOCKS>::weigh(shape, queries, key_columns, weights);
                Seeing<BLOCKS>::through_softmax(shape, weights, seen, value_columns, scores);
                auto write_to = [&](int which, const float* a, int64_t a_row, int64_t a_step,
                                    const float* b, float scale) {
                    Seeing<BLOCKS>::combine(shape, a, a_row, a_step, b, scale,
                                            part(of.of_projected, h, which, 3));
                };
                write_to(0, scores, ROW, 1, keys, sizes.scale());
                write_to(1, scores, 1, ROW, queries, 1);
                write_to(2, weights, 1, ROW, seen, 1);
            }
        }
    };
};

template <class Of>
int for_instances(const Sizes& sizes, const Of& of, int threads) {
    const int64_t row = blocks(sizes.nodes);
    if (row > MOST_BLOCKS) return false;
#pragma omp parallel for schedule(static) num_threads(threads)
    for (int64_t n = 0; n < sizes.instances; ++n) for_blocks<Of::template Code>(row, sizes, of, n);
    return true;
}

}  // namespace

extern "C" {

// Each gives 0 where nothing is made for so many nodes.
int attend(const void* projected, void* seen, int64_t instances, int64_t nodes, int64_t heads,
           int64_t depth, int64_t is_bfloat16, int threads) {
    const Sizes sizes{instances, nodes, heads, depth};
    if (is_bfloat16)
        return for_instances(sizes, Forward<uint16_t>{(const uint16_t*)projected, (uint16_t*)seen},
                             threads);
    return for_instances(sizes, Forward<float>{(const float*)projected, (float*)seen}, threads);
}

int attend_backward(const void* projected, const void* of_seen, void* of_projected,
                    int64_t instances, int64_t nodes, int64_t heads, int64_t depth,
                    int64_t is_bfloat16, int threads) {
    const Sizes sizes{instances, nodes, heads, depth};
    if (is_bfloat16)
        return for_instances(sizes,
                             Backward<uint16_t>{(const uint16_t*)projected,
                                                (const uint16_t*)of_seen, (uint16_t*)of_projected},
                             threads);
    return for_instances(
        sizes,
        Backward<float>{(const float*)projected, (const float*)of_seen, (float*)of_projected},
        threads);
}
}

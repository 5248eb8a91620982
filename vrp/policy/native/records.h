// What Python passes; records.py has the same, field by field.
#pragma once

#include <cstdint>

extern "C" {

// As vrp/policy/glimpse.py's Factors, with the bias and scale of its Tables.
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
    const int64_t* first;   // (N, K), imposed on the first step, below 0 where not; or null
    const int64_t* given;   // (N, K, S), imposed on all steps; or null
    const float* uniforms;  // (S, N, K), to sample by; or null, which takes the likeliest
    float temperature;
    int64_t solutions, most;  // K, S
    Tape tape;                // all null without
    int64_t* actions;         // (N, K, S), found zeroed
    int32_t* steps;           // (N), of the longest tour; -1 where a logit is not a number
};

// What `glimpse.make_factors` makes of scores and per_load.
struct Factors {
    const float* scores;  // (N, V, H, V), of any strides but 1 along the last
    int64_t scores_n, scores_a, scores_h;
    const float* per_load;  // (N, H, V)
    const float* scale;     // (N)
    int64_t instances, nodes, heads, loads;
    float* by_node;     // (N, V, H V)
    float* by_load;     // (N, L, H V), or null
    float* below_zero;  // (N, H V), per_load less its largest
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

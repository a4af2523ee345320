// What a row's logits come to: the likeliest text and how likely it is, and the share of the first class in each head of the
// pauses. The bound is nothing; it is done here because a few dozen calls of PyTorch's, which find none of their code in the
// cache after a step has gone through a gigabyte, took as long as a twentieth of the step.
#pragma once

// The first of the largest.
static inline int first_of_largest(const float* x, int count, float* largest_of_all) {
    Floats most = all(-__builtin_inff());
    int i = 0;
    for (; i + LANES <= count; i += LANES) most = larger(most, load<Floats>(x + i));
    float top = largest(most);
    for (; i < count; i++) top = x[i] > top ? x[i] : top;
    *largest_of_all = top;
    for (i = 0; i < count - 1 && x[i] != top; i++) continue;
    return i;
}

// log of the sum of e^x, of which the largest is `top`.
static inline float log_of_sum(const float* x, int count, float top) {
    Floats total{};
    int i = 0;
    for (; i + LANES <= count; i += LANES) total += exponential(load<Floats>(x + i) - top);
    float rest = sum(total);
    for (; i < count; i++) rest += __builtin_expf(x[i] - top);
    return top + __builtin_logf(rest);
}

static inline float share_of_first(const float* x, int count) {
    float top = x[0], total = 0;
    for (int i = 1; i < count; i++) top = x[i] > top ? x[i] : top;
    for (int i = 0; i < count; i++) total += __builtin_expf(x[i] - top);
    return __builtin_expf(x[0] - top) / total;
}

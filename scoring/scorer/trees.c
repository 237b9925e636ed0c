/* Runs ensembles of trees over records: by bit vectors, or by walking down the trees.

   Plain C behind ctypes. The tables are made and checked in Python (bits.py and walk.py), which says what they hold;
   what is indexed by here was held against its array there. Scores are exact: comparisons are those of float64, and
   leaves are added from 0.0 on in the order of the trees, so there may be no contraction and no fast maths. */

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define ABI 3 /* as in library.py; another one whenever a structure, an argument or LANES changes */
#define LANES 8 /* walks at a time: while one waits for memory or a comparison, the others go on */
#define GROUPS 8 /* of so many records each: a tree comes into the core's cache once for all of them */
#define TREES 256 /* at a time, so that their bits stay in registers and in the first cache */
#define FEATURES 256 /* at most, by bit vectors; as in bits.py */

typedef struct {
    int64_t features, trees, leaves; /* leaves: places for them by tree, as many as a word has bits */
    const int64_t *columns;          /* by feature */
    const int64_t *counts;           /* its thresholds */
    const double *const *thresholds; /* ascending */
    const void *const *tables;       /* counts + 2 rows of a word per tree; the last is for missing values */
    const double *weights;           /* by tree and leaf */
    double divisor;
} bits_t;

typedef struct {
    int64_t split;  /* a key: above it to the second child */
    uint32_t value; /* LANES * the place in the block of what is compared */
    uint32_t child; /* 2 * the first child's number, the second follows; a leaf is its own */
} node_t;

typedef struct {
    int64_t values, lookups, trees;
    const node_t *nodes;
    const double *weights;   /* by node */
    const uint32_t *roots;   /* twice the number */
    const uint32_t *depths;  /* steps from the root to the deepest leaf */
    const int64_t *columns;  /* of the plain values */
    const int64_t *missing;  /* what stands for NaN in each */
    const int64_t *of;       /* by lookup: its column, thresholds, and answers */
    const int64_t *counts, *answers;
    const double *const *thresholds;
    const uint8_t *const *tables; /* counts + 2 rows of answers: the values that follow the plain ones */
    double divisor;
} walk_t;

int64_t abi(void) { return ABI; }

/* For LANES numbers how many thresholds are below each; one more than there are for NaN. Without a branch to
   mispredict, and side by side, since each step of a search waits for the one before. */
static inline void places(const double *thresholds, int64_t count, const double *x, int64_t *at) {
    for (int l = 0; l < LANES; l++) at[l] = 0;
    for (int64_t left = count; left > 1; left -= left / 2)
        for (int l = 0; l < LANES; l++) at[l] += (left / 2) & -(int64_t)(thresholds[at[l] + left / 2 - 1] < x[l]);
    for (int l = 0; l < LANES; l++) at[l] = x[l] != x[l] ? count + 1 : at[l] + (thresholds[at[l]] < x[l]);
}

#define BITS(NAME, WORD, LOWEST)                                                                                 \
    static inline double NAME##_sum(const bits_t *t, const WORD *const *row) {                                   \
        double sum = 0.0;                                                                                        \
        for (int64_t first = 0; first < t->trees; first += TREES) {                                              \
            int64_t n = t->trees - first < TREES ? t->trees - first : TREES, f = 1;                              \
            WORD left[TREES];                                                                                    \
            memcpy(left, row[0] + first, (size_t)n * sizeof(WORD));                                              \
            for (; f + 3 < t->features; f += 4) {                                                                \
                const WORD *a = row[f] + first, *b = row[f + 1] + first;                                         \
                const WORD *c = row[f + 2] + first, *d = row[f + 3] + first;                                     \
                for (int64_t i = 0; i < n; i++) left[i] &= a[i] & b[i] & c[i] & d[i];                            \
            }                                                                                                    \
            for (; f < t->features; f++)                                                                         \
                for (int64_t i = 0; i < n; i++) left[i] &= row[f][first + i];                                    \
            const double *weights = t->weights + first * t->leaves;                                              \
            const WORD last = (WORD)1 << (8 * sizeof(WORD) - 1); /* none left cannot be; never beyond */         \
            for (int64_t i = 0; i < n; i++) sum += weights[i * t->leaves + LOWEST(left[i] | last)];              \
        }                                                                                                        \
        return sum / t->divisor;                                                                                 \
    }                                                                                                            \
    int64_t NAME(const bits_t *t, const double *rows, int64_t count, int64_t width, double *scores) {            \
        const WORD *row[LANES][FEATURES];                                                                        \
        for (int64_t r = 0; r < count; r += LANES) {                                                             \
            int64_t n = count - r < LANES ? count - r : LANES; /* the last one stands for those that lack */     \
            for (int64_t f = 0; f < t->features; f++) {                                                          \
                double x[LANES];                                                                                 \
                int64_t at[LANES];                                                                               \
                for (int l = 0; l < LANES; l++) x[l] = rows[(r + (l < n ? l : n - 1)) * width + t->columns[f]];  \
                places(t->thresholds[f], t->counts[f], x, at);                                                   \
                for (int l = 0; l < LANES; l++) row[l][f] = (const WORD *)t->tables[f] + at[l] * t->trees;       \
            }                                                                                                    \
            for (int64_t l = 0; l < n; l++) scores[r + l] = NAME##_sum(t, row[l]);                               \
        }                                                                                                        \
        return 0;                                                                                                \
    }

BITS(bits32, uint32_t, __builtin_ctz)
BITS(bits64, uint64_t, __builtin_ctzll)

/* Whole numbers in the order of the floating-point ones; both zeros are one. Not for NaN. */
static inline int64_t key(double x) {
    int64_t bits;
    x += 0.0;
    memcpy(&bits, &x, sizeof bits);
    return bits ^ ((bits >> 63) & INT64_MAX);
}

/* The values of LANES records, which are step numbers apart: those of one place stand together. */
static inline void fill(const walk_t *t, const double *rows, int64_t step, int64_t *block) {
    for (int64_t v = 0; v < t->values; v++, block += LANES)
        for (int l = 0; l < LANES; l++) {
            double x = rows[l * step + t->columns[v]];
            block[l] = x != x ? t->missing[v] : key(x);
        }
    for (int64_t k = 0; k < t->lookups; k++, block += LANES * t->answers[k - 1]) {
        double x[LANES];
        int64_t at[LANES];
        for (int l = 0; l < LANES; l++) x[l] = rows[l * step + t->of[k]];
        places(t->thresholds[k], t->counts[k], x, at);
        for (int l = 0; l < LANES; l++)
            for (int64_t a = 0; a < t->answers[k]; a++) block[a * LANES + l] = t->tables[k][at[l] * t->answers[k] + a];
    }
}

/* From nodes to leaves. A leaf leads to itself, so all take as many steps, and none depends on what was compared. */
static inline void descend(const node_t *nodes, const int64_t *block, uint32_t *at, uint32_t depth) {
    const char *base = (const char *)nodes;
    size_t now[LANES];
    for (int l = 0; l < LANES; l++) now[l] = at[l];
    for (; depth > 0; depth--)
        for (int l = 0; l < LANES; l++) {
            const node_t *node = (const node_t *)(const void *)(base + 8 * now[l]);
            now[l] = (size_t)node->child + 2 * (size_t)(block[(size_t)node->value + (size_t)l] > node->split);
        }
    for (int l = 0; l < LANES; l++) at[l] = (uint32_t)now[l];
}

/* LANES trees at a time for one record. */
static double one(const walk_t *t, const double *row, int64_t *block) {
    double sum = 0.0;
    fill(t, row, 0, block);
    for (int64_t first = 0; first < t->trees; first += LANES) {
        uint32_t at[LANES], depth = 0;
        for (int l = 0; l < LANES; l++) {
            int64_t tree = first + l < t->trees ? first + l : t->trees - 1;
            at[l] = t->roots[tree];
            depth = t->depths[tree] > depth ? t->depths[tree] : depth;
        }
        descend(t->nodes, block, at, depth);
        for (int l = 0; l < LANES && first + l < t->trees; l++) sum += t->weights[at[l] / 2];
    }
    return sum / t->divisor;
}

/* LANES records at a time for one tree; the sums of all groups grow tree by tree. */
static void many(const walk_t *t, const double *rows, int64_t groups, int64_t width, double *scores, int64_t *room,
                 int64_t size) {
    double sums[GROUPS * LANES] = {0.0};
    for (int64_t g = 0; g < groups; g++) fill(t, rows + g * LANES * width, width, room + g * size);
    for (int64_t tree = 0; tree < t->trees; tree++)
        for (int64_t g = 0; g < groups; g++) {
            uint32_t at[LANES];
            for (int l = 0; l < LANES; l++) at[l] = t->roots[tree];
            descend(t->nodes, room + g * size, at, t->depths[tree]);
            for (int l = 0; l < LANES; l++) sums[g * LANES + l] += t->weights[at[l] / 2];
        }
    for (int64_t r = 0; r < groups * LANES; r++) scores[r] = sums[r] / t->divisor;
}

int64_t walk(const walk_t *t, const double *rows, int64_t count, int64_t width, double *scores) {
    int64_t size = LANES * t->values, groups = count / LANES < GROUPS ? count / LANES : GROUPS, r = 0;
    for (int64_t k = 0; k < t->lookups; k++) size += LANES * t->answers[k];
    int64_t *room = malloc((size_t)(size * (groups > 0 ? groups : 1)) * sizeof *room);
    if (room == NULL) return -1;
    while (count - r >= LANES) {
        groups = (count - r) / LANES < GROUPS ? (count - r) / LANES : GROUPS;
        many(t, rows + r * width, groups, width, scores + r, room, size);
        r += groups * LANES;
    }
    for (; r < count; r++) scores[r] = one(t, rows + r * width, room);
    free(room);
    return 0;
}

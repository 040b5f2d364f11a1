/* adapter.h - LoRA adapters on an open model: what their modules add to its linear layers.
 *
 *     LoRA   y += s B (A x)
 *     DoRA   y += (g - 1) (y - bias) + g (s B (A x)),  g = m / |row of W + s B A|
 *
 * A x and B (A x) are matrix products (kernels.h), y += s z is one fma. Several adapters come one
 * after the other, and as in peft's forward pass DoRA scales what stands before it, while its
 * norms are those of the base alone: with DoRA the order counts. A row's bits depend on nothing
 * but the row, as everywhere (docs/NUMERICS.md). */
#ifndef QUERN_MODEL_ADAPTER_H
#define QUERN_MODEL_ADAPTER_H

#include <stdatomic.h>

#include "formats/peft_adapter.h"
#include "model/model.h"

enum {
    ADAPTERS_MAX = 8,  /* on one sequence */
    ADAPTER_ROWS = 64, /* tokens done at a time: bounds what a pass needs */
};

enum adapter_site { SITE_Q, SITE_K, SITE_V, SITE_O, SITE_GATE, SITE_UP, SITE_DOWN, SITE_COUNT };

/* One module. */
struct adapter_linear {
    struct weight a, b; /* [rank, in] [out, rank], as in the file */
    float scale;        /* s */
    const float *gain;  /* g [out]; NULL: LoRA */
};

struct adapter_layer {
    const struct adapter_linear *linears[SITE_COUNT]; /* NULL: the module has none */
    /* [n_experts], by site from SITE_GATE on; NULL: no expert has one. */
    const struct adapter_linear *(*experts)[3];
};

/* An open adapter, with a reference count; else immutable, so that threads may share it. */
struct quern_adapter {
    atomic_size_t refs;
    const struct model *model;  /* borrowed */
    struct peft_adapter *files; /* the mapping of a and b */
    struct arena arena;
    struct adapter_layer *layers;      /* [n_layers] */
    const struct adapter_linear *head; /* or NULL */
    uint64_t fingerprint[2];           /* of everything that counts, scale included */
};

/* `scale` multiplies s (as peft's set_scale does; DoRA's norms are those of W + scale s B A).
 * Names, shapes and types are checked against the model. QUERN_ERR_UNSUPPORTED, naming it, for a
 * module that can only be merged (modules_to_save). The model must outlive the adapter. */
enum quern_status adapter_open(const struct model *m, const char *dir, float scale,
                               struct quern_adapter **out, struct quern_error *err);
/* The same from files that are open; takes them over, after a failure too. */
enum quern_status adapter_from_files(const struct model *m, struct peft_adapter *files, float scale,
                                     struct quern_adapter **out, struct quern_error *err);
void adapter_retain(const struct quern_adapter *a);
void adapter_release(const struct quern_adapter *a); /* NULL is fine */

/* What is added to one sequence, in this order. */
struct adapter_set {
    const struct quern_adapter *items[ADAPTERS_MAX]; /* a reference to each */
    size_t n;
};

/* Fills *out, with references. QUERN_ERR_LIMIT: too many; QUERN_ERR_ARG: of another model, or NULL.
 */
enum quern_status adapter_set_init(struct adapter_set *out, const struct model *m,
                                   const struct quern_adapter *const *adapters, size_t n,
                                   struct quern_error *err);
void adapter_set_release(struct adapter_set *s); /* zeroed is fine */
bool adapter_set_equal(const struct adapter_set *a,
                       const struct adapter_set *b); /* NULL is empty */
/* Keys and values computed with one set are none of another's. */
void adapter_set_fingerprint(const struct adapter_set *s, uint64_t out[2]);

struct workspace;

/* Which module: of a layer, of one of its experts (expert >= 0), or the head (layer SIZE_MAX). */
struct adapter_place {
    size_t layer;
    enum adapter_site site;
    int32_t expert;
};

/* Adds to y[n, out] what the rows' sequences have on this place; x[n, in] is what the linear layer
 * was given and `bias` what it added (or NULL). Row i is the pass's token rows[i]; rows NULL: token
 * i. */
void adapters_add(const struct model *m, struct workspace *ws, struct adapter_place place, float *y,
                  const float *x, const float *bias, const int32_t *rows, size_t n);

#endif

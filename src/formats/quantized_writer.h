/* quantized_writer.h - coded matrices in the layouts that others load: int8 and int4 as
 * compressed-tensors' pack-quantized, NF4 as bitsandbytes saves it, FP8 as Qwen's releases. */
#ifndef QUERN_FORMATS_QUANTIZED_WRITER_H
#define QUERN_FORMATS_QUANTIZED_WRITER_H

#include "base/arena.h"
#include "formats/hf_config.h"
#include "formats/safetensors_writer.h"

enum quantized_layout { LAYOUT_INT8, LAYOUT_INT4, LAYOUT_NF4, LAYOUT_FP8 };

enum { QUANTIZED_LAYOUT_PARTS_MAX = 6, LAYOUT_FP8_BLOCK = 128, LAYOUT_NF4_BLOCK = 64 };

/* Whether the head is coded too, and how. It is no longer the embedding then. */
struct quantized_head {
    bool is_coded;
    enum quantized_layout layout; /* INT8 or INT4, in a checkpoint of INT8 or INT4 */
};

/* One matrix, coded. */
struct coded_matrix {
    size_t rows, cols, group;
    const uint8_t *q; /* [rows][cols]: int8 plus 128, int4 plus 8, NF4 and E4M3 codes */
    const float *scale; /* int: [rows][groups]; FP8: [rows / 128][cols / 128]; all exact in BF16 */
    const uint8_t *absmax;      /* NF4: a code for each 64 elements, row after row */
    const float *nested_absmax; /* one for each 256 of those */
    float offset;
};

/* Declares the tensors of "base.weight" [rows, cols]; names live in `arena`. The number of them, or 0
 * without memory. */
size_t quantized_layout_declare(enum quantized_layout layout, const char *base, size_t rows,
                                size_t cols, size_t group, struct arena *arena,
                                struct tensor_decl out[QUANTIZED_LAYOUT_PARTS_MAX]);
/* Writes them, in the same order. */
enum quern_status quantized_layout_write(enum quantized_layout layout, const struct coded_matrix *m,
                                         struct safetensors_writer *w, struct quern_error *err);
/* Copies from_dir/config.json, which is `config`, to to_dir with the quantization_config of such a
 * checkpoint. */
enum quern_status quantized_layout_write_config(enum quantized_layout layout,
                                                const struct hf_config *config, size_t group,
                                                const struct quantized_head *head, size_t head_group,
                                                const char *from_dir, const char *to_dir,
                                                struct quern_error *err);

#endif

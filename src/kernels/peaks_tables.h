/* peaks_tables.h - the loops of every folder, for peaks.c alone. */
#ifndef QUERN_KERNELS_PEAKS_TABLES_H
#define QUERN_KERNELS_PEAKS_TABLES_H

#include <stddef.h>

double avx2_peak_f32(size_t rounds);
double avx2_peak_int8(size_t rounds); /* AVX-VNNI */
void avx2_peak_read(const void *p, size_t bytes);
double avx512_peak_f32(size_t rounds);
double avx512_peak_bf16(size_t rounds); /* AVX512-BF16 */
double avx512_peak_int8(size_t rounds); /* AVX512-VNNI */
void avx512_peak_read(const void *p, size_t bytes);

#endif

/* transpose16.h - sixteen rows of sixteen dwords each become sixteen registers with the rows in their
 * lanes. The values have names, w0..w15 in and t0..t15 out, since gcc 12 keeps arrays of
 * registers in memory. 4 shuffles a register, less than what memory takes to deliver it. */
#ifndef QUERN_KERNELS_AVX512_TRANSPOSE16_H
#define QUERN_KERNELS_AVX512_TRANSPOSE16_H

#define EACH_16(M) \
    M(0) M(1) M(2) M(3) M(4) M(5) M(6) M(7) M(8) M(9) M(10) M(11) M(12) M(13) M(14) M(15)

/* Rows 4o .. 4o + 3: block b (four dwords) of q{o}{c} holds column 4b + c of these rows. */
#define TRANSPOSE16_FOUR_ROWS(o, r0, r1, r2, r3)                   \
    __m512i l##o##0 = _mm512_unpacklo_epi32(w##r0, w##r1);         \
    __m512i h##o##0 = _mm512_unpackhi_epi32(w##r0, w##r1);         \
    __m512i l##o##1 = _mm512_unpacklo_epi32(w##r2, w##r3);         \
    __m512i h##o##1 = _mm512_unpackhi_epi32(w##r2, w##r3);         \
    __m512i q##o##0 = _mm512_unpacklo_epi64(l##o##0, l##o##1);     \
    __m512i q##o##1 = _mm512_unpackhi_epi64(l##o##0, l##o##1);     \
    __m512i q##o##2 = _mm512_unpacklo_epi64(h##o##0, h##o##1);     \
    __m512i q##o##3 = _mm512_unpackhi_epi64(h##o##0, h##o##1);

/* Columns c, 4 + c, 8 + c, 12 + c of all rows. */
#define TRANSPOSE16_FOUR_COLUMNS(c, c0, c1, c2, c3)                \
    __m512i u##c##0 = _mm512_shuffle_i32x4(q0##c, q1##c, 0x88);    \
    __m512i u##c##1 = _mm512_shuffle_i32x4(q0##c, q1##c, 0xDD);    \
    __m512i v##c##0 = _mm512_shuffle_i32x4(q2##c, q3##c, 0x88);    \
    __m512i v##c##1 = _mm512_shuffle_i32x4(q2##c, q3##c, 0xDD);    \
    const __m512i t##c0 = _mm512_shuffle_i32x4(u##c##0, v##c##0, 0x88); \
    const __m512i t##c1 = _mm512_shuffle_i32x4(u##c##1, v##c##1, 0x88); \
    const __m512i t##c2 = _mm512_shuffle_i32x4(u##c##0, v##c##0, 0xDD); \
    const __m512i t##c3 = _mm512_shuffle_i32x4(u##c##1, v##c##1, 0xDD);

#define TRANSPOSE16                                                                   \
    TRANSPOSE16_FOUR_ROWS(0, 0, 1, 2, 3) TRANSPOSE16_FOUR_ROWS(1, 4, 5, 6, 7)         \
    TRANSPOSE16_FOUR_ROWS(2, 8, 9, 10, 11) TRANSPOSE16_FOUR_ROWS(3, 12, 13, 14, 15)   \
    TRANSPOSE16_FOUR_COLUMNS(0, 0, 4, 8, 12) TRANSPOSE16_FOUR_COLUMNS(1, 1, 5, 9, 13) \
    TRANSPOSE16_FOUR_COLUMNS(2, 2, 6, 10, 14) TRANSPOSE16_FOUR_COLUMNS(3, 3, 7, 11, 15)

#endif

/* Where kernels may be compiled for matrix tiles: the assembler must know their instructions. */
#ifndef FASTCONV_TILES_CPU_H
#define FASTCONV_TILES_CPU_H

#if defined(__linux__) && defined(__x86_64__) && !defined(__ILP32__)
#if defined(__clang__) ? __clang_major__ >= 12 : __GNUC__ >= 11
#define CAN_HAVE_TILES
#endif
#endif

#endif

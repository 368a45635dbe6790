// All kernels, compiled as one: tools/ptx makes cellsegd.ptx of it, tools/host-kernels a library for machines without a GPU.
#include "preprocess.cu"
#include "candidates.cu"
#include "nms.cu"
#include "masks.cu"

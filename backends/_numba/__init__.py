"""numba-direct: plans, kernels in LLVM's vectors, gradients, int8 and epilogues."""

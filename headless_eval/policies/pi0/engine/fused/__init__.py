"""The engine of hand-written CUDA and Triton kernels."""

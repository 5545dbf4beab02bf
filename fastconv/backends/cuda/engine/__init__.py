"""What every CUDA algorithm is built on: kernels from Python source, compiled or simulated."""

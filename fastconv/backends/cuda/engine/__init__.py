"""What every CUDA algorithm stands on: kernels from Python source, compiled or simulated."""

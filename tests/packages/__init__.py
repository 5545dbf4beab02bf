"""Packages that carry ONNX models and call onnxruntime, run with fastconv in its place."""

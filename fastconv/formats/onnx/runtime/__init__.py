"""The names of onnxruntime around its sessions: options, values, bindings, providers, modules."""

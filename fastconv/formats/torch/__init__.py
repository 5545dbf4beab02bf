"""PyTorch modules as graphs: `convert` through torch.export, a backend of torch.compile."""

"""The kernels of minimal filtering; their plans are in ``native.conv.winograd``."""

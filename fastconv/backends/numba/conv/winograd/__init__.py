"""The kernels of minimal filtering; their plans stand in ``native.conv.winograd``."""

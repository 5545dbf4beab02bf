"""Names of onnxruntime's that fastconv leaves out on purpose, by what they belong to, and why."""

from __future__ import annotations

LEFT_OUT: dict[str, dict[str, tuple[str, ...]]] = {
    "fixed adapters of weights (LoRA) are read from a format of onnxruntime's own": {
        "module": ("AdapterFormat", "LoraAdapter"),
        "RunOptions": ("add_active_adapter",),
    },
    "compiling a model ahead, and packages of models, write formats of onnxruntime's own": {
        "module": (
            "ModelCompiler", "ModelPackage", "ModelPackageComponentContext", "ModelPackageContext",
            "ModelPackageOptions", "ModelPackageWriteMode", "OrtCompileApiFlags",
            "OrtEpContextData", "OrtEpContextDataBuffer", "OrtExternalInitializerInfo",
        ),
        "SessionOptions": (
            "add_external_initializers_from_files_in_memory", "clear_ep_context_data_read_func",
            "set_ep_context_data_read_func", "set_load_cancellation_flag",
        ),
    },
    "execution providers that are libraries, and how they are chosen": {
        "module": (
            "OrtDeviceVendorId", "OrtEpAssignedNode", "OrtEpAssignedSubgraph", "OrtEpDevice",
            "OrtExecutionProviderDevicePolicy", "OrtHardwareDevice", "OrtHardwareDeviceType",
            "OrtSyncStream", "get_ep_devices", "register_execution_provider_library",
            "unregister_execution_provider_library",
        ),
        "InferenceSession": (
            "get_input_epdevices", "get_provider_graph_assignment_info", "get_tuning_results",
            "release_captured_graph", "set_ep_dynamic_options", "set_tuning_results",
        ),
        "SessionOptions": (
            "add_provider_for_devices", "set_provider_selection_policy",
            "set_provider_selection_policy_delegate",
        ),
    },
    "allocators: memory is planned for each shape": {
        "module": (
            "OrtAllocatorType", "OrtArenaCfg", "OrtDeviceMemoryType", "OrtMemType",
            "OrtMemoryInfo", "OrtMemoryInfoDeviceType", "create_and_register_allocator",
            "create_and_register_allocator_v2",
        ),
        "InferenceSession": ("get_input_memory_infos", "get_output_memory_infos"),
    },
    "sparse tensors: no input of a network here is one": {
        "module": ("OrtSparseFormat", "SparseTensor"),
        "OrtValue": ("as_sparse_tensor", "ort_value_from_sparse_tensor"),
    },
}  # fmt: skip


def left_out(kind: str) -> set[str]:
    """Return the names that are left out of the module or of one of its classes."""
    return {name for why in LEFT_OUT.values() for name in why.get(kind, ())}

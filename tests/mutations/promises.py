"""What README.md and docs/architecture.md promise, where no other table breaks it."""

from tests.mutations.mutation import Mutation

NUMBA = {"FASTCONV_BACKEND": "numba"}
CHOOSE = "fastconv/dispatch/choose.py"
CHOICES = "tests/dispatch/test_choose.py"
TUNING = "tests/dispatch/test_tuning.py"
BITS = "tests/trust/test_bits.py"
CLIFFS = "tests/trust/test_cliffs.py"
SETTINGS = "tests/trust/test_settings.py"
AGAIN = "fastconv/functional/again.py"
CALLS = "tests/functional/test_again.py"
DRIVER = "fastconv/backends/numba/engine/driver.py"

MUTATIONS = [
    # 1: no cliffs.
    Mutation(
        "fastconv/backends/native/algorithm.py",
        "    def why_not(self, problem: Any) -> str | None:\n",
        "    def why_not(self, problem: Any) -> str | None:\n"
        "        if max(getattr(problem, 'dilation', (1,))) > 2:\n"
        "            return 'dilation'\n",
        f"{CLIFFS} -k compiled_kernel",
        "no cliffs: every legal shape runs on compiled kernels",
    ),
    Mutation(
        CHOOSE,
        "not followed, offer.seconds(frozen, measured)\n",
        "not followed, -offer.seconds(frozen, measured)\n",
        f"{CLIFFS} -k predicted_far",
        "no cliffs: no convolution is far from the machine's limit",
    ),
    # 2: the same bits, inside a bound.
    Mutation(
        CHOOSE,
        "    return problem.for_one_image().without_idle()\n",
        "    return problem.without_idle()\n",
        f"{CHOICES} -k depend_on_the_batch",
        "choice is by image: the batch does not move it",
    ),
    Mutation(
        DRIVER,
        "                last = items * (worker + 1) // threads\n",
        "                last = items * (worker + 1) // threads - (worker == 2)\n",
        f"{BITS} -k 'layers and numba'",
        "any number of threads gives the same bits",
        NUMBA,
    ),
    Mutation(
        "fastconv/dispatch/run.py",
        "    arrays = [None if value is None else ready(value) for value in inputs]\n",
        "    arrays = [None if value is None else ready(value) for value in inputs]\n"
        "    if arrays[0].dtype.kind == 'f':\n"
        "        arrays[0] = arrays[0] + arrays[0].dtype.type(0) * arrays[0].sum()\n",
        f"{BITS} -k 'nan_stays and c'",
        "a NaN stays in its image",
    ),
    Mutation(
        CHOOSE,
        "not followed, offer.seconds(frozen, measured)\n",
        "not followed, hash(str(offer.algorithm)) % 9\n",
        f"{BITS} -k other_processes",
        "another process gives the same bits",
    ),
    Mutation(
        "fastconv/backends/native/conv/winograd/algorithm.py",
        "        return winograd_bound(*axes, channels, unit(problem.dtype))\n",
        "        return winograd_bound(*axes, channels, unit(problem.dtype)) / 8\n",
        "tests/trust/test_fuzz.py -k say_something",
        "every algorithm stays inside its stated bound",
    ),
    Mutation(
        CHOOSE,
        "bound > rtol and offer.algorithm.approximates",
        "bound > rtol + 1 and offer.algorithm.approximates",
        f"{CHOICES} -k rtol",
        "no algorithm whose bound is above rtol is taken",
    ),
    # 3: it says what it does.
    Mutation(
        CHOOSE,
        "return is_reference, not followed, offer.seconds(frozen, measured)\n",
        "return is_reference, not followed, -offer.seconds(frozen, measured)\n",
        f"{CHOICES} -k cheapest",
        "the cheapest of those that can is taken",
    ),
    Mutation(
        CHOOSE,
        'raise ValueError(f"{problem.name} cannot run as asked: {refusals}")',
        'raise ValueError(f"{problem.name} cannot run as asked")',
        "tests/trust/test_says.py -k reasons",
        "what is asked for and cannot serve is refused with the reason",
    ),
    # Settings.
    Mutation(
        "fastconv/settings.py",
        'for name in ("FASTCONV_NUM_THREADS", "OMP_NUM_THREADS"):',
        'for name in ("FASTCONV_NUM_THREADS", "OPENMP_NUM_THREADS"):',
        "tests/backends/test_engine.py -k follow_the_setting",
        "OMP_NUM_THREADS is honoured",
    ),
    Mutation(
        "fastconv/settings.py",
        "        cores = len(os.sched_getaffinity(0))\n",
        "        cores = os.cpu_count() or 1\n",
        "tests/trust/test_threads.py -k affinity",
        "threads keep to the cores that the process may use",
    ),
    Mutation(
        "fastconv/machine/__init__.py",
        "    return max(wanted, best, key=ISAS.index)\n",
        "    return wanted\n",
        f"{SETTINGS} -k instruction_set",
        "no instruction set above the CPU's is used",
    ),
    Mutation(
        CHOOSE,
        "    if limit is not None and cost.workspace_bytes > limit:\n",
        "    if False:\n",
        f"{CHOICES} {SETTINGS} -k workspace",
        "FASTCONV_WORKSPACE_MB rules plans out",
    ),
    Mutation(
        DRIVER,
        '@cached_njit("drive_serial", nogil=True)',
        '@cached_njit("drive_serial")',
        f"{SETTINGS} -k 'gil and numba'",
        "the GIL is released",
        NUMBA,
    ),
    Mutation(
        "README.md",
        "| `FASTCONV_CUDA_ARCH` |",
        "| `CUDA_ARCH` |",
        f"{SETTINGS} -k readme",
        "README lists every setting",
    ),
    # Tuning.
    Mutation(
        CHOOSE,
        " for c in able if _bounded(c, problem).why_not is None), None)",
        " for c in able), None)",
        f"{TUNING} {CHOICES} -k 'never_selects or rtol'",
        "no table selects what cannot serve inside rtol",
    ),
    Mutation(
        "fastconv/dispatch/tuning.py",
        "    if table.machine != here:\n",
        "    if False:\n",
        f"{TUNING} -k another_machine",
        "a table for another machine counts only where it is pinned",
    ),
    Mutation(
        "fastconv/dispatch/table.py",
        '_LEFT_OUT = ("batch", "bias", "residual", "activation", "precision", "any_size")',
        '_LEFT_OUT = ("batch", "residual", "activation", "precision")',
        f"{TUNING} -k any_batch",
        "a tuned choice is the same with any epilogue",
    ),
    # Meanings, errors, names.
    Mutation(
        "fastconv/backends/reference/conv.py",
        "    if residual is not None:\n",
        "    total = activate(total, problem.activation)\n    if residual is not None:\n",
        "tests/functional/test_conv.py -k 'epilogue and reference'",
        "the epilogue is bias, then residual, then activation",
    ),
    Mutation(
        "fastconv/problem/values.py",
        "{dtype.name}; accepted are {', '.join(accepted)}\")",
        '{dtype.name}")',
        "tests/problem/test_conv.py -k type_errors",
        "a TypeError for a dtype lists those accepted",
    ),
    Mutation(
        "fastconv/network/errors.py",
        '            error.args = (f"{error.args[0]} {label}",)\n',
        "",
        "tests/network/test_network.py",
        "an error names its node",
    ),
    Mutation(
        "fastconv/nn/linear.py",
        "self.weight = uniform((self.out_features, ",
        "self.kernel = uniform((self.out_features, ",
        "tests/nn/test_module.py -k state_dicts",
        "layers have torch's state_dict keys",
    ),
    Mutation(
        "fastconv/dispatch/run.py",
        "isinstance(parameter, (Parameter, StoredParameter)) and parameter.frozen",
        "isinstance(parameter, (Parameter, StoredParameter))",
        f"{CHOICES} -k copies_that_can",
        "a weight that is changed is never stale",
    ),
    # 4: fast as called.
    Mutation(
        CHOOSE,
        "return own + (0.0 if frozen else self.cost.packing_seconds)",
        "return own",
        "tests/backends/test_weights.py -k counts_for_plain",
        "what packing takes counts in the choice",
    ),
    Mutation(
        AGAIN,
        "            key += kind, value\n",
        "            key.append(value)\n",
        f"{CALLS} -k wrong_type",
        "a call is like another in the types of its options too",
    ),
    Mutation(
        AGAIN,
        "return all(arrays[i] is array for i, array in self.held)",
        "return True",
        f"{CALLS} -k parameters_that_are_replaced",
        "a plan that holds parameters serves calls with those alone",
    ),
    Mutation(
        AGAIN,
        " or len(set(addresses)) < len(addresses):",
        ":",
        f"{CALLS} -k one_array_for_two",
        "a call with one array for two arguments does not serve other calls",
    ),
    # The house.
    Mutation(
        "fastconv/problem/record.py",
        "from __future__ import annotations\n",
        "from __future__ import annotations\n\nimport fastconv.settings\n",
        "tests/test_floors.py -k 'problem or contracts'",
        "each floor imports only floors below it",
    ),
    Mutation(
        "fastconv/__init__.py",
        "import importlib\nfrom typing import Any\n",
        "import importlib\nfrom typing import Any\n\nimport click\n",
        "tests/test_floors.py -k heavy",
        "importing fastconv loads nothing heavy",
    ),
    Mutation(
        "fastconv/settings.py",
        "    here = _backend_here.get()\n",
        "    here = _backend_here.get()\n    import socket\n\n    socket.socket().close()\n",
        "tests/trust/test_supply.py -k network",
        "no network is used at run time",
    ),
    Mutation(
        "fastconv/network/storage/file.py",
        "from __future__ import annotations\n",
        "from __future__ import annotations\n\nimport onnx\n",
        "tests/network/test_storage.py -k neither",
        "a saved network loads without onnx or torch",
    ),
    # Formats.
    Mutation(
        "fastconv/formats/onnx/windows.py",
        '    automatic = call.get("auto_pad", "NOTSET")\n',
        '    automatic = "NOTSET"\n',
        "tests/test_onnx_suite.py -k 'conv or pool'",
        "onnx's backend tests pass",
    ),
]

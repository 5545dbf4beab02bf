"""Bad input: clear errors, before anything is written, allocated or run."""

from tests.mutations.mutation import Mutation

_FOUND = "tests/trust/test_inputs.py -k found_stays_mended"
MUTATIONS = [
    Mutation(
        "fastconv/problem/values.py",
        "    if len(items) > MOST_ITEMS:\n",
        "    if False:\n",
        f"{_FOUND}",
        "an endless argument is refused",
    ),
    Mutation(
        "fastconv/arrays.py",
        "    if size > most:\n",
        "    if size > most * 2**60:\n",
        f"{_FOUND}",
        "an output beyond all memory is refused",
    ),
    Mutation(
        "fastconv/problem/remember.py",
        "        if value or math.copysign(1, value) > 0:\n",
        "        if True:\n",
        "tests/trust/test_inputs.py -k minus_zero",
        "what a call gives does not depend on the calls before",
    ),
    Mutation(
        "fastconv/dispatch/run.py",
        "        check_out(out, problem.output_shape, problem.output_dtype, inputs + parameters)\n",
        "        out.fill(0)\n",
        "tests/trust/test_inputs.py -k out_is_as_it_was",
        "a call that fails has not touched out",
    ),
    Mutation(
        "fastconv/formats/weights/files.py",
        "    if needed > size:\n",
        "    if False:\n",
        "tests/formats/test_weights.py -k says_it_is_larger",
        "sizes in files are checked before memory is taken",
    ),
    Mutation(
        "fastconv/formats/weights/pickled.py",
        "        if found not in self._makers:\n",
        "        if False:\n",
        "tests/formats/test_weights.py -k nothing_but_tensors",
        "what a checkpoint names and is not a tensor is refused",
    ),
    Mutation(
        "fastconv/cli/images.py",
        "np.load(path, allow_pickle=False)",
        "np.load(path, allow_pickle=True)",
        "tests/trust/test_supply.py -k code_is_never",
        "arrays are read without pickles",
    ),
]

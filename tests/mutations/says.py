"""It says what it does: reasons, figures, and the algorithm that runs."""

from tests.mutations.mutation import Mutation

_SAYS = "tests/trust/test_says.py"
MUTATIONS = [
    Mutation(
        "fastconv/network/report.py",
        "            problem.flops,\n",
        "            problem.macs,\n",
        f"{_SAYS} -k figures",
        "explain counts 2 FLOP a multiply-accumulate",
    ),
    Mutation(
        "fastconv/network/roofs.py",
        '"compute" if compute >= memory else "memory"',
        '"memory" if compute >= memory else "compute"',
        f"{_SAYS} -k figures",
        "explain names what bounds a step",
    ),
    Mutation(
        "fastconv/network/report.py",
        "        why_not=candidate.why_not,\n",
        "        why_not=candidate.why_not and 'it cannot',\n",
        f"{_SAYS} -k reasons",
        "explain's reason against an algorithm is the one that stops it",
    ),
    Mutation(
        "fastconv/network/summary.py",
        "algorithm=step.algorithm, backend=step.backend, frozen=frozen)",
        'backend="reference")',
        f"{_SAYS} -k names_runs",
        "what explain names is what runs",
    ),
]

"""Threads, forks, what is kept on disk, and memory."""

from __future__ import annotations

DRIVER = "fastconv/backends/numba/engine/driver.py"
NUMBA = {"FASTCONV_BACKEND": "numba"}
THREADS = "tests/trust/test_threads.py"
PROCESSES = "tests/trust/test_processes.py"
DISK = "tests/trust/test_disk.py"
MEMORY = "tests/trust/test_memory.py"

MUTATIONS = [
    (
        DRIVER,
        "    numba.set_num_threads(most)\n",
        "",
        f"{THREADS} -k 'no_more_threads and numba'",
        "no call uses more threads than the setting",
        NUMBA,
    ),
    (
        "fastconv/container.py",
        "    return min((max(1, int(limit)) for limit in _limits",
        "    return max((max(1, int(limit)) for limit in _limits",
        f"{THREADS} -k container",
        "the least of a container's limits is honoured",
    ),
    (
        DRIVER,
        "        if self._safe is not None or self._lock.locked() or _launched():\n",
        "        if False:\n",
        f"{PROCESSES} -k 'forks_its_workers and numba'",
        "safe after fork: no OpenMP in a child",
        NUMBA,
    ),
    (
        "fastconv/forks.py",
        "        held._at_fork_reinit()\n",
        "        pass\n",
        f"{PROCESSES} -k a_lock_held_at_a_fork",
        "a child finds locks free",
    ),
    (
        "fastconv/network/planner.py",
        '        return float(getattr(self.plans[op], "seconds", 1e-5))\n',
        "        return 0.0\n",
        f"{PROCESSES} -k a_long_program",
        "Ctrl-C ends a long call",
    ),
    (
        "fastconv/kept.py",
        "    if status.st_mode & (stat.S_IWGRP | stat.S_IWOTH):\n",
        "    if status.st_mode & stat.S_IWGRP & stat.S_IWOTH:\n",
        f"{DISK} -k 'another_may or hostile'",
        "nothing is taken from where another user can write",
    ),
    (
        "fastconv/kept.py",
        "    if status.st_uid not in (os.geteuid(), 0):\n",
        "    if status.st_uid < 0:\n",
        f"{DISK} -k another_may",
        "nothing is taken that is another user's",
    ),
    (
        "fastconv/kept.py",
        "    return content if digest == _digest(path, content) else None\n",
        "    return content\n",
        f"{DISK} -k damage",
        "a damaged cache is never run",
    ),
    (
        "fastconv/network/executor.py",
        "            threads = min(threads, self._most_threads)\n",
        "            pass\n",
        f"{MEMORY} -k workspaces_of_a_network",
        "workspaces of a network stay below the limit",
    ),
    (
        "fastconv/dispatch/parameter.py",
        "            while len(first._plans) > SETS:\n",
        "            while False:\n",
        f"{MEMORY} -k a_bias_that_changes",
        "what is kept is bounded",
    ),
]

"""``python -m fastconv`` is the command line."""

from fastconv.cli import main

main()

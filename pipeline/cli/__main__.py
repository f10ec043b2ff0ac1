"""Run the command line: ``python -m pipeline.cli`` is what ``./inv`` starts."""

from pipeline.cli.program import main

main()

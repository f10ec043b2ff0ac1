"""Real servers and other people's programs that tests and benchmarks run against.

Each module has a context manager that starts one server on loopback, in a folder of its own, and stops it again;
``fixtures`` offers them to pytest, started once a session. Programs from the package index live in virtual environments
of their own (``venv``), each from a hash-pinned lock file ``requirements/env-<name>.txt``.
"""

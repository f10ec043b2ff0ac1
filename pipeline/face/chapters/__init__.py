"""The tasks of ``./inv``, a module a chapter: each reads the command line and calls the room that does the work.

What takes long to import is imported within a task. Their order is that of ``./inv --list``.
"""

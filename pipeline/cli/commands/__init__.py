"""Declare the tasks of ``./inv``, a module for each group of them. A task reads its options and calls a handler;
nothing else comes in.

What takes long to import is imported within a task. Their order is that of ``./inv --list``.
"""

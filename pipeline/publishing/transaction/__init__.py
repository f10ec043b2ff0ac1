"""Carry a plan out as a transaction: lock, upload, read back, switch, journal, undo. What is to be done is decided in
``plan``; how a request reaches the cloud stays in ``cloud``.
"""

"""Act on images' records: create, show, list, share, activate, and what a patch makes of one.

No byte of an image comes in here; what moves bytes is in ``transfer``.
"""

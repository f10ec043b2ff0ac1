"""Install Enterprise Linux by its media's own installer, told everything by a kickstart file. Changes that any guest
may get belong in ``offline``.
"""

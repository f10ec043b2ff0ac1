"""Install Debian from its packages: bootstrapped by mmdebstrap, made bootable by GRUB in one launch of the appliance.
Changes that any guest may get belong in ``offline``.
"""

"""Debian from its packages: bootstrapped by mmdebstrap, made bootable by GRUB in one launch of the appliance."""

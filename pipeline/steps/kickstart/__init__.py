"""The install step of Enterprise Linux: its media's own installer, told everything by a kickstart file."""

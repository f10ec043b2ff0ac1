"""Make the tiny guest: a kernel, busybox, an ext4 root, from this machine's packages without a mount or root. It
stays the smallest thing that proves the pipeline.
"""

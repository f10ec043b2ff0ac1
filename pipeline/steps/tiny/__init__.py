"""The tiny guest: a kernel, busybox, an ext4 root, made from this machine's packages without a mount or root."""

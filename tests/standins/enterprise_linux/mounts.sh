#!/bin/sh
# The initramfs has mounted the root and /dev; the kernel's other file systems are ours.
mount -t proc proc /proc
mount -t sysfs sys /sys
mkdir -p /dev/pts /dev/shm /run
mount -t devpts -o gid=5,mode=620 devpts /dev/pts
mount -t tmpfs -o mode=755,nosuid,nodev tmpfs /run
mkdir -p /run/seed /run/lock
# The initramfs has enlarged the partition; the file system follows.
root=$(sed -n 's/^\(\/dev\/[^ ]*\) \/ .*/\1/p' /proc/mounts)
case $(sed -n 's/^\/dev\/[^ ]* \/ \([^ ]*\) .*/\1/p' /proc/mounts) in
xfs) xfs_growfs / > /run/grow.log 2>&1 ;;
*) resize2fs "$root" > /run/grow.log 2>&1 ;;
esac
exit 0

"""Write and read media and file systems as an ordinary user: ISO, FAT, ext4, WIM, initramfs. Nothing here mounts, or
needs root or a guest.
"""

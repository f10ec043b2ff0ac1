"""Unpack files around a disk image: compressed ones and archives, recognised by their bytes and unpacked within bounds.

What the disk image itself is stands next door; nothing here believes a file's name.
"""

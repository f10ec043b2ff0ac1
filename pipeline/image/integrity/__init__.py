"""Check that a disk image is whole: every table and every block that it names lies in the file, once, and can be
read. Nothing here decides what format a file has, or changes it.

One module a format, over a file that can be read anywhere; nothing here opens another file or runs a program but
``check``, which lets QEMU look too. What a stream's beginning and end tell is in ``inspection``.
"""

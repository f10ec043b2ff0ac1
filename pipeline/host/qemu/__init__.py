"""Run guests under QEMU: command line, firmware, monitor, stall watch, boot-failure diagnosis. Who asked for a guest,
and why, is never known here.
"""

"""Run guests under QEMU: command line, firmware, monitor, metrics. Who asked for a guest,
and why, is never known here.
"""

"""Serve the OpenStack Image API v2: the bundled image service, a process of its own. It knows no recipe and no build,
and of ``host`` only ``host.system``.
"""

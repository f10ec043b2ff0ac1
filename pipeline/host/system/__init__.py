"""Know this machine: processes, sandbox, packages, memory. It is the one room of ``host`` that ``image`` and the
image service may use, so nothing that needs a hypervisor comes in.
"""

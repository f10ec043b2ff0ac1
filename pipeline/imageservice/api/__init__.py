"""Answer HTTP: one module a resource, which parses a request, calls ``lifecycle`` or ``importing``, and renders.
Neither policy is asked here, nor catalog or stores used.
"""

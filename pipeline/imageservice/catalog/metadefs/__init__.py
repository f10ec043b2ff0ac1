"""Keep metadata definitions: namespaces, what they define, the resource types they are for. Only statements in a given
transaction; no rights.
"""

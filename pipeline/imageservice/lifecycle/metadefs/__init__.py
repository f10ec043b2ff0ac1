"""Carry out authorised acts on metadata definitions: namespaces, what they define, resource types. Each asks policy,
protection and limits itself; no HTTP comes in.
"""

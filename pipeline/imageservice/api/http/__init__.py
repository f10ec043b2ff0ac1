"""Read and write what all requests have in common: hosts, clients' addresses, other origins, errors, the access log.

No resource comes in here.
"""

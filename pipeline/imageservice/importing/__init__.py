"""Do durable work: imports and what else outlives a request, run by worker processes. What a request can finish
itself belongs in ``lifecycle``.
"""

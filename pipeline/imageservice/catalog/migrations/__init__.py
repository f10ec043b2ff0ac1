"""Hold the schema's history. A released revision never changes.

Each revision says in ``PHASE`` whether it expands (the older version of the service still runs) or contracts (it no
longer does).
"""

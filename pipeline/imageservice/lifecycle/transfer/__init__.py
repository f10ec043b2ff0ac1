"""Move images' bytes for a caller: upload, staging, download, and what is left of those that died.

How bytes move is ``data``'s to say; no kind of store is known here.
"""

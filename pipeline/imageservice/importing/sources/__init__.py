"""Read what imports bring in: the web, archives, disk images of any format. Nothing here writes to a store or the
catalog.
"""

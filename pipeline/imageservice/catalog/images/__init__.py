"""Keep images: records, locations, members, notes, lists and what they are filtered by. Only statements in a given
transaction; no rights, no bytes.
"""

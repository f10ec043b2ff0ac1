"""Make known data that lies in stores already: check it, list it, take a copy away.

Nothing here knows a kind of store; drivers do.
"""

"""Hold what must hold of data on every way in and out: whose it is, that it fits its signature and its format.

No act of its own comes in here: those that act ask these.
"""

"""Keep image bytes: one room a back end, behind ``base.Store``. A driver imports its library only here; nothing knows
of images' records or of users.
"""

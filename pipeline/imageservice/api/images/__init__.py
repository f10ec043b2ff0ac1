"""Answer ``/v2/images``: records, data, imports, locations, members, tags. What an answer means for an image is
decided below, in ``lifecycle``.
"""

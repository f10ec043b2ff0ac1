"""Answer ``/v2/metadefs``: namespaces of metadata definitions, what they define, resource types. What an answer means
is decided below, in ``lifecycle/metadefs``.
"""

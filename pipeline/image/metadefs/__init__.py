"""Make the default catalogue of metadata definitions, from the vocabulary of image properties and ``namespaces.yaml``.
What a service does with it is none of this room's business.
"""

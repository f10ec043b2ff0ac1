"""Describe documents that clients send and get: the image's JSON schema, patches, times. Nothing here looks at the
catalog.

It says what a document may be, whoever sends it; rights, the catalog and HTTP must never come in.
"""

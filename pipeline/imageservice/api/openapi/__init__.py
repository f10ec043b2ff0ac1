"""Describe the API for machines, as an OpenAPI document. Nothing here answers for an image."""

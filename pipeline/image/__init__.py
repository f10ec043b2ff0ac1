"""Facts on image files: formats, digests, conversion, properties."""

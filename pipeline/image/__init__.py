"""Know image files: formats, digests, conversion, properties. Both the build line and the image service stand on it,
so neither may be known here.
"""

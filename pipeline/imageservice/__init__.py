"""The bundled image service: OpenStack Image API v2."""

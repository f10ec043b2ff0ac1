"""Keys, image signatures, certificates and attestations."""

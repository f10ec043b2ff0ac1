"""Sign and verify: keys, image signatures, certificates, attestations, the scan for secrets. No recipe and no build
is known here.
"""

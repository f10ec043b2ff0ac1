"""Write and read attestations: DSSE envelopes, provenance, SBOM, Sigstore bundles. Keys come as signers; none is kept
here.
"""

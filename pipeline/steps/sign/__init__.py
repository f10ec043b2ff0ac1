"""The last record over the products: digests, signature, attestations, bill of materials."""

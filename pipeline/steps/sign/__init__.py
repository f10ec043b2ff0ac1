"""The last record over the products: signature, attestations, bill of materials."""

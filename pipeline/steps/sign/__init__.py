"""Sign the products: signature, attestations, bill of materials. How those are made stays in ``signing``."""

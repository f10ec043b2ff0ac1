"""Write and read the bill of materials of an image, an SBOM."""

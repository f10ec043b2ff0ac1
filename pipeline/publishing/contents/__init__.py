"""Compare what is inside published images. Nothing here reads an image; inventories come from the build."""

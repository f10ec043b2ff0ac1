"""Store images as volumes of a cloud's block storage. Everything but glance_store's driver for it stays out."""

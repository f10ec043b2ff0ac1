"""Take what is to be published: finished builds, ready files, published proofs. No cloud is changed here."""

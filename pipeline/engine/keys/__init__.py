"""Compute content keys: what a result depends on, and what of it has changed. Nothing here reads or writes a result."""

"""Describe what is asked for: the recipe model, its loader and its JSON Schema. Nothing is fetched or run here."""

"""Measurements beside other tools, made by hand: each module writes the page of its name."""

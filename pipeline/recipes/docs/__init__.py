"""Derive schemas for editors and the reference in the documentation from the models. No text is written here that a
model could hold.
"""

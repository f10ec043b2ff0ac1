"""Carry out authorised acts on images: create, patch, upload, download, stage, delete. Each asks policy, protections
and quota itself; no HTTP comes in.
"""

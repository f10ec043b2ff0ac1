"""Use this machine: processes, hypervisors, guests' file systems, media, preflight rules. No recipe, build or cloud
is known here.
"""

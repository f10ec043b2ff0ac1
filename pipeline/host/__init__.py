"""The machine: processes, hypervisors, guests' file systems, media."""

"""Hold what every room stands on: errors for people, YAML with line numbers, progress events, atomic files, locks.
Nothing that knows of images, builds or clouds comes in, and nothing here imports another room.
"""

"""A stand-in for Windows Setup and its media: it reads the answer file, and refuses what it does not know."""

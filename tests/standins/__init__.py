"""Installers we make, where real media cannot be had freely: they do what the real ones do, as far as a build needs."""

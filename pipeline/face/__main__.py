"""``python -m pipeline.face``: what ``./inv`` runs."""

from pipeline.face.program import main

main()

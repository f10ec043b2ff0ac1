"""Run one import from its submission to its end, across workers. Work on whole stores belongs in ``maintenance``."""

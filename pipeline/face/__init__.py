"""How a person calls us: tasks, their errors on the terminal, exit codes. Only ``tasks.py`` stands above."""

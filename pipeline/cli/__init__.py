"""Hold how a person calls us: tasks, their errors on the terminal, exit codes; only ``tasks.py`` stands above. No
work is done here: what a library user would need as well belongs in a room below.
"""

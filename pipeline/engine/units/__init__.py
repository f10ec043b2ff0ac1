"""Describe units of work: the graph of steps, and what each needs of the machine. Nothing is run here."""

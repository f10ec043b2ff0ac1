"""Share out slots among projects: who may begin, who waits, and who gives way. What runs in one is not known here."""

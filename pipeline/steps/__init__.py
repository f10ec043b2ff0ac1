"""Do the steps of a build, a module or room each. A step knows no other step, and neither order, deadline nor log of
a run.
"""

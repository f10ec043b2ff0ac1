"""Run units of work in workers: scheduler, deadlines, signals, clean-up after the dead. What a step does stays in
``steps``; what is shown stays in ``monitors``.
"""

"""Show a run: bars on a terminal, plain lines, JSON lines, groups for CI. Monitors only listen; none changes what
happens.
"""

"""Ways to show a run: bars on a terminal, plain lines, JSON lines, groups for CI."""

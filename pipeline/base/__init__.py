"""What every room stands on: errors for people, YAML with line numbers, progress events, atomic files."""

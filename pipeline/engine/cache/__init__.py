"""Store what stages made, by content, and keep it whole, bounded and movable. It never decides what has to be built."""

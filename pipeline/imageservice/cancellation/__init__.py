"""Cancel work on images while it runs: what all work looks at, and the transfers that this process is at."""

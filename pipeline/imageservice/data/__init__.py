"""Move bytes on one path: from a source, past taps, into sinks. Neither rights nor records of images are changed
here.
"""

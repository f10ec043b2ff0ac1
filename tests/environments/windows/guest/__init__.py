"""The part of the stand-in that runs inside the guest, on Python's standard library and hivex alone."""

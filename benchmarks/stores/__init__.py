"""Our stores beside those of the reference's library, on the same back ends."""

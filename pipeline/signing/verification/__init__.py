"""Verify an image with everything that came with it, against trust roots and a policy. Nothing here needs a network
or a secret.
"""

"""Fetch files whose bytes are known beforehand: checksums, OpenPGP signatures, mirrors. Fetching for strangers (SSRF)
is the image service's; clouds are publishing's.
"""

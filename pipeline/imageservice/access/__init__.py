"""Decide who is calling and what they may do: identity, policy, property protections, quotas, the SSRF filter. No act
on an image happens here.
"""

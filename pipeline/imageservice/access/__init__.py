"""Decide who is calling and what they may do: identity, policy, property protections, quotas. No act on an image
happens here.
"""

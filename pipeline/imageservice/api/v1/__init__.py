"""Answer the first version of the API, for tools that know no other: metadata in headers, data in the body. Off by
default; no new feature comes in.

It stands on the same parts as the second one: the same rights, limits, checks and stores.
"""

"""Describe the records every room speaks of: images, their locations and members, tasks, and what a list is asked
for. No statement, request or store comes in.

They know no database, no store and no HTTP: whatever opens a connection or renders a document must never come in.
"""

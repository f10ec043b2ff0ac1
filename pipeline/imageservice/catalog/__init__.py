"""Keep what the service knows: images, their locations and members, tasks, leases, counters. No policy is asked here
and no byte of an image moved.

Every function takes an open connection first, so that callers put several of them into one transaction:
``with database.read() as connection`` for a consistent look, ``database.write(work)`` for a change, where ``work`` gets
the connection, may be called again after a deadlock, and therefore does nothing outside the database.
"""

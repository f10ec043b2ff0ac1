"""Open the database: connections, tables, migrations, backup, purge. Queries on one kind of record live with that
record.
"""

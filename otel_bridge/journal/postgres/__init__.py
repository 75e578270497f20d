"""The journal in PostgreSQL (15 or later): all of its SQL. Any number of replicas append to it at once.

A URL of it is `postgresql://user:password@host1,host2/name?…`, as libpq reads it.
"""

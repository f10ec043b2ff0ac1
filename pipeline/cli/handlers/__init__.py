"""Carry out tasks between the command line and the rooms that do the work: open, call, print. No rules come in, and
no work that outlives the command.
"""

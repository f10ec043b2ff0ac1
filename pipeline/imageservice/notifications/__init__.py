"""Notify others of what happened: to a log, to a web hook, over the message bus of a cloud. Nothing here decides
whether something may happen.
"""

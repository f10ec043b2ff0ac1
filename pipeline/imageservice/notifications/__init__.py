"""Telling others what happened: to a log, to a web hook, over the message bus of a cloud."""

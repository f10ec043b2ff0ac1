"""Publish signed artifacts to clouds: transactions, rotation, the nightly. The bundled image service is reached over
HTTP like any other; its code never comes in.
"""

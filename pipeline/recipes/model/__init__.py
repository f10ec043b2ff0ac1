"""Describe recipes: one frozen model for each part of what can be asked for. No step, tool or file system is touched,
but for the files a recipe brings along.
"""

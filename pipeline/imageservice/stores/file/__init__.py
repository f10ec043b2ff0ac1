"""Store images as files in directories, also on network file systems. Staging uses it too; which images there are is
not known here.
"""

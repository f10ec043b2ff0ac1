"""Search a finished image for secrets and identities: in its files, and in what deleted ones left on its disk.
Nothing here changes the image.
"""

"""Work inside disk images through libguestfs, and read what is in them; the only room that imports ``guestfs``. What
a recipe wants changed stays in ``steps``.
"""

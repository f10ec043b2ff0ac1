"""Installation media in the layout of Red Hat Enterprise Linux 6 and 7, made from this machine's own packages.

What is real: the media's layout, RPM packages and their repository metadata, GRUB, the kernel, the file systems, the
kickstart. What is stood in for: Anaconda (``tests/standins/anaconda``), and the programs inside the packages.
"""

from tests.standins.enterprise_linux.media import Media, Release, make_media, make_repository

__all__ = ["Media", "Release", "make_media", "make_repository"]

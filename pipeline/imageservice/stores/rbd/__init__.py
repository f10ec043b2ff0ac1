"""Store images as block images in a Ceph cluster. Only this room imports ``rados`` and ``rbd``."""

"""Read images from web servers. Nothing here ever writes or deletes."""

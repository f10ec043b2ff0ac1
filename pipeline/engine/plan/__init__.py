"""Say what a build would do, and why two images differ. Nothing here starts work or writes to the cache."""

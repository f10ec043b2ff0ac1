"""Store images in Swift object storage. Only this room imports ``swiftclient``."""

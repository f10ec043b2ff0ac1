"""Store images in S3 object storage. Only this room imports ``botocore``."""

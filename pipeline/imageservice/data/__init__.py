"""The one path for all bytes: transfers, staging, upload and download."""

"""Build, boot, sign and publish golden images for OpenStack clouds."""

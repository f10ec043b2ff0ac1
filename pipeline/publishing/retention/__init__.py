"""Decide which previous images stay, and delete the others. New images are none of its business."""

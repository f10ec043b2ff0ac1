"""The image service beside yardsticks of the same run."""

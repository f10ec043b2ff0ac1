"""Enterprise Linux, installed by kickstart from media that stand in for the real ones."""

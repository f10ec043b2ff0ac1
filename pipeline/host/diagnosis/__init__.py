"""Say what became of a guest: how far its boot came, why it failed, whether it is stuck."""

"""The install step of Windows Server: its media's own setup program, told everything by an answer file made here."""

"""Install Windows Server by its media's own setup program, told everything by an answer file made here. Nothing is
run inside Windows that the medium made here does not carry.
"""

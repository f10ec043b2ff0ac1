"""Look at what stands in a cloud and decide what is to be done, step by step. Nothing here changes a cloud; what does,
and what holds locks or writes the journal, stays in ``transaction``.
"""

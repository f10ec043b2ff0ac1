"""Parse image headers strictly, next to the library's inspectors: what is not understood entirely is refused. Nothing
here opens files or runs programs.

They judge from the beginning and the end of a stream and open nothing; what needs the whole file is in ``integrity``.
"""

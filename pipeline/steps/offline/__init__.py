"""Change an installed disk while nothing runs on it, all in one launch of the appliance. Nothing that needs a booted
guest comes in.
"""

"""Talk to a cloud's image service: connect, records, images, retry policy, errors. What should stand in the cloud is
decided elsewhere.
"""

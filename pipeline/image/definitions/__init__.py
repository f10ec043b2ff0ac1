"""Read single metadata definitions, and judge images' properties by them. What is defined where is none of this room's
business: it knows neither our vocabulary nor a cloud.
"""

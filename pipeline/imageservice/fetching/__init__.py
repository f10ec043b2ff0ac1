"""Fetch from places that others name, by the one HTTP client for them: the SSRF filter checks, it goes to the
address that was checked, resumes and retries.

Imports, locations and other clouds' image services are read with it. What the bytes are for (tasks, images, stores)
never comes in here.
"""

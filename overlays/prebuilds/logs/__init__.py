"""Reading the log of a prebuild, line by line, while the prebuild runs and afterwards.

A log has a URL and a token of its own. The client's token is never sent to that URL, and the log's token is sent
nowhere else.
"""

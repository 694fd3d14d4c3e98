"""Reading the log of a prebuild, line by line, while the prebuild runs and afterwards.

A log has its own URL and its own token. The client's token is never sent to that URL, and the log's token is sent
nowhere else.
"""

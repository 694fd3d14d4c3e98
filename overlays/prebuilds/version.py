"""The version of this distribution, which the client also sends as `User-Agent`."""

__version__ = "0.1.0"

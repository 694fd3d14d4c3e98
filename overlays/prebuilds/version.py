"""The version of this distribution, which the client also tells the service as `User-Agent`."""

__version__ = "0.1.0"

"""Engines: each one carries out HTTP exchanges, under the same contract.

- `httpx_engine` is the default: connections of httpx, each with one request at a time.
- `forwarding` sends requests with an `http_client` or `transport` that the caller passed in.
- `fast` (extra `fast`) uses `http.client` and aiohttp, and does not import httpx.

The contract is in `exchange`: one time limit for everything, one size limit, no cookies and no redirects. Its errors
state if the request may have been executed. All engines run the same test suite.
"""

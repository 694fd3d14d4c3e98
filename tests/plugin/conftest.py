# The tests that pytester runs import modules and forget them again, and httpx keeps the exceptions of the httpcore that
# it saw first: that must not be one that has been forgotten.
import httpcore  # noqa: F401  it is only to be there

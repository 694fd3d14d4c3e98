"""The page on which a person watches the emulator and arranges what happens in it.

`endpoint` serves it, `feed` tells it what happens, `captures` keeps the bodies of requests while somebody watches.
"""

from typing import Final

from prebuilds.emulator.recording import CONTROL_PATH

PAGE_PATH: Final = f"{CONTROL_PATH}/page"
"""The path of everything that belongs to the page, which itself is at `/`."""


def is_of_page(http_method: str, path: str) -> bool:
    """Whether a request is for the page or something that belongs to it."""
    if path == "/":
        return http_method in ("GET", "HEAD")
    return f"{path}/".startswith(f"{PAGE_PATH}/")

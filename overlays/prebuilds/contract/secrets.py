"""Keeps tokens out of everything that is shown or written down."""

from __future__ import annotations

import html
import json
import re
from collections.abc import Collection
from urllib.parse import quote

# A secret that is shorter may be a part of ordinary words.
_SHORT_SECRET = 8


def masked(text: str, secrets: Collection[str]) -> str:
    """The text without any of the secrets, in any quoting.

    A very short secret is replaced only as a separate word: it may be a part of ordinary words.
    """
    for secret in sorted(secrets, key=len, reverse=True):
        if not secret:
            continue
        once = json.dumps(secret)[1:-1]
        forms = [secret, once, json.dumps(once)[1:-1], repr(secret)[1:-1], repr(once)[1:-1], quote(secret, safe="")]
        for form in sorted({*forms, *map(html.escape, forms)}, key=len, reverse=True):
            if len(secret) < _SHORT_SECRET:
                text = re.sub(rf"(?<![\w-]){re.escape(form)}(?![\w-])", "***", text)
            else:
                text = text.replace(form, "***")
    return text

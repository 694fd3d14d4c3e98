"""Programs that make a client, call GetPrebuild once and print the prebuild's id: what `python -c` runs."""

from __future__ import annotations

from .clients.measuring import PREBUILD_ID, SERVICE, TOKEN

STAINLESS = f"""
import sys
from gitpod import Gitpod

client = Gitpod(bearer_token={TOKEN!r}, base_url=sys.argv[1])
print(client.prebuilds.retrieve(prebuild_id={PREBUILD_ID!r}).prebuild.id, flush=True)
"""

CONNECT = f"""
import sys
from gitpod.v1.prebuild_connect import PrebuildServiceClientSync
from gitpod.v1.prebuild_pb2 import GetPrebuildRequest

client = PrebuildServiceClientSync(sys.argv[1])
request = GetPrebuildRequest(prebuild_id={PREBUILD_ID!r})
headers = {{"Authorization": "Bearer {TOKEN}"}}
print(client.get_prebuild(request, headers=headers).prebuild.id, flush=True)
"""

BARE = f"""
import json
import sys
import httpx

client = httpx.Client(base_url=sys.argv[1], headers={{"Authorization": "Bearer {TOKEN}"}})
response = client.post("{SERVICE}/GetPrebuild", json={{"prebuildId": {PREBUILD_ID!r}}})
print(json.loads(response.content)["prebuild"]["id"], flush=True)
"""

DEFAULT = f"""
import sys
from prebuilds import PrebuildClient

client = PrebuildClient({TOKEN!r}, base_url=sys.argv[1])
print(client.prebuilds.retrieve(prebuild_id={PREBUILD_ID!r}).prebuild.id, flush=True)
"""

FAST = DEFAULT.replace("base_url=sys.argv[1]", 'base_url=sys.argv[1], engine="fast"')

PROGRAMS = {"stainless": STAINLESS, "connect": CONNECT, "bare": BARE, "default": DEFAULT, "fast": FAST}

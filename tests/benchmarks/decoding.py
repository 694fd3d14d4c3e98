"""How long a page of prebuilds takes from bytes to models."""

import importlib
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import orjson
import yaml
from prebuild_api.models import ListPrebuildsResponse
from prebuild_api.types import DECODERS, decode_json

from .measure import Row, medians, timed
from .pages import page_of_prebuilds

SCHEMA = Path(__file__).parents[2] / "schema" / "prebuild_service.yaml"
ITEMS = 100


def decoding() -> list[Row]:
    """Our models, and those that openapi-python-client writes of itself, against reading the JSON alone."""
    content = page_of_prebuilds(ITEMS)
    decode = DECODERS[ListPrebuildsResponse.__name__]
    with tempfile.TemporaryDirectory() as folder:
        stock = _stock_models(Path(folder))
        # All sides decode the very same bytes to the same values, or the comparison would be of nothing.
        ours, theirs = decode_json(decode, content), stock.from_dict(orjson.loads(content))
        assert ours.to_dict() == orjson.loads(content)
        assert [str(item.id) for item in theirs.prebuilds] == [item.id for item in ours.prebuilds]
        loading, decoding, stock_decoding = medians(
            timed(lambda: orjson.loads(content), repeat=4),
            timed(lambda: decode_json(decode, content), repeat=2),
            timed(lambda: stock.from_dict(orjson.loads(content))),
            rounds=300,
            warm_up=30,
        )
    size = f"a page of {ITEMS} prebuilds, {len(content) / 1000:.0f} kB"
    return [
        Row(f"decode {size}", decoding, "orjson.loads", loading, target=3.2),
        Row(
            "the same with stock openapi-python-client",
            stock_decoding,
            "orjson.loads",
            loading,
            note="for comparison, about 16x",
        ),
    ]


def _stock_models(folder: Path) -> Any:
    """The class ListPrebuildsResponse that openapi-python-client makes of the schema with its own templates."""
    schema = folder / "schema.json"
    schema.write_text(json.dumps(yaml.safe_load(SCHEMA.read_text("utf-8"))), encoding="utf-8")
    config = folder / "config.json"
    config.write_text('{"post_hooks": []}', encoding="utf-8")
    command = [sys.executable, "-m", "openapi_python_client", "generate", "--meta", "none"]
    paths = {"path": schema, "config": config, "output-path": folder / "stock_prebuild_api"}
    for option, path in paths.items():
        command += [f"--{option}", str(path)]
    subprocess.run(command, check=True, capture_output=True)
    sys.path.insert(0, str(folder))
    try:
        return importlib.import_module("stock_prebuild_api.models").ListPrebuildsResponse
    finally:
        sys.path.remove(str(folder))

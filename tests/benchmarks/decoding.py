"""How long a page of prebuilds takes from bytes to models."""

import importlib
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import median
from typing import Any

import orjson
import yaml

from prebuild_api.models import ListPrebuildsResponse
from prebuild_api.types import DECODERS, decode_json

from .measure import Row, medians, timed
from .pages import page_of_prebuilds

ROOT = Path(__file__).parents[2]
SCHEMA = ROOT / "schema" / "prebuild_service.yaml"
STOCK = "stock_prebuild_api"
ITEMS = 100
INTERPRETERS = 9


def decoding() -> list[Row]:
    """Our models, and those that openapi-python-client writes of itself, against reading the JSON alone.

    How objects come to lie in memory moves the ratio by a tenth from one interpreter to the next, however long each
    one measures. So several measure, and their medians count.
    """
    with tempfile.TemporaryDirectory() as folder:
        _generate_stock_package(Path(folder))
        command = [sys.executable, "-m", __name__, folder]
        found = [
            json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE, cwd=ROOT).stdout)
            for _ in range(INTERPRETERS)
        ]
    loading, decoding, stock_decoding = (median(side) for side in zip(*found, strict=True))
    size = f"{ITEMS} prebuilds, {len(page_of_prebuilds(ITEMS)) / 1000:.0f} kB"
    comparison = "for comparison"
    return [
        Row(f"decode {size}", decoding, "orjson.loads", loading, target=3.2),
        Row("... stock models", stock_decoding, "orjson.loads", loading, note=comparison),
    ]


def measure(folder: str) -> list[float]:
    """The seconds that orjson.loads, our models and the stock models in `folder` take, in this interpreter."""
    content = page_of_prebuilds(ITEMS)
    decode = DECODERS[ListPrebuildsResponse.__name__]
    sys.path.insert(0, folder)
    stock: Any = importlib.import_module(f"{STOCK}.models").ListPrebuildsResponse
    # All sides get the same values out of the same bytes, or the comparison would be of nothing.
    ours, theirs = decode_json(decode, content), stock.from_dict(orjson.loads(content))
    assert ours.to_dict() == orjson.loads(content)
    assert [str(item.id) for item in theirs.prebuilds] == [item.id for item in ours.prebuilds]
    load = timed(lambda: orjson.loads(content), repeat=4)
    loading, decoding = medians(load, timed(lambda: decode_json(decode, content), repeat=2), rounds=120, warm_up=30)
    # The stock models have rounds of their own: what they leave behind in the caches would slow down the others.
    _, stock_decoding = medians(load, timed(lambda: stock.from_dict(orjson.loads(content))), rounds=40, warm_up=10)
    return [loading, decoding, stock_decoding]


def _generate_stock_package(folder: Path) -> None:
    """Let openapi-python-client make a package of the schema with its own templates."""
    schema = folder / "schema.json"
    schema.write_text(json.dumps(yaml.safe_load(SCHEMA.read_text("utf-8"))), encoding="utf-8")
    config = folder / "config.json"
    config.write_text('{"post_hooks": []}', encoding="utf-8")
    command = [sys.executable, "-m", "openapi_python_client", "generate", "--meta", "none"]
    paths = {"path": schema, "config": config, "output-path": folder / STOCK}
    for option, path in paths.items():
        command += [f"--{option}", str(path)]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)


if __name__ == "__main__":
    print(json.dumps(measure(sys.argv[1])))

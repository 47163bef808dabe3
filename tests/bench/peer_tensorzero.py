"""TensorZero's embedded gateway, beside which http_client.py measures: run by its own Python, see there.

Its arguments are the base URL, the model and the file with the prompt; it answers each number of calls on its standard
input with the CPU microseconds of one call.
"""

import json
import os
import sys
import tempfile
import time
from pathlib import Path

from tensorzero import TensorZeroGateway

CONFIGURATION = """
[gateway]
observability.enabled = false

[models.bench]
routing = ["openai"]

[models.bench.providers.openai]
type = "openai"
model_name = "{model}"
api_base = "{base_url}/"
api_key_location = "env::BENCH_KEY"
"""


def main(base_url: str, model: str, prompt_file: str) -> None:
    os.environ["BENCH_KEY"] = "sk-bench-0123456789"
    prompt = json.loads(Path(prompt_file).read_text())
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "tensorzero.toml"
        path.write_text(CONFIGURATION.format(base_url=base_url, model=model))
        gateway = TensorZeroGateway.build_embedded(config_file=str(path))
        for line in sys.stdin:
            calls, began = int(line), time.process_time()
            for _ in range(calls):
                gateway.inference(model_name="bench", input=prompt)
            print((time.process_time() - began) / calls * 1e6, flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])

"""100 000 rows are no trouble: `pytest -m slow -s tests/benchmarks -k rows`, on an idle machine."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).with_name("many_rows.py")


@pytest.mark.slow
def test_100_000_rows_take_less_than_ten_seconds(tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, str(SCRIPT), str(tmp_path)], capture_output=True, text=True, check=True)
    found = json.loads(done.stdout.splitlines()[-1])
    print(f"{found['rows']} rows: {found['seconds']:.1f} s, page {found['page_mb']:.0f} MB")
    assert found["rows"] == 100_000
    assert "and 19,940 more, on the page" in found["shown"]
    assert found["seconds"] < 10

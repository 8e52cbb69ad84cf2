"""Results on GOT-10k's test split for its server (got-10k.aitestunion.com, login): a zip, checked before it is sent.

The server needs <sequence>/<sequence>_001.txt and <sequence>/<sequence>_time.txt at the top of the archive, with commas between
numbers; of other archives it makes nothing and says little (the toolkit's issues 3 and 21).
"""

import zipfile
from pathlib import Path

import numpy as np

from longtake.datasets.got10k import GOT10k
from longtake.datasets.got10k_files import parse_numbers
from longtake.downstream.got10k import read_result
from longtake.files import whole

FIRST_BOX_WITHIN = 0.01  # pixels; results are rounded to a thousandth


def write_submission(data: GOT10k, results: Path, archive: Path) -> Path:
    """Pack the result files of every sequence of the split. Raises `ValueError` as `validate_submission`.

    The archive appears whole or not at all.
    """
    with whole(archive) as part:
        with zipfile.ZipFile(part, "w", zipfile.ZIP_DEFLATED) as file:
            for track in data.tracks():
                read_result(results, track)
                for kind in ("001", "time"):
                    name = f"{track.name}/{track.name}_{kind}.txt"
                    if not (results / name).is_file():
                        raise ValueError(f"{results / name}: no such file")
                    file.write(results / name, name)
        validate_submission(data, part)
    return archive


def validate_submission(data: GOT10k, archive: Path) -> None:
    """Raises `ValueError` for an archive that the server would refuse or misread; says which file and why."""
    if not zipfile.is_zipfile(archive):
        raise ValueError(f"{archive}: not a zip archive")
    expected = {
        f"{track.name}/{track.name}_{kind}.txt": (track, columns)
        for track in data.tracks()
        for kind, columns in (("001", 4), ("time", 1))
    }
    with zipfile.ZipFile(archive) as file:
        names = [name for name in file.namelist() if not name.endswith("/")]
        for name in names:
            if name not in expected:
                level = "; expected <sequence>/<file> at the top" if name.partition("/")[2] in expected else ""
                raise ValueError(f"{archive}: {name}: not expected{level}")
        for name, (track, columns) in expected.items():
            if name not in names:
                raise ValueError(f"{archive}: no {name} in it")
            numbers = parse_numbers(file.read(name).decode(errors="replace"), columns, f"{archive}: {name}")
            if len(numbers) != track.num_frames:
                raise ValueError(f"{archive}: {name}: {len(numbers)} lines, expected {track.num_frames}")
            if columns == 4 and not np.allclose(numbers[0], track.boxes[0], atol=FIRST_BOX_WITHIN):
                got, given = numbers[0].tolist(), track.boxes[0].tolist()
                raise ValueError(f"{archive}: {name}: the first box is {got}, expected the given one, {given}")

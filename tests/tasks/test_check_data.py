"""task=check_data: sound data are called so, odd ones described, wrong ones refused."""

from pathlib import Path

import numpy as np
import pytest

from longtake.datasets.davis import write_davis
from longtake.datasets.voc import Annotated, write_voc
from longtake.engine.config import composed
from longtake.tasks.check_data import check_data


def config(*words: str) -> dict:
    from omegaconf import OmegaConf

    made = OmegaConf.to_container(composed(list(words)), resolve=True)
    assert isinstance(made, dict)
    return made


@pytest.fixture
def voc(tmp_path: Path) -> Path:
    image, mask = np.full((50, 70, 3), 90, np.uint8), np.zeros((50, 70), np.uint8)
    mask[3], mask[4:40, 3:30] = 255, 12
    return write_voc(tmp_path / "VOC", [Annotated("000001", image, np.array([[3, 4, 30, 40]]), ["dog"], mask)]).root


def test_sound_data(voc: Path, tiny_folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    roots = [f"eval.lost_voc2012.root={voc}", f"eval.knn_imagenet1k.root={tiny_folder}"]
    check_data(config("eval=[lost_voc2012,knn_imagenet1k]", *roots))
    shown = capsys.readouterr().out
    assert "lost_voc2012: sound" in shown
    assert "knn_imagenet1k: sound" in shown


def test_odd_data_are_described(voc: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    xml = voc / "Annotations" / "000001.xml"
    xml.write_text(xml.read_text().replace("<xmax>30<", "<xmax>90<"))
    check_data(config("eval=[lost_voc2012]", f"eval.lost_voc2012.root={voc}"))
    shown = capsys.readouterr().out
    assert "lost_voc2012: odd" in shown
    assert shown.count("000001: a box reaches beyond the image of 70 x 50") == 1


def test_wrong_data_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    masks = np.zeros((4, 20, 30), np.uint8)
    masks[:, 2:9, 3:9] = 255
    root = write_davis(tmp_path / "DAVIS", [("clip", np.zeros((4, 20, 30, 3), np.uint8), masks)]).root
    with pytest.raises(ValueError, match="the data of davis2017, lost_voc2007 cannot be used"):
        check_data(
            config(
                "eval=[davis2017,lost_voc2007]", f"eval.davis2017.root={root}", f"eval.lost_voc2007.root={tmp_path}/x"
            )
        )
    shown = capsys.readouterr().out
    assert "binary_masks=true takes 255 as one object" in shown
    assert "VOCtrainval_06-Nov-2007.tar" in shown
    check_data(config("eval=[davis2017]", f"eval.davis2017.root={root}", "eval.davis2017.binary_masks=true"))
    assert "davis2017: odd" in capsys.readouterr().out  # one sequence, where the original has 30
    with pytest.raises(ValueError, match="needs evaluations"):
        check_data(config("eval=[]"))

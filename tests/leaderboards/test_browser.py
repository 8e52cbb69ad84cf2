"""The page in headless Chromium, opened as a file: sorting, filters, budgets, keyboard, a phone's width, nothing executed."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from made_rows import FRAMES, make_rows

from longtake.engine.boards import metrics_for, rows_of
from longtake.leaderboards.overview import Column, overview
from longtake.leaderboards.page import EvaluationEntries, page
from longtake.leaderboards.rows import upsert
from longtake.leaderboards.schema import Key, Provenance, Row
from longtake.leaderboards.statistics import Estimate
from longtake.leaderboards.summary import summarize

pytestmark = pytest.mark.browser
selenium = pytest.importorskip("selenium.webdriver", reason="selenium is not installed")

KNN, LINEAR = Column("knn_mini", "top1_k20"), Column("linear_mini", "top1")
FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
)  # fmt: skip
NASTY = "<img src=x onerror='window.hacked=1'>"


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator:
    options = selenium.ChromeOptions()
    options.binary_location = "/usr/bin/chromium"
    for flag in (*FLAGS, f"--user-data-dir={tmp_path_factory.mktemp('chromium')}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = selenium.Chrome(options=options, service=selenium.ChromeService("/usr/bin/chromedriver"))
    yield driver
    driver.quit()


@pytest.fixture
def opened(browser, tmp_path: Path):
    """A page of two evaluations; its `js` gives what a script in it returns."""
    skills = {"none": 0.1, "dino": 0.5, "ibot": 0.52, "dora": 0.7, "vicreg": 0.9}
    make_rows(tmp_path, skills, seeds=3, frames={"vicreg": 10 * FRAMES})
    make_rows(tmp_path, {"simclr": 0.3}, seeds=1, variant=NASTY)
    make_rows(tmp_path, {"none": 0.2, "dino": 0.3}, "linear_mini", seeds=1)
    paper = Key("dora", "", "mini", "vit_mini_8", 6, "paper", None, "paper:table5")
    upsert(
        tmp_path / "knn_mini.csv",
        [Row(paper, {KNN.metric: Estimate(72.5)}, Provenance(note="a slip"))],
        metrics_for("knn_mini"),
    )
    boards = []
    for column in (KNN, LINEAR):
        rows = rows_of(column.evaluation, [tmp_path])
        entries = summarize(column.evaluation, rows, metrics_for(column.evaluation))
        stale = {row.key: ["stale: the code has changed"] for _, row in rows if row.key.method == "ibot"}
        boards.append(
            EvaluationEntries(column.evaluation, metrics_for(column.evaluation), column.metric, entries, stale)
        )
    lines = overview({column: board.entries for column, board in zip((KNN, LINEAR), boards, strict=True)})
    (tmp_path / "page.html").write_text(page(boards, lines, (KNN, LINEAR), {}, "about"), encoding="utf-8")
    browser.set_window_size(1400, 900)
    browser.get(f"file://{tmp_path}/page.html")
    return browser


def methods(opened) -> list[str]:
    return opened.execute_script(
        "return [...document.querySelectorAll('#table tbody tr')].map(r => r.cells[0].firstChild.textContent)"
    )


def column(opened, name: str) -> list[str]:
    script = """const i = [...document.querySelectorAll('#table th')].findIndex(th => th.innerText.trim() === arguments[0]);
    return [...document.querySelectorAll('#table tbody tr')].map(row => row.cells[i].innerText)"""
    return opened.execute_script(script, name)


def choose(opened, control: str, value: str) -> None:
    opened.execute_script(
        "const c = document.getElementById(arguments[0]); c.value = arguments[1]; c.dispatchEvent(new Event('change')); "
        "c.dispatchEvent(new Event('input'))", control, value,
    )  # fmt: skip


def click(opened, script: str) -> None:
    opened.execute_script(f"{script}.click()")


BEST_FIRST = ["vicreg", "dora", "dora", "ibot", "dino", "simclr", "random init"]


def test_it_opens_sorted_by_the_primary_metric_without_an_error(opened) -> None:
    found = methods(opened)
    assert (found[0], found[-2:], sorted(found)) == ("vicreg", BEST_FIRST[-2:], sorted(BEST_FIRST))
    assert [entry for entry in opened.get_log("browser") if entry["level"] == "SEVERE"] == []


def test_nothing_is_requested_but_the_page(opened) -> None:
    sent = [
        entry["message"] for entry in opened.get_log("performance") if "Network.requestWillBeSent" in entry["message"]
    ]
    assert not [message for message in sent if '"url":"http' in message]


def test_a_header_sorts_and_says_so(opened) -> None:
    header = "document.querySelector('#table th button[data-column=method]')"
    click(opened, header)
    assert methods(opened) == sorted(BEST_FIRST)
    assert opened.execute_script(f"return {header}.parentNode.getAttribute('aria-sort')") == "ascending"
    click(opened, header)
    assert methods(opened) == sorted(BEST_FIRST, reverse=True)
    assert opened.execute_script(f"return {header}.parentNode.getAttribute('aria-sort')") == "descending"


def test_it_can_be_sorted_by_the_keyboard_and_focus_stays(opened) -> None:
    from selenium.webdriver.common.keys import Keys

    opened.execute_script("document.querySelector('#table th button[data-column=epochs]').focus()")
    opened.switch_to.active_element.send_keys(Keys.ENTER)
    assert methods(opened)[-1] == "random init"
    assert opened.execute_script("return document.activeElement.dataset.column") == "epochs"
    opened.switch_to.active_element.send_keys(Keys.SPACE)
    assert methods(opened)[0] == "random init"


def test_filters(opened) -> None:
    choose(opened, "filter", "DORA vit_mini")
    assert methods(opened) == ["dora", "dora"]
    click(opened, "document.getElementById('paper')")
    assert methods(opened) == ["dora"]
    choose(opened, "filter", "moon")
    assert methods(opened) == []
    choose(opened, "filter", "")
    click(opened, "document.getElementById('fresh')")
    assert "ibot" not in methods(opened)


def test_a_budget_leaves_those_ranked_together(opened) -> None:
    options = opened.execute_script("return [...document.getElementById('budget').options].map(o => o.textContent)")
    assert [text.split(" frames")[0] for text in options] == ["all", "12,672", "126,720"]
    assert set(column(opened, "rank")) == {""}  # ranks of two budgets side by side would say what nobody tested
    choose(opened, "budget", "1")
    assert methods(opened) == ["vicreg", "random init"]
    assert column(opened, "rank") == ["1 of 2", "2 of 2"]
    choose(opened, "budget", "0")
    assert "vicreg" not in methods(opened)
    assert column(opened, "rank")[0].startswith("1")
    assert dict(zip(methods(opened), column(opened, "rank"), strict=True))["random init"] == "5 of 5"
    untrained = dict(zip(methods(opened), column(opened, KNN.metric), strict=True))["random init"]
    assert untrained.split("\n")[0].split()[1].isalpha()  # its letter at this budget


def test_numbers_are_rounded_as_in_the_other_outputs(opened) -> None:
    values = [k / 40 for k in range(-200, 200)] + [k / 3777 for k in range(0, 3777, 7)]
    for digits in (1, 2):
        shown = opened.execute_script("return arguments[0].map(value => fixed(value, arguments[1]))", values, digits)
        expected = [f"{value:.{digits}f}" for value in values]
        assert [a.replace("-0.0", "0.0") for a in shown] == [b.replace("-0.0", "0.0") for b in expected]


def test_a_phone_sorts_too(opened) -> None:
    opened.set_window_size(500, 900)
    script = "return getComputedStyle(document.getElementById('sort').parentNode).display"
    assert opened.execute_script(script) != "none"
    choose(opened, "sort", "method")
    assert methods(opened) == sorted(BEST_FIRST)
    click(opened, "document.getElementById('reverse')")
    assert methods(opened) == sorted(BEST_FIRST, reverse=True)
    opened.set_window_size(1400, 900)
    assert opened.execute_script(script) == "none"


def test_the_papers_number_stands_beside_ours(opened) -> None:
    choose(opened, "filter", "dora")
    scores = dict(zip(opened.execute_script("return [...document.querySelectorAll('#table tbody tr')].map(r => r.className)"),
                      column(opened, KNN.metric), strict=True))  # fmt: skip
    ours = float(scores[""].split()[0])
    assert f"paper 72.5, ours {ours - 72.5:+.1f}".replace("-", "\u2212") in scores[""]
    assert scores["ghost"].startswith("72.5")


def test_stale_rows_have_a_badge_and_every_row_its_command(opened) -> None:
    choose(opened, "filter", "ibot")
    assert "stale" in column(opened, "method")[0]
    click(opened, "document.querySelector('#table details summary')")
    text = column(opened, "how")[0]
    assert "run method=ibot pretrain=mini seed=0" in text
    assert "stale: the code has changed" in text


def test_names_are_shown_and_not_executed(opened) -> None:
    choose(opened, "filter", "simclr")
    assert column(opened, "variant") == [NASTY]
    assert opened.execute_script("return window.hacked") is None


def test_another_evaluation(opened) -> None:
    choose(opened, "board", "1")
    assert sorted(methods(opened)) == ["dino", "random init"]


@pytest.mark.parametrize("width", [390, 1400])
def test_it_fits_a_phone_and_a_desk(opened, width: int) -> None:
    opened.execute_cdp_cmd(
        "Emulation.setDeviceMetricsOverride",
        {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 700},
    )
    try:
        assert opened.execute_script("return document.documentElement.scrollWidth") <= width
        shown: Callable[[str], str] = lambda what: opened.execute_script(f"return getComputedStyle({what}).display")  # noqa: E731
        assert shown("document.querySelector('#table thead')") == ("none" if width < 700 else "table-header-group")
        assert shown("document.querySelector('#table tbody tr')") == ("block" if width < 700 else "table-row")
    finally:
        opened.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})

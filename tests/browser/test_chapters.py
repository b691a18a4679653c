"""Every chapter, as a reader sees it: run from top to bottom, answered, restarted."""

from __future__ import annotations

import re

import pytest
from lab_page import LabPage
from playwright.sync_api import expect

from tracekit.host.environment import CHECKOUT

pytestmark = [pytest.mark.live, pytest.mark.timeout(600)]

CHAPTERS = sorted((CHECKOUT / "notebooks").glob("[0-9][0-9]-*.ipynb"))
# README's pictures: of each chapter the files, with the cells they show from top to bottom.
PICTURES = {
    "08-attach-tracepoint": {"three-rulers.png": ("lens",)},
}


@pytest.mark.parametrize(
    "path",
    [
        pytest.param(
            path, id=path.stem, marks=[pytest.mark.pictures] if path.stem in PICTURES else []
        )
        for path in CHAPTERS
    ],
)
def test_chapter(path, open_lab, shots, pictures):
    lab = open_lab(device_scale_factor=1.5 if path.stem in PICTURES else 1)
    lab.open(path.name)
    lab.run_all()
    assert lab.errors() == {}
    with_widgets = lab.wait_for_widgets()
    assert lab.broken_widgets() == []
    for name, cells in PICTURES.get(path.stem, {}).items():
        lab.picture(cells, pictures / name)
        assert (pictures / name).stat().st_size > 10_000, "blank"
    lab.screenshots(shots, path.stem)
    asked = questions(lab)
    assert set(asked) <= set(with_widgets)
    answers = {cell_id: commit(lab, cell_id) for cell_id in asked}
    lab.restart_kernel()
    assert bool(lab.broken_widgets()) == bool(with_widgets), "they say that nobody listens"
    if asked:
        first = next(iter(asked))
        compared = next(c for c, text in lab.sources().items() if compares(text, asked[first]))
        lab.run_on(None, compared)
        expect(lab.cell(first)).to_contain_text(f"your answer: {answers[first]}")
        expect(lab.cell(first).get_by_role("button", name="Commit")).to_be_disabled()
        expect(lab.cell(compared).locator("td").first).to_have_text(answers[first])
        lab.cell(first).scroll_into_view_if_needed()
        lab.screenshot(shots, f"{path.stem}-restarted")


def questions(lab: LabPage) -> dict[str, str]:
    """The cells that ask for a prediction, with its id."""
    found = {}
    for cell_id, text in lab.sources().items():
        asked = re.search(r'tk\.predict\(\s*"(.*?)"', text)
        if asked:
            found[cell_id] = asked[1]
    return found


def compares(text: str, question: str) -> bool:
    return re.search(rf'tk\.compare_prediction\(\s*"{question}"', text) is not None


def commit(lab: LabPage, cell_id: str) -> str:
    """Answer with the last choice, as a reader does; return it."""
    cell = lab.cell(cell_id)
    choice = cell.get_by_role("radio").last
    answer = cell.locator(".widget-radio-box label").last.inner_text().strip()
    cell.get_by_role("button", name="Commit").click()
    expect(cell).to_contain_text("choose one first")
    choice.check()
    cell.get_by_role("button", name="Commit").click()
    expect(cell).to_contain_text(f"your answer: {answer}")
    expect(choice).to_be_disabled()
    return answer

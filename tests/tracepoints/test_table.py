from html.parser import HTMLParser

from tracekit.tracepoints.table import Row, html_table, text_table

ROWS = [Row(("0", "int a")), Row(("12", "<b> & c"), "hole"), Row(("4", ""), "wrong")]


def test_text_is_aligned_and_has_no_blanks_at_the_ends():
    assert text_table(("at", "what"), ROWS, right=[0]).split("\n") == [
        "at  what",
        " 0  int a",
        "12  <b> & c",
        " 4",
    ]


class Cells(HTMLParser):
    def __init__(self):
        super().__init__()
        self.tags, self.cells = [], []

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))
        if tag in ("td", "th"):
            self.cells.append("")

    def handle_data(self, data):
        if self.cells and data.strip():
            self.cells[-1] += data


def test_html_has_the_same_cells_a_caption_and_heads_with_scope():
    parser = Cells()
    parser.feed(html_table("a caption", ("at", "what"), ROWS, right=[0]))
    assert parser.cells == ["at", "what", "0", "int a", "12", "<b> & c", "4", ""]
    tags = [tag for tag, _ in parser.tags]
    assert (tags.count("caption"), tags.count("tr"), tags.count("b")) == (1, 4, 0)
    assert [a["scope"] for tag, a in parser.tags if tag == "th"] == ["col", "col"]
    styles = " ".join(a.get("style", "") for _, a in parser.tags)
    assert "repeating-linear-gradient" in styles
    # Dark and light pages alike: no colour of text, no opaque background.
    assert "color:inherit" in styles
    assert "background:#" not in styles
    assert "background:white" not in styles

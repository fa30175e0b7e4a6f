"""The page is one whole file that asks for nothing else, and a browser shows what it should."""

import re
import shutil
import subprocess
from dataclasses import replace
from html.parser import HTMLParser

import pytest

from edgetune.comparison.choice import choice_of
from edgetune.reports.page.dimensions import DIMENSIONS
from edgetune.reports.page.markup import Markup, element
from edgetune.reports.page.page import page

from .made import comparison_of, four_variants, variant_of

VOID = {"meta", "line", "circle", "rect", "path", "polyline", "br"}


class Parsed(HTMLParser):
    """Tags with their attributes, tables as rows of texts, and whether every tag was closed in order."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.tables, self.open = [], [], []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)
        if tag == "table":
            self.tables.append([])
        if tag == "tr":
            self.tables[-1].append([])
        if tag in ("td", "th"):
            self.tables[-1][-1].append("")

    def handle_startendtag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if {"td", "th"} & set(self.open):
            self.tables[-1][-1][-1] += data


def shown(comparison):
    return page(comparison, choice_of(comparison))


@pytest.fixture(scope="module", params=["classify", "generate"])
def text(request):
    return shown(four_variants(request.param))


def test_every_tag_is_closed(text):
    assert Parsed(text).open == []


def test_nothing_is_fetched_and_nothing_runs(text):
    tags = Parsed(text).tags
    assert not {tag for tag, _ in tags} & {"script", "link", "img", "iframe", "object", "embed", "base"}
    assert not [value for _, attrs in tags for name, value in attrs.items() if name in ("src", "href", "srcset")]
    assert not re.search(r"url\(|@import|\bon\w+=", text)
    assert set(re.findall(r"https?://[^\"'\s<]+", text)) == {"http://www.w3.org/2000/svg"}  # the name of a namespace


def test_it_tells_a_phone_its_width_and_follows_the_readers_light(text):
    assert ("meta", {"name": "viewport", "content": "width=device-width,initial-scale=1"}) in Parsed(text).tags
    assert "prefers-color-scheme:dark" in text and "max-width:40rem" in text


def test_ids_are_unique_and_headers_have_scopes(text):
    tags = Parsed(text).tags
    ids = [attrs["id"] for _, attrs in tags if "id" in attrs]
    assert len(ids) == len(set(ids))
    assert all(attrs.get("scope") in ("row", "col") for tag, attrs in tags if tag == "th")


def test_the_figures_are_those_of_the_comparison():
    figures, dimensions, seeds = Parsed(shown(four_variants())).tables
    assert figures[0] == [
        "variant", "accuracy", "parameters", "of the model", "on the device", "macro-F1", "per text", "training",
    ]  # fmt: skip
    assert figures[2] == ["prompt-20", "90.2 ± 0.9 %", "8,680", "0.038 %", "34.8 kB", "89.2 %", "2.6 ms", "13 s"]
    assert figures[3][0] == "prefix-10recommended"
    assert len(seeds) == 1 + 4 * 3
    assert [row[0] for row in dimensions[1:]] == [name for name, *_ in DIMENSIONS]


def test_a_generator_is_weighed_against_the_base_alone():
    figures, *_ = Parsed(shown(four_variants("generate"))).tables
    assert figures[-1][:2] == ["the base alone", "4.000"]
    assert "perplexity" in figures[0] and "first token" in figures[0]


def test_the_dimensions_are_those_that_the_project_starts_from():
    assert [name for name, *_ in DIMENSIONS] == [
        "Parameters", "Where they are added", "How it is implemented", "Size", "Flexibility", "When to use which",
    ]  # fmt: skip


def test_names_from_outside_are_escaped():
    comparison = replace(four_variants(), model="<script>alert(1)</script>", data='"><img src=x>')
    assert not {"script", "img"} & {tag for tag, _ in Parsed(shown(comparison)).tags}
    assert element("p", "a<b", Markup("<br/>"), title='"') == '<p title="&quot;">a&lt;b<br/></p>'


def test_one_variant_and_one_seed_still_make_a_page():
    assert "1 way to tune small-model" in shown(comparison_of(variant_of("prompt-20", [0.9])))


CHROMIUM = shutil.which("chromium")


@pytest.mark.skipif(not CHROMIUM, reason="chromium is not on PATH; with it the page is opened in a real browser")
@pytest.mark.parametrize("task", ["classify", "generate"])
def test_a_real_browser_shows_the_table_and_the_plots(task, compared, tmp_path):
    """A script of ours, at the end of a copy, writes down what the browser laid out."""
    script = """<script>
    const size = x => { const r = x.getBoundingClientRect(); return [r.width, r.height].map(Math.round).join("x") };
    document.title = [document.querySelectorAll("table.numbers tbody tr").length,
      ...[...document.querySelectorAll("figure > svg")].map(size),
      document.documentElement.scrollWidth <= innerWidth ? "fits" : "overflows"].join(" ");
    </script>"""
    whole = (compared[task].folder / "report.html").read_text("utf-8")
    opened = tmp_path / "report.html"
    opened.write_text(whole.replace("</body>", f"{script}</body>"), "utf-8")
    options = ["--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={tmp_path / 'profile'}"]
    found = subprocess.run(
        [CHROMIUM, *options, "--window-size=500,900", "--dump-dom", opened.as_uri()],
        capture_output=True, text=True, encoding="utf-8", timeout=60,
    )  # fmt: skip
    assert found.returncode == 0, found.stderr
    rows, *sizes, fits = re.search(r"<title>(.*?)</title>", found.stdout)[1].split()
    assert int(rows) == {"classify": 2, "generate": 3}[task] + 4  # the figures, and each of four runs
    assert len(sizes) == 3 and all(int(x) > 200 for size in sizes for x in size.split("x"))
    assert fits == "fits"
    assert "prefix-3" in found.stdout and '<th scope="row"' in found.stdout

"""HTML from Python: text is escaped."""

from headless_eval.report.page.markup import Markup, join, tag


def test_markup() -> None:
    assert tag(
        "p", "a < b", Markup("<i>c</i>"), None, 3, class_="x y", hidden=True, id=None, aria_label='"'
    ) == ('<p class="x y" hidden aria-label="&quot;">a &lt; b<i>c</i>3</p>')
    assert tag("rect", x=1 / 3, width=2.0, rx=3) == '<rect x="0.33" width="2" rx="3"></rect>'
    assert tag("input", type="text") == '<input type="text">'
    assert join("&", Markup("&amp;")) == "&amp;&amp;"
    assert tag("p", "a\udcff\x1b", title="\udc80") == '<p title="\\udc80">a\\udcff\\x1b</p>'

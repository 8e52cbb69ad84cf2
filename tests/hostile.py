"""Words that are more than text to a reader of Markdown, and what such a reader sees."""

from markdown_it import MarkdownIt

HOSTILE = (
    "<script>alert(1)</script>", "[x](javascript:alert(1))", "![x](https://example.org/x.png)", "# heading", "x\n# heading",
    "x\n\n## Scores\n\n| a |\n| --- |", "`code`", "| a | b |", "<img src=x onerror=alert(1)>", "[a]: javascript:alert(1)", "**x**",
    "x\n```\n", "$x^2$", "<!-- x", "&lt;script&gt;", "\u2028# x", "x\r# y",
)  # fmt: skip


def elements(text: str) -> list[str]:
    """What there is in a page besides text: headings, links, tables, HTML, in their order."""
    tokens = MarkdownIt("gfm-like", {"linkify": False}).parse(text)
    found = [inner for token in tokens for inner in (token, *(token.children or ()))]
    return [token.type for token in found if token.type not in ("text", "text_special")]

"""Great Expectations' pages without what they would fetch from others: words for icons, and a way back."""

import pytest

from jobs.runtime import gx_pages


@pytest.mark.parametrize(
    ("made", "kept"),
    [
        ('<script src="https://cdn.example/a.js"></script>x', "x"),
        ('x<link rel="stylesheet" href="https://cdn.example/a.css"/>', "x"),
        ('<a href="https://x"><img src="https://cdn.example/logo.png"/></a>', '<a href="https://x"></a>'),
        ("<script>\n$('#a').show()\n</script><style>a {}</style>x", "x"),
        ('<i class="fas fa-check-circle text-success" aria-hidden="true"></i>', "<strong>holds</strong>"),
        ('<i class="fas fa-times text-danger" ></i>', "<strong>fails</strong>"),
        ('<i class="fas fa-exclamation-triangle text-warning"></i>', "<strong>fails, a warning</strong>"),
        ('<i class="text-success"></i> Succeeded', "<strong>holds</strong>"),
        ('<i class="text-danger"></i> Failed', "<strong>fails</strong>"),
        ("Data asset: None<br> x", " x"),
        ('<i class="fas fa-cog"></i>', '<i class="fas fa-cog"></i>'),
        ('<a href="../../index.html">Home</a>', '<a href="../../../index.html#check_raw">check_raw of the night</a>'),
        ('<a href="../expectations/users.html">users</a>', '<a href="../expectations/users.html">users</a>'),
    ],
)
def test_what_others_would_serve_goes_and_what_is_said_stays(made: str, kept: str) -> None:
    assert gx_pages.alone(made, "check_raw") == kept


def test_a_page_says_its_language_and_has_its_own_looks() -> None:
    assert gx_pages.alone("<html>\n  <head><title>t</title>", "check_raw") == f"{gx_pages.HEAD}<title>t</title>"

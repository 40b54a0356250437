"""Ids that nobody should have made and somebody has."""

HOSTILE = (
    "Robert'); DROP TABLE users; --",
    'say "hi"',
    "a,b;c|d\te",
    "two\nlines",
    "zażółć gęślą 日本語 🛒",
    "' OR '1'='1",
    "$$ {raw} %s %(x)s \\ `",
    "#comment",
    "<script>alert(1)</script>",
    "\N{RIGHT-TO-LEFT OVERRIDE}abc",
    "NULL",
    "007",
    "x" * 400,
    "🛒" * 400,
)

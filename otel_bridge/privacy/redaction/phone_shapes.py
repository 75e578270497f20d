"""How telephones are written, region by region: a table.

To add a shape, add a row to `SHAPES`, and an example to tests/redaction/test_phones.py.
"""

from __future__ import annotations

from typing import NamedTuple


class Shape(NamedTuple):
    """How a number is written. In `pattern`, beside the usual signs of a regular expression: `x` is a digit, `@` a
    separator that is the same one throughout the number, `~` a separator or none."""

    regions: str
    pattern: str


SHAPES = (
    Shape("ES CL PE PY", "[679]xx@xxx@xxx"),
    Shape("ES", "[6-9]xx@xx@xx@xx"),
    Shape("ES", "[89]x@xxx@xx@xx"),
    Shape("ES", "[67] xx xx xx xx"),
    Shape("ES", "[67](?!x*0000)xxxxxxxx"),
    # With the country's code and no sign before it, as WhatsApp and gateways of SMS write them.
    Shape("ES", "34[ ]?[67]xx~xxx~xxx"),
    Shape("MX", "52[ ]?1?[ ]?(?:55|56|33|81)~xxxx~xxxx"),
    Shape("AR", "54[ ]?9[ ]?(?:11|[23]xx)~xxx[0-9]?~xxxx"),
    Shape("CO", "57[ ]?3[0-5]x~xxx~xxxx"),
    Shape("CR GT HN NI PA SV", "50[2-7][ -][2-9]xxx[ -]xxxx"),
    Shape("ES CL PE CO", "800@xxx@xxx"),
    Shape("AR BR", "0800@xxx@xxxx"),
    Shape("CO", "01[ ]?8000[ ]?xxx[ ]?xxx"),
    Shape("MX", "01[ -]800[ -]xxx[ -]xxxx"),
    Shape("MX", "01 \\(xx[0-9]?\\) xxx[0-9]?[ -]xxxx"),
    Shape("MX", "(?:55|56|33|81) xx xx xx xx"),
    Shape("CO", "(?:3[0-5]x|60[1-8])[ -]xxxxxxx"),
    Shape("CO", "60[1-8](?!x*0000)xxxxxxx"),
    Shape("DO PR", "1[ -](?:8[024]9|787|939)[ -]xxx[ -]xxxx"),
    Shape("EC", "09 9xxxxxxx"),
    Shape("EC PE BO", "0[1-7] [2-9]xxxxxx"),
    Shape("PE", "0[4-8][1-6] xxxxxx"),
    Shape("MX AR", "[2-9]xx xxx xx xx"),
    Shape("BR MX AR", "(?:11|55|33|81)[.]9?xxxx[.]xxxx"),
    Shape("VE", "4[12]x-xxxxxxx"),
    Shape("CL PE ES", "9[0-8](?!x*0000)xxxxxxx"),
    Shape("CL", "9@xxxx@xxxx"),
    Shape("CL", "2@[2-9]xxx@xxxx"),
    Shape("MX CO VE DO PR AR", "[2-9]xx@xxx@xxxx"),
    Shape("MX", "(?:01 |04[45] |1 )?(?:55|56|33|81)[ -]xxxx[ -]xxxx"),
    Shape("MX", "(?:55|33|81)(?!x*0000)xxxxxxxx"),
    Shape("AR", "0?11[ -]15[ -]xxxx[ -]xxxx"),
    Shape("AR", "0?1[15][ -]xxxx[ -]xxxx"),
    Shape("AR", "0?[23]xx[ -](?:15[ -])?xxx[ -]xxxx"),
    Shape("AR", "0?[23]xxx[ -](?:15[ -])?xx[ -]?xxxx"),
    Shape("CO", "3[0-5](?!x*0000)xxxxxxxx"),
    Shape("CO", "3[0-5]x@xxx@xx@xx"),
    Shape("CO", "60[1-8]@xxx@xxxx"),
    Shape("BO", "[67]xx-xxxxx"),
    Shape("BR", "0?[1-9]x[ -]?9[ ]?xxxx[ -]xxxx"),
    Shape("BR MX AR", "0?[1-9]x-xxxx-xxxx"),
    Shape("BR", "[1-9]x[ ][2-5]xxx-xxxx"),
    Shape("VE", "0[24]xx~xxx~xx~xx"),
    Shape("EC UY PY", "09x~xxx~xxx[0-9]?"),
    Shape("PY", "09xx~xxx~xxx"),
    Shape("PY", "0[2-8]x[ -]xxx[ -]xxx"),
    Shape("EC PE BO", "0[1-7][ -]xxx[ -]xxx[0-9]?"),
    Shape("CU BO", "0[2-8][ -]xxx[ -]xxxx"),
    Shape("EC BO", "0[2-7]-xxxxxxx"),
    Shape("DO PR", "(?:8[024]9|787|939)[ .-]xxx[ .-]xxxx"),
)


def shape_pattern(pattern: str, number: int) -> str:
    """The regular expression of a shape. `number` makes the name of its separator's group unique."""
    pattern = pattern.replace("x*", "[0-9]*").replace("x", "[0-9]").replace("~", "[ .-]?")
    first, *others = pattern.split("@")
    if not others:
        return first
    return f"{first}(?P<s{number}>[ .-]){f'(?P=s{number})'.join(others)}"

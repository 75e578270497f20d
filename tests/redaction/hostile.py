"""Texts that cost a redactor much: repeated to any length, each aims at one of its finders."""

from __future__ import annotations

HOSTILE = {
    "groups of a card": "4111 ",
    "ids with a wrong letter": "12345678Z ",
    "counts": "12345678 9876543 1234567 ",
    "top": " 1234 root  20   0  612345  67890  12345 S   1.0   2.0   0:01.23 systemd\n",
    "JSON of numbers": "123456.789, 98765432, 612345678, ",
    "telephones": "+34 600 123 456 ",
    "groups in parentheses": "(011) 4123 ",
    "joined numbers": "612345678,",
    "international ones in a row": "+34 612 345 678 91 234 56 78 ",
    "labels": "móvil dni tel 123456 ",
    "addresses": "nginx 1.2.3.4 ",
    "assignments": "password: x token=",
    "columns": "user,password\na,b1\n",
    "rows of SQL": "insert into x (password) values ('a'),('b'),",
}

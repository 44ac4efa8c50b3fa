"""Show the control characters in texts of records, before a terminal obeys them or they break a line of a file."""

import re

CONTROL = re.compile("[\x00-\x1f\x7f-\x9f]")  # C0, DEL and C1


def visible(text: str) -> str:
    r"""`text` on one line, each control character in the form `\x1b`."""
    if text.isprintable():
        return text
    return CONTROL.sub(lambda found: f"\\x{ord(found[0]):02x}", text)

"""Texts that producers write where they have nobody or nothing to name.

One shopper named "null" would be thousands of strangers: their histories would be one, and each would get recommendations that the others
caused.
"""

from __future__ import annotations

import re

NOTHING = frozenset(
    {
        *(
            "null",
            "(null)",
            "<null>",
            "undefined",
            "none",
            "(none)",
            "nil",
            "nan",
            "n/a",
            "#n/a",
            "(not set)",
            "not set",
            "[object object]",
        ),
        *("-", "--", "\\n", "00000000-0000-0000-0000-000000000000"),
    }
)
"""In lower case. Nothing that a shop could call an item: "0", "unknown" and "guest" may be items."""
NOBODY = NOTHING | {
    *(
        "0",
        "-1",
        "0.0",
        "anonymous",
        "anonymous user",
        "anonymoususer",
        "anon",
        "(anonymous)",
        "guest",
        "guest user",
        "unknown",
        "(unknown)",
    ),
    *("nobody", "visitor", "not logged in", "not_logged_in", "notloggedin", "logged out", "false", "true", "empty", "no user", "no_user"),
    *("匿名", "游客", "匿名用户", "未登录"),
}
"""In lower case."""
_ONLY_ZEROS = re.compile(r"[0-]{2,64}", re.ASCII)
LONGEST = 40
"""No placeholder has more characters."""


def is_nobody(user_id: str) -> bool:
    """Whether a trimmed user id names nobody.

    >>> is_nobody("NULL"), is_nobody("0"), is_nobody("0000-0000"), is_nobody("anna")
    (True, True, True, False)
    """
    return len(user_id) <= LONGEST and (user_id.lower() in NOBODY or _ONLY_ZEROS.fullmatch(user_id) is not None)


def is_nothing(item_id: str) -> bool:
    """Whether a trimmed item id names no item.

    >>> is_nothing("undefined"), is_nothing("None"), is_nothing("0")
    (True, True, False)
    """
    return len(item_id) <= LONGEST and item_id.lower() in NOTHING

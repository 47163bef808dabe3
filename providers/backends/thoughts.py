"""Thoughts that a model writes into its answer between <think> and </think>: they are not for the user.

DeepSeek, Qwen and MiniMax do so behind servers that do not take them out. A tag in the middle of an answer is a part of
the answer, such as one that explains these tags.
"""

import re

TAGS = ("<think>", "<thinking>")
_LONE_END = re.compile(r"\A(?:(?!<think)[\s\S])*?</think(?:ing)?>[ \t]*\n", re.IGNORECASE)


class Thoughts:
    """Takes the thoughts out of a text that comes in pieces. Linear in its length."""

    def __init__(self) -> None:
        self._held = ""  # what may become a tag, or a part of the closing one
        self._end_tag = ""  # of the thought that goes on
        self._has_thought = False
        self._is_answer = False  # everything from here on is for the user

    def without(self, piece: str) -> str:
        """Return what of the text so far, and not returned yet, is for the user."""
        if self._is_answer:
            return piece
        self._held += piece
        while not self._is_answer:
            if self._end_tag:
                _, found, rest = self._held.partition(self._end_tag)
                if not found:
                    self._held = self._held[-len(self._end_tag) :]
                    return ""
                self._held, self._end_tag, self._has_thought = rest, "", True
            start = self._held.lstrip()
            tag = next((tag for tag in TAGS if start.startswith(tag)), "")
            if tag:
                self._held, self._end_tag = start[len(tag) :], tag.replace("<", "</")
            elif any(tag.startswith(start) for tag in TAGS):
                return ""  # blanks, or the beginning of a tag
            else:
                self._is_answer = True
                self._held = start if self._has_thought else self._held
        return self.end()

    def end(self) -> str:
        """Return what is still held back, at the end of the text: a thought that never ends is none of it."""
        rest, self._held = ("" if self._end_tag else self._held), ""
        return rest


def without_thoughts(text: str) -> str:
    """Return a whole answer without its thoughts, also where only their end is marked: some servers keep the start."""
    thoughts = Thoughts()
    answer = thoughts.without(text) + thoughts.end()
    shown = _LONE_END.sub("", answer, count=1)
    return shown.lstrip() if shown != text else text

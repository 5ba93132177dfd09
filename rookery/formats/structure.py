"""Which part a section number means (RFC 9051 section 6.4.5.1), over the tree of `mime`."""

from collections.abc import Sequence

from rookery.formats.mime import Part


def locate(root: Part, numbers: Sequence[int]) -> Part | None:
    """The part called 1.2.3 in the message `root`; () is the message itself. None when there is none.

    A message that is no multipart has one part, number 1: its own body. Inside message/rfc822 numbers go on
    with the parts of the message it holds.
    """
    here = root
    whole = True  # `here` is a message, whose number 1 is itself when it is no multipart
    for number in numbers:
        if not whole and here.is_message and here.children:
            here, whole = here.children[0], True
        if here.is_multipart and here.children:
            if number > len(here.children):
                return None
            here, whole = here.children[number - 1], False
        elif whole and number == 1:
            whole = False
        else:
            return None
    return here


def message_in(part: Part) -> Part | None:
    """The message inside a message/rfc822 part; its HEADER and TEXT are meant by 1.2.HEADER and 1.2.TEXT."""
    return part.children[0] if part.is_message and part.children else None

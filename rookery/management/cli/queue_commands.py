"""queue: mail on its way."""

import time
from collections.abc import Awaitable, Callable
from typing import Annotated, Any

import typer

from rookery.management.cli.main import Context
from rookery.management.cli.output import age, amount, moment, pairs, table, write, write_json
from rookery.management.client import Client
from rookery.management.operations import queue as operations
from rookery.management.operations.queue import PAGE, MessageView, RecipientView

queue = typer.Typer(help="Mail on its way.", no_args_is_help=True)

Ids = Annotated[list[str], typer.Argument(metavar="ID...", help="As `queue list` shows them, or the word all.")]
Json = Annotated[bool, typer.Option("--json", help="As JSON.")]


def _client(context: typer.Context) -> Client:
    given: Context = context.obj
    return Client(given.site_folder())


@queue.command("list")
def list_(
    context: typer.Context,
    state: Annotated[str | None, typer.Option("--state", help="due, claimed, held or deferred.")] = None,
    sender: Annotated[str, typer.Option("--sender", help="An address, @domain, or <> for bounces.")] = "",
    recipient: Annotated[str, typer.Option("--recipient", help="An address or @domain.")] = "",
    json: Json = False,
) -> None:
    """List what waits, oldest first."""
    client = _client(context)
    found: list[MessageView] = []
    while True:
        after = found[-1].message if found else ""
        page = client.call(operations.list_queue, state=state, sender=sender, recipient=recipient, after=after)
        found += page
        if len(page) < PAGE:
            break
    if json:
        write_json(found)
        return
    now = time.time()
    rows = [
        (
            message.message,
            age(now - message.received),
            amount(message.size),
            message.sender or "<>",
            _recipients(message),
            _reason(message),
        )
        for message in found
    ]
    table(("id", "age", "size", "sender", "recipients", "last answer"), rows, "The queue is empty.")


def _recipients(message: MessageView) -> str:
    first = message.recipients[0].address if message.recipients else ""
    more = message.recipient_count - 1
    return f"{first} and {more} more" if more > 0 else first


def _reason(message: MessageView) -> str:
    told = next((recipient.text[:80] for recipient in message.recipients if recipient.text), "")
    return ("held; " + told if told else "held") if message.held else told


@queue.command()
def show(context: typer.Context, message: Annotated[str, typer.Argument(metavar="ID")], json: Json = False) -> None:
    """Show one message and what became of each recipient."""
    found = _client(context).call(operations.show_queued, message)
    if json:
        write_json(found)
        return
    facts = [
        ("message", found.message),
        ("session", found.session or "-"),
        ("sender", found.sender or "<>"),
        ("message id", found.header_id or "-"),
        ("from", found.peer or "here"),
        ("size", amount(found.size)),
        ("received", moment(found.received)),
        ("finished", moment(found.finished) if found.finished else "no, it is in the queue"),
    ]
    pairs([*facts, ("held", "yes")] if found.held else facts)
    write()
    table(("recipient", "state", "tries", "next", "answer"), [_row(r) for r in found.recipients], "No recipients.")


def _row(recipient: RecipientView) -> tuple[str, str, str, str, str]:
    answer = " ".join(part for part in (str(recipient.code or ""), recipient.enhanced, recipient.text) if part)
    answer += f" ({recipient.remote})" if recipient.remote else ""
    next_try = moment(recipient.next) if recipient.next else "-"
    return recipient.address, recipient.state, str(recipient.attempts), next_try, answer


def _change(
    context: typer.Context, operation: Callable[..., Awaitable[int]], ids: list[str], done: str, json: bool, **more: Any
) -> None:
    changed = _client(context).call(operation, ids, **more)
    if json:
        write_json({"recipients": changed})
    else:
        write(f"{done} for {changed} recipient{'' if changed == 1 else 's'}.")


@queue.command()
def retry(context: typer.Context, ids: Ids, json: Json = False) -> None:
    """Try now instead of later."""
    _change(context, operations.retry, ids, "Tried again now", json)


@queue.command()
def hold(context: typer.Context, ids: Ids, json: Json = False) -> None:
    """Keep from being tried until released."""
    _change(context, operations.hold, ids, "Held", json)


@queue.command()
def release(context: typer.Context, ids: Ids, json: Json = False) -> None:
    """Let go what was held."""
    _change(context, operations.release, ids, "Released", json)


@queue.command()
def remove(
    context: typer.Context,
    ids: Ids,
    notify: Annotated[bool, typer.Option("--notify", help="Tell the sender by a bounce.")] = False,
    json: Json = False,
) -> None:
    """Remove for good."""
    _change(context, operations.remove, ids, "Removed", json, notify=notify)


def enter(app: typer.Typer) -> None:
    app.add_typer(queue, name="queue")

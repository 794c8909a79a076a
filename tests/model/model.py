"""What the service must do, in as few words as can be: who knows this page knows what to expect of it."""

from typing import Any

from attrs import define, field, frozen


@frozen
class Command:
    """A request that would change something; `key` is its idempotency key, None for none."""

    verb: str
    run_id: str
    content: tuple[Any, ...]
    key: str | None = None


@define
class Run:
    """A run: what was given for it by name, in order, and why it is out of force."""

    status: str
    given: dict[str, dict[str, tuple[Any, ...]]] = field(factory=lambda: {"attach": {}, "upload": {}})
    explanation: tuple[str, str | None] = ("NONE", None)
    withdrawn: str | None = None


@define
class Model:
    """All runs, oldest first, and every key that a request used up, with the status that it was answered with."""

    runs: dict[str, Run] = field(factory=dict)
    keys: dict[str, tuple[Command, int]] = field(factory=dict)

    def status_of(self, command: Command) -> int:
        """Do it; return the status of its answer."""
        if command.key in self.keys:
            used, status = self.keys[command.key]
            return status if used == command else 422
        status, has_written = self._done(command)
        if has_written and command.key:
            self.keys[command.key] = (command, status)
        return status

    def _done(self, command: Command) -> tuple[int, bool]:
        run, content = self.runs.get(command.run_id), command.content
        if command.verb == "create":
            if run is None:
                self.runs[command.run_id] = Run(*content)
            return (201, True) if run is None else (409, False)
        if run is None or run.withdrawn is not None:
            return (404 if run is None else 410), False
        if command.verb == "withdraw":
            run.withdrawn = content[0]
            return 200, True
        if command.verb == "explain":
            is_new, run.explanation = run.explanation != content, (content[0], content[1])
            return 200, is_new
        there = run.given[command.verb]
        if content[0] in there:
            return (200 if there[content[0]] == content else 409), False
        there[content[0]] = content
        return (201 if command.verb == "upload" else 200), True

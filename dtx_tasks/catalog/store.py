"""The user's own named resources, in a database: every save is a new version, and none is ever changed."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any

from sqlalchemy import delete, select
from sqlalchemy.exc import IntegrityError

from dtx_tasks.catalog.database import transaction
from dtx_tasks.catalog.tables import ResourceRow, VersionRow
from dtx_tasks.catalog.version import PIN, ConflictError, Version, digest_of_version, kind_of
from dtx_tasks.errors import SpecError, TransientError, nearest
from dtx_tasks.records import canonical_json

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from sqlalchemy.orm import Session

    from dtx_tasks.catalog.kinds import Kind

FILES_CHANGED = "files changed"
"""The note of a version that nobody saved by hand."""


class OwnResources:
    """The named resources of a team.

    Args:
        url: Of the database.
        team: Whose they are.
    """

    def __init__(self, url: str, team: str) -> None:
        self.url = url
        self.team = team

    def create(self, kind: Kind, content: dict[str, Any], files: Mapping[str, str], *, author: str, note: str = "") -> Version:
        """Saves the first version of a new resource.

        Args:
            kind: What it is.
            content: The definition, with its `name`.
            files: Digests of what it names.
            author: Who saves it.
            note: Why, in a few words.

        Raises:
            SpecError: The name is taken, or looks like a name with a version.
        """
        name = str(content["name"])
        if PIN.fullmatch(name):
            raise SpecError(f"{kind.name} {name!r}: `@` and a number stand for a version.", "Choose a name that does not end so.")
        with transaction(self.url, writes=True) as session:
            row = self._locked(session, kind, name) or self._made(session, kind, name)
            latest = _latest(session, row)
            if latest:
                hint = f"`dtx {kind.command} edit` saves a new version; or choose another name."
                raise SpecError(f"{kind.name} {name!r} is there already: version {latest.number}, {_saved_by(latest)}.", hint)
            return _add(session, row, content, files, author, note)

    def edit(self, kind: Kind, content: dict[str, Any], files: Mapping[str, str], *, based_on: int, author: str, note: str = "") -> Version:
        """Saves a new version; the same content again is no new one.

        Args:
            kind: What it is.
            content: The whole definition, with its `name`.
            files: Digests of what it names.
            based_on: The version that the author had before them.
            author: Who saves it.
            note: Why, in a few words.

        Returns:
            The new version, or the latest one where that is the same.

        Raises:
            ConflictError: Somebody has saved another version since `based_on`.
            SpecError: There is no such resource, or no such version of it.
        """
        name = str(content["name"])
        with transaction(self.url, writes=True) as session:
            row, latest = self._current(session, kind, name)
            if latest.digest == digest_of_version(kind, content, files):
                return latest
            if latest.number != based_on:
                raise _conflict(kind, latest, _versions(session, row), based_on)
            return _add(session, row, content, files, author, note)

    def note_files(self, used: Version, kind: Kind, files: Mapping[str, str], *, author: str) -> Version:
        """Records that files changed under the same name: a version of its own, with the definition as it was.

        Args:
            used: The latest version, whose files they are.
            kind: What it is.
            files: Their digests now.
            author: Whose experiment found them.

        Raises:
            TransientError: Somebody has saved another definition at this moment.
        """
        with transaction(self.url, writes=True) as session:
            row, latest = self._current(session, kind, used.name)
            if latest.digest == digest_of_version(kind, used.content, files):
                return latest
            if latest.number != used.number:
                raise TransientError(
                    f"{kind.name} {used.name!r} was edited while it was looked at: version {latest.number}, {_saved_by(latest)}.", "Try again."
                )
            return _add(session, row, used.content, files, author, FILES_CHANGED)

    def latest(self, kind: Kind | None = None) -> list[Version]:
        """The latest version of every resource, by name.

        Args:
            kind: Only of this kind.
        """
        chosen = select(ResourceRow, VersionRow).join(VersionRow, (VersionRow.resource_id == ResourceRow.id) & (VersionRow.number == ResourceRow.last_number))
        chosen = chosen.where(ResourceRow.team == self.team).order_by(ResourceRow.kind, ResourceRow.name)
        with transaction(self.url) as session:
            return [_version(row, version) for row, version in session.execute(chosen.where(ResourceRow.kind == kind.name) if kind else chosen)]

    def versions(self, kind: Kind, name: str) -> list[Version]:
        """Every version of a resource, newest first; none where there is no such resource.

        Args:
            kind: What it is.
            name: Its name, without a version.
        """
        with transaction(self.url) as session:
            row = session.scalar(self._named(kind, name))
            return _versions(session, row) if row else []

    def find(self, kind: Kind, name: str, number: int) -> Version | None:
        """One version of a resource; None where there is none."""
        return next((version for version in self.versions(kind, name) if version.number == number), None)

    def delete(self, kind: Kind, name: str) -> None:
        """Removes a resource with all its versions; whether something refers to it is the caller's to know.

        Raises:
            SpecError: There is none of this name.
        """
        with transaction(self.url, writes=True) as session:
            row, _ = self._current(session, kind, name)
            session.execute(delete(VersionRow).where(VersionRow.resource_id == row.id))

    def _named(self, kind: Kind, name: str) -> Any:
        return select(ResourceRow).where(ResourceRow.team == self.team, ResourceRow.kind == kind.name, ResourceRow.name == name)

    def _locked(self, session: Session, kind: Kind, name: str) -> ResourceRow | None:
        """The row of a resource, which nobody else may write to until this transaction ends."""
        found: ResourceRow | None = session.scalar(self._named(kind, name).with_for_update())
        return found

    def _made(self, session: Session, kind: Kind, name: str) -> ResourceRow:
        row = ResourceRow(team=self.team, kind=kind.name, name=name, last_number=0)
        try:
            with session.begin_nested():
                session.add(row)
        except IntegrityError:
            # Another process has made it at this very moment.
            return self._locked(session, kind, name) or self._made(session, kind, name)
        return row

    def _current(self, session: Session, kind: Kind, name: str) -> tuple[ResourceRow, Version]:
        row = self._locked(session, kind, name)
        latest = _latest(session, row) if row else None
        if row is None or latest is None:
            there = session.scalars(
                select(ResourceRow.name).join(VersionRow).where(ResourceRow.team == self.team, ResourceRow.kind == kind.name).distinct()
            ).all()
            raise SpecError(f"There is no {kind.name} {name!r} of your own.", nearest(name, there, kind.listing))
        return row, latest


def _add(session: Session, row: ResourceRow, content: Mapping[str, Any], files: Mapping[str, str], author: str, note: str) -> Version:
    row.last_number += 1
    added = VersionRow(
        resource_id=row.id,
        number=row.last_number,
        digest=digest_of_version(kind_of(row.kind), content, files),
        content=canonical_json(content),
        files=canonical_json(dict(files)),
        created_at=time.time(),
        author=author,
        note=note,
    )
    session.add(added)
    session.flush()
    return _version(row, added)


def _latest(session: Session, row: ResourceRow) -> Version | None:
    found = session.get(VersionRow, (row.id, row.last_number))
    return _version(row, found) if found else None


def _versions(session: Session, row: ResourceRow) -> list[Version]:
    found = session.scalars(select(VersionRow).where(VersionRow.resource_id == row.id).order_by(VersionRow.number.desc()))
    return [_version(row, version) for version in found]


def _version(row: ResourceRow, version: VersionRow) -> Version:
    return Version(
        kind=kind_of(row.kind).name,
        name=row.name,
        number=version.number,
        digest=version.digest,
        content=json.loads(version.content),
        files=json.loads(version.files),
        created_at=version.created_at,
        author=version.author,
        note=version.note,
    )


def _conflict(kind: Kind, latest: Version, versions: Iterable[Version], based_on: int) -> SpecError:
    """Who changed what, and what to do."""
    known = {version.number: version for version in versions}
    if based_on not in known:
        return SpecError(f"{kind.name} {latest.name!r} has no version {based_on}.", f"The latest is {latest.number}, {_saved_by(latest)}.")
    since = [f"{number} {_saved_by(known[number])} changed {_changes(known[number - 1], known[number])}" for number in sorted(known) if number > based_on]
    return ConflictError(
        f"{kind.name} {latest.name!r} is at version {latest.number}, not {based_on}: {'; '.join(since)}.",
        f"See it with `dtx {kind.command} show {latest.name}`, put your changes into it, and save that with --based-on {latest.number}.",
    )


def _changes(before: Version, after: Version) -> str:
    keys = {key for key in {*before.content, *after.content} if before.content.get(key) != after.content.get(key)}
    keys |= {f"the file of {key}" for key in {*before.files, *after.files} - keys if before.files.get(key) != after.files.get(key)}
    return ", ".join(sorted(keys))


def _saved_by(version: Version) -> str:
    note = f" ({version.note})" if version.note else ""
    return f"saved by {version.author} at {time.strftime('%Y-%m-%d %H:%M:%S', time.gmtime(version.created_at))} UTC{note}"

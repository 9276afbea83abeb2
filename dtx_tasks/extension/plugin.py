"""What a data plugin is: this is the whole interface."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator


class DataPlugin(Protocol):
    """Turns the rows of one file into the rows to use in their place: fewer, more, or other ones.

    Any function of this form is one. Its package offers it as an entry point in the group `dtx.data_plugins`,

        [project.entry-points."dtx.data_plugins"]
        drop-short = "my_package.short:drop_short"

    and declares it in `dtx_plugin.yaml` beside the module, which is read without importing the package:

        drop-short:
          version: "1.0"                # raise it whenever other rows come out
          description: Leaves out rows with short answers.
          parameters:                   # JSON Schema
            properties:
              min_characters: {type: integer, minimum: 1, default: 10}

    The function itself:

        def drop_short(rows, parameters):
            for row in rows:
                if len(row["output"]) >= parameters["min_characters"]:
                    yield row
    """

    def __call__(self, rows: Iterator[dict[str, Any]], parameters: dict[str, Any]) -> Iterable[dict[str, Any]]:
        """Makes rows of rows.

        It is called for each file of a Dataset, several times, and must make the same rows each time.
        Whatever it raises stops the Dataset, and is told with the line of the row that it took last.

        Args:
            rows: The objects of the file in its order, read as they are taken: a row at a time needs no memory for the others.
            parameters: Checked by the declared schema, its defaults filled in.

        Returns:
            Objects as a file of the Dataset's format would hold them; they are checked as if they had been read from it.
        """

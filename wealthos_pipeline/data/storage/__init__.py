"""Where things are kept.

``lake.Lake`` holds the tables (``delta``, ``layout``, ``content``, ``schema``, ``writing`` and
``history`` are its parts); ``run.Run`` is a writer's session, which ends in a ``manifest.Manifest``;
``manifest.Snapshot`` reads what one run published; ``warehouse`` makes the DuckDB file of it;
``migrations`` brings an older lake to this program's layout.
"""

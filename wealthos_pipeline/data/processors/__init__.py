"""From raw rows to clean tables: frames in, frames out, the clock passed in.

``raw`` versions and as-of, ``instruments`` identity, ``prices`` bars and indices, ``series`` yields
and macro, ``membership`` universes, ``holdings`` positions, ``coverage`` completeness,
``quarantine`` the rules by name, ``calendar`` sessions and slots.
"""

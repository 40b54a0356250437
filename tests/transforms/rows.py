"""Pieces of rows that several tests need."""

QUIET = (
    0,
    0,
    0.0,
    0,
    0.0,
)  # votes, voters, vote_change, comments and sentiment of a PAIR_DAYS row: nobody said anything

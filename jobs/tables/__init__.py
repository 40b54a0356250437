"""Contracts of every table, the lake and the warehouse: the only reads and writes."""

"""What all tables have in common."""

import peewee as pw


class Table(pw.Model):
    """Base of all tables. Bound to no database: every query names the one it runs on."""

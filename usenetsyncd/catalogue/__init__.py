"""The catalogue: tables, migrations, one writer, readers, queue."""

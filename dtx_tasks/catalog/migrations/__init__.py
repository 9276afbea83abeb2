"""What brings the catalog's tables up to date; Alembic applies them in order."""

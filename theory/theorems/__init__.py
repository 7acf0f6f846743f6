"""One statement a file: ``<author><year>_<claim>.py`` with a `theory.statement.Statement` named STATEMENT."""

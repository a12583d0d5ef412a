"""Alembic's entry: runs on the connection that `app.migrate` hands over."""

from alembic import context

from app.tables import Row

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=Row.metadata,
    render_as_batch=True,
    transactional_ddl=True,
)
context.run_migrations()

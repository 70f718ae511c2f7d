"""The general policy: one acquisition policy for images, texts, tables and spaces of other kinds."""

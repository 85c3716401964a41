"""A trained model as something that answers without this package: formats, and what they hold."""

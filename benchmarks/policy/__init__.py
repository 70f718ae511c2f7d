"""The general policy and what its parts are worth."""
